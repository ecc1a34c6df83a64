"""The first schema of the share store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keys.tables import Moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    _create_erasure_shares()


def _create_erasure_shares() -> None:
    op.create_table(
        "erasure_shares",
        sa.Column("tenant", sa.String(length=128), nullable=False),
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.Column("share", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "patient", name=op.f("pk_erasure_shares")),
    )
