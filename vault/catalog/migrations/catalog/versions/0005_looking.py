"""Indexes for looking: which keys are due, who is past their retention, which objects there are, whose a job is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is missing."""
    _create_partial("ix_patient_keys_age", "patient_keys", ["created_at", "tenant"], "state = 'active'")
    _create_partial(
        "ix_patient_keys_drained", "patient_keys", ["state_since", "tenant"], "state = 'draining'"
    )
    _create_partial(
        "ix_recordings_newest", "recordings", ["tenant", "patient", "created_at"], "state <> 'deleted'"
    )
    _create_partial("ix_service_tokens_end", "service_tokens", ["expires_at"], "revoked_at IS NULL")
    op.create_index("ix_objects_place", "objects", ["recording_id", "file_id"])
    op.create_index("ix_key_jobs_tenant", "key_jobs", ["tenant", sa.text("requested_at DESC"), "id"])


def _create_partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))
