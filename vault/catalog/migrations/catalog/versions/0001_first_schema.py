"""The first schema of the catalog."""

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
    _create_consultations()
    _create_patient_keys()
    _create_patients()
    _create_recordings()
    _create_service_tokens()
    _create_sessions()
    _create_jobs()
    _create_objects()
    _create_recording_wraps()


def _create_consultations() -> None:
    op.create_table(
        "consultations",
        sa.Column("tenant", sa.String(length=128), nullable=False),
        sa.Column("consultation", sa.String(length=128), nullable=False),
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "consultation", name=op.f("pk_consultations")),
    )


def _create_patient_keys() -> None:
    op.create_table(
        "patient_keys",
        sa.Column("tenant", sa.String(length=128), nullable=False),
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("master_name", sa.String(length=128), nullable=False),
        sa.Column("master_version", sa.Integer(), nullable=False),
        sa.Column("wrapped_half", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "patient", "generation", name=op.f("pk_patient_keys")),
        sa.UniqueConstraint("key_id", name=op.f("uq_patient_keys_key_id")),
    )


def _create_patients() -> None:
    op.create_table(
        "patients",
        sa.Column("tenant", sa.String(length=128), nullable=False),
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "patient", name=op.f("pk_patients")),
    )


def _create_recordings() -> None:
    op.create_table(
        "recordings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.String(length=128), nullable=False),
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.Column("consultation", sa.String(length=128), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("failure", sa.String(length=64), nullable=True),
        sa.Column("failure_detail", sa.String(length=500), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("published_at", Moment(), nullable=True),
        sa.Column("metadata", sa.LargeBinary(), nullable=False),
        sa.Column("summary", sa.LargeBinary(), nullable=True),
        sa.Column("source_file_id", sa.Uuid(), nullable=True),
        sa.Column("source_size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("manifest_file_id", sa.Uuid(), nullable=True),
        sa.Column("manifest_size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("idempotency", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recordings")),
        sa.UniqueConstraint("key_id", name=op.f("uq_recordings_key_id")),
        sa.UniqueConstraint("tenant", "idempotency", name=op.f("uq_recordings_tenant_idempotency")),
    )
    op.create_index(
        "ix_recordings_shelf",
        "recordings",
        ["tenant", "patient", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("state = 'published'"),
        sqlite_where=sa.text("state = 'published'"),
    )
    op.create_index(
        "ix_recordings_tenant",
        "recordings",
        ["tenant", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )


def _create_service_tokens() -> None:
    op.create_table(
        "service_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.String(length=256), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=True),
        sa.Column("revoked_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_tokens")),
        sa.UniqueConstraint("hash", name=op.f("uq_service_tokens_hash")),
    )


def _create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("tenant", sa.String(length=128), nullable=False),
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.Column("parent", sa.LargeBinary(), nullable=True),
        sa.Column("issuer", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("issued_at", Moment(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.Column("revoked_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_expiry", "sessions", ["expires_at"], unique=False)
    op.create_index(op.f("ix_sessions_parent"), "sessions", ["parent"], unique=False)
    op.create_index("ix_sessions_patient", "sessions", ["tenant", "patient", "expires_at"], unique=False)


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("recording_id", sa.Uuid(), nullable=False),
        sa.Column("handover", sa.LargeBinary(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("free_at", Moment(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["recording_id"], ["recordings.id"], name=op.f("fk_jobs_recording_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("recording_id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_free_at"), "jobs", ["free_at"], unique=False)


def _create_objects() -> None:
    op.create_table(
        "objects",
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("recording_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("kept", sa.Integer(), nullable=False),
        sa.Column("touched_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name=op.f("fk_objects_recording_id")),
        sa.PrimaryKeyConstraint("file_id", name=op.f("pk_objects")),
    )
    op.create_index(
        "ix_objects_drafts",
        "objects",
        ["touched_at"],
        unique=False,
        postgresql_where=sa.text("kept <> 1"),
        sqlite_where=sa.text("kept <> 1"),
    )
    op.create_index(op.f("ix_objects_recording_id"), "objects", ["recording_id"], unique=False)
    op.create_index(op.f("ix_objects_run_id"), "objects", ["run_id"], unique=False)


def _create_recording_wraps() -> None:
    op.create_table(
        "recording_wraps",
        sa.Column("recording_id", sa.Uuid(), nullable=False),
        sa.Column("patient_key_id", sa.Uuid(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["recording_id"],
            ["recordings.id"],
            name=op.f("fk_recording_wraps_recording_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("recording_id", "patient_key_id", name=op.f("pk_recording_wraps")),
    )
