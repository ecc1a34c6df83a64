"""Erasures, legal holds, and the key of the tombstones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keys.tables import Moment

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is missing."""
    _create_erasures()
    op.create_table(
        "legal_holds",
        sa.Column("tenant", sa.String(length=128), nullable=False),
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("placed_by", sa.String(length=64), nullable=False),
        sa.Column("placed_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "patient", name=op.f("pk_legal_holds")),
    )
    op.create_table(
        "tombstone_keys",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_tombstone_keys")),
    )


def _create_erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.String(length=128), nullable=False),
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("requested_by", sa.String(length=64), nullable=False),
        sa.Column("requested_at", Moment(), nullable=False),
        sa.Column("hold_s", sa.Integer(), nullable=False),
        sa.Column("approved_by", sa.String(length=64), nullable=True),
        sa.Column("hold_until", Moment(), nullable=True),
        sa.Column("destroyed_at", Moment(), nullable=True),
        sa.Column("backups_expire_at", Moment(), nullable=True),
        sa.Column("ended_at", Moment(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("certificate", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_index(
        "uq_erasures_patient",
        "erasures",
        ["tenant", "patient"],
        unique=True,
        postgresql_where=sa.text("state <> 'cancelled'"),
        sqlite_where=sa.text("state <> 'cancelled'"),
    )
    op.create_index("ix_erasures_state", "erasures", ["state", "id"])
