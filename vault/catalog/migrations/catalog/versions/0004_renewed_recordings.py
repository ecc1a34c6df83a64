"""Recordings that were encrypted anew, the keys that they had before, and leaks with the answers to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keys.tables import Moment

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is missing."""
    op.add_column("recordings", sa.Column("key_since", Moment(), nullable=True))
    op.create_table(
        "former_keys",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("recording_id", sa.Uuid(), nullable=False),
        sa.Column("manifest_file_id", sa.Uuid(), nullable=True),
        sa.Column("manifest_size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("ends_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["recording_id"], ["recordings.id"], name=op.f("fk_former_keys_recording_id")
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_former_keys")),
    )
    op.create_index(op.f("ix_former_keys_recording_id"), "former_keys", ["recording_id"])
    _create_compromises()


def _create_compromises() -> None:
    op.create_table(
        "compromises",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("leak", sa.String(length=16), nullable=False),
        sa.Column("tenant", sa.String(length=128), nullable=True),
        sa.Column("patient", sa.String(length=128), nullable=True),
        sa.Column("recording_id", sa.Uuid(), nullable=True),
        sa.Column("token_id", sa.Uuid(), nullable=True),
        sa.Column("master_version", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("declared_by", sa.String(length=64), nullable=False),
        sa.Column("declared_at", Moment(), nullable=False),
        sa.Column("answered_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_compromises")),
    )
    op.create_index("ix_compromises_declared", "compromises", [sa.text("declared_at DESC"), "id"])
    op.create_table(
        "compromise_steps",
        sa.Column("compromise_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("begun_at", Moment(), nullable=False),
        sa.Column("done_at", Moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["compromise_id"],
            ["compromises.id"],
            name=op.f("fk_compromise_steps_compromise_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("compromise_id", "name", name=op.f("pk_compromise_steps")),
    )
