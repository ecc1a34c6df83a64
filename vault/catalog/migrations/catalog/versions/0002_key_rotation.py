"""Rotation of keys: how long a generation stands where it stands, indexes to page by, and jobs."""

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
    _date_states()
    _create_indexes()
    _create_key_jobs()


def _date_states() -> None:
    op.add_column("patient_keys", sa.Column("state_since", Moment(), nullable=True))
    op.execute("UPDATE patient_keys SET state_since = created_at")
    with op.batch_alter_table("patient_keys") as batch:
        batch.alter_column("state_since", existing_type=Moment(), nullable=False)


def _create_indexes() -> None:
    for state in ("active", "prepared"):
        op.create_index(
            f"uq_patient_keys_{state}",
            "patient_keys",
            ["tenant", "patient"],
            unique=True,
            postgresql_where=sa.text(f"state = '{state}'"),
            sqlite_where=sa.text(f"state = '{state}'"),
        )
    op.create_index(
        "ix_patient_keys_master", "patient_keys", ["provider", "master_name", "master_version", "key_id"]
    )
    op.create_index(op.f("ix_recording_wraps_patient_key_id"), "recording_wraps", ["patient_key_id"])


def _create_key_jobs() -> None:
    op.create_table(
        "key_jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("tenant", sa.String(length=128), nullable=True),
        sa.Column("patient", sa.String(length=128), nullable=True),
        sa.Column("base_version", sa.Integer(), nullable=True),
        sa.Column("requested_by", sa.String(length=64), nullable=False),
        sa.Column("requested_at", Moment(), nullable=False),
        sa.Column("started_at", Moment(), nullable=True),
        sa.Column("ended_at", Moment(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("cursor", sa.String(length=300), nullable=True),
        sa.Column("rate_per_s", sa.Float(), nullable=True),
        sa.Column("hours", sa.String(length=11), nullable=True),
        sa.Column("note", sa.String(length=200), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("free_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_jobs")),
    )
    op.create_index("ix_key_jobs_free", "key_jobs", ["state", "free_at"])
    op.create_index("ix_key_jobs_requested", "key_jobs", [sa.text("requested_at DESC"), "id"])
    op.create_table(
        "key_job_errors",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("item", sa.String(length=300), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["key_jobs.id"], name=op.f("fk_key_job_errors_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "item", name=op.f("pk_key_job_errors")),
    )
