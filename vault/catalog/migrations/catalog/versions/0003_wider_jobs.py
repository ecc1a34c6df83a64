"""Jobs on one recording, with options and an approval; how long recordings are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is missing."""
    op.add_column("key_jobs", sa.Column("recording_id", sa.Uuid(), nullable=True))
    op.add_column("key_jobs", sa.Column("options", sa.String(length=500), nullable=True))
    op.add_column("key_jobs", sa.Column("approved_by", sa.String(length=64), nullable=True))
    op.add_column("patients", sa.Column("retention_class", sa.String(length=64), nullable=True))
    op.create_table(
        "retention_classes",
        sa.Column("tenant", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("keep_days", sa.Integer(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", name=op.f("pk_retention_classes")),
    )
