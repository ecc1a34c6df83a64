"""The catalog's tables and the indexes that its questions use.

Invariants:
- nothing here says who a patient is or what a recording shows: titles, clinicians, dates of consultations are
  inside `metadata` and `summary`, sealed under the recording's key;
- every list is read by keyset (created_at, id), so that page one and page one million cost the same.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    text,
)

from keys.tables import Moment, catalog_metadata, reference

patients = Table(
    "patients",
    catalog_metadata,
    reference("tenant", primary_key=True),
    reference("patient", primary_key=True),
    # Raised to end every session of the patient at once, whatever Redis holds.
    Column("epoch", Integer, nullable=False),
    Column("retention_class", String(64)),  # the tenant's default where none is named
    Column("created_at", Moment, nullable=False),
)

# How long a tenant keeps recordings: whoever is past it is proposed for erasure, never erased.
retention_classes = Table(
    "retention_classes",
    catalog_metadata,
    reference("tenant", primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("keep_days", Integer, nullable=False),
    Column("is_default", Boolean, nullable=False),
)

consultations = Table(
    "consultations",
    catalog_metadata,
    reference("tenant", primary_key=True),
    reference("consultation", primary_key=True),
    reference("patient"),
)

recordings = Table(
    "recordings",
    catalog_metadata,
    Column("id", Uuid, primary_key=True),
    reference("tenant"),
    reference("patient"),
    reference("consultation"),
    Column("key_id", Uuid, nullable=False, unique=True),
    Column("key_since", Moment),  # when it was encrypted anew; empty while it has the key that it began with
    Column("state", String(16), nullable=False),
    Column("failure", String(64)),  # a stable code, and a sentence of ours for people
    Column("failure_detail", String(500)),
    Column("created_at", Moment, nullable=False),
    Column("published_at", Moment),
    Column("metadata", LargeBinary, nullable=False),
    Column("summary", LargeBinary),
    Column("source_file_id", Uuid),
    Column("source_size_bytes", BigInteger),
    Column("manifest_file_id", Uuid),
    Column("manifest_size_bytes", BigInteger),
    Column("idempotency", LargeBinary),
    UniqueConstraint("tenant", "idempotency"),
)

_published = text("state = 'published'")
Index(
    "ix_recordings_shelf",
    recordings.c.tenant,
    recordings.c.patient,
    recordings.c.created_at.desc(),
    recordings.c.id.desc(),
    postgresql_where=_published,
    sqlite_where=_published,
)
_present = text("state <> 'deleted'")
Index(
    "ix_recordings_newest",
    recordings.c.tenant,
    recordings.c.patient,
    recordings.c.created_at,
    postgresql_where=_present,
    sqlite_where=_present,
)
Index("ix_recordings_tenant", recordings.c.tenant, recordings.c.created_at.desc(), recordings.c.id.desc())

# Keys that recordings had before they were encrypted anew, and what they opened: tickets name them. A row stays, so
# that an old ticket is told from a wrong one.
former_keys = Table(
    "former_keys",
    catalog_metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("recording_id", Uuid, ForeignKey("recordings.id"), nullable=False, index=True),
    Column("manifest_file_id", Uuid),
    Column("manifest_size_bytes", BigInteger),
    Column("ends_at", Moment, nullable=False),  # until then tickets open it, and its objects stay
)

# One row for every object that a process means to write, before its first byte: what a crash leaves behind is known.
objects = Table(
    "objects",
    catalog_metadata,
    Column("file_id", Uuid, primary_key=True),
    Column("recording_id", Uuid, ForeignKey("recordings.id"), nullable=False, index=True),
    Column("run_id", Uuid, nullable=False, index=True),
    # 0: a draft. 1: a published pointer reaches it. -1: given up, to be deleted (`catalog.drafts`).
    Column("kept", Integer, nullable=False),
    Column("touched_at", Moment, nullable=False),
)
_draft = text("kept <> 1")
# The order in which a store lists them.
Index("ix_objects_place", objects.c.recording_id, objects.c.file_id)
Index("ix_objects_drafts", objects.c.touched_at, postgresql_where=_draft, sqlite_where=_draft)

jobs = Table(
    "jobs",
    catalog_metadata,
    Column("recording_id", Uuid, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
    Column("handover", LargeBinary, nullable=False),
    Column("run_id", Uuid),
    Column("attempts", Integer, nullable=False),
    Column("progress", Float),
    # The job is anyone's from this moment on: a delay after a failure, or the end of a worker's lease.
    Column("free_at", Moment, nullable=False, index=True),
    Column("created_at", Moment, nullable=False),
)

sessions = Table(
    "sessions",
    catalog_metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("kind", String(8), nullable=False),
    reference("tenant"),
    reference("patient"),
    Column("parent", LargeBinary, index=True),
    Column("issuer", String(64), nullable=False),
    # The newest generation that the session carries; a rotation waits until none lacks the next one.
    Column("generation", Integer, nullable=False),
    Column("issued_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("revoked_at", Moment),
)
Index("ix_sessions_patient", sessions.c.tenant, sessions.c.patient, sessions.c.expires_at)
Index("ix_sessions_expiry", sessions.c.expires_at)

# Long work on keys: rotations. What is done stands in the keys themselves; a job counts, and can be stopped.
key_jobs = Table(
    "key_jobs",
    catalog_metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    reference("tenant", nullable=True),
    reference("patient", nullable=True),
    Column("recording_id", Uuid),
    Column("options", String(500)),  # what else was asked for, as JSON
    Column("base_version", Integer),  # the master key's version when a rotation of it was asked for
    Column("requested_by", String(64), nullable=False),
    Column("requested_at", Moment, nullable=False),
    Column("approved_by", String(64)),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("total", Integer),
    Column("done", Integer, nullable=False),
    Column("cursor", String(300)),
    Column("rate_per_s", Float),
    Column("hours", String(11)),  # of the day, UTC: 22:00-06:00
    Column("note", String(200)),
    Column("run_id", Uuid),
    Column("free_at", Moment, nullable=False),
)
Index("ix_key_jobs_free", key_jobs.c.state, key_jobs.c.free_at)
Index("ix_key_jobs_requested", key_jobs.c.requested_at.desc(), key_jobs.c.id)
Index("ix_key_jobs_tenant", key_jobs.c.tenant, key_jobs.c.requested_at.desc(), key_jobs.c.id)

key_job_errors = Table(
    "key_job_errors",
    catalog_metadata,
    Column("job_id", Uuid, ForeignKey("key_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("item", String(300), primary_key=True),
    Column("code", String(64), nullable=False),
    Column("at", Moment, nullable=False),
)

# Keys that leaked, as an operator declared them, and how far the answer is.
compromises = Table(
    "compromises",
    catalog_metadata,
    Column("id", Uuid, primary_key=True),
    Column("leak", String(16), nullable=False),
    reference("tenant", nullable=True),
    reference("patient", nullable=True),
    Column("recording_id", Uuid),
    Column("token_id", Uuid),
    Column("master_version", Integer),
    Column("reason", String(500), nullable=False),
    Column("declared_by", String(64), nullable=False),
    Column("declared_at", Moment, nullable=False),
    Column("answered_at", Moment),
)
Index("ix_compromises_declared", compromises.c.declared_at.desc(), compromises.c.id)

compromise_steps = Table(
    "compromise_steps",
    catalog_metadata,
    Column("compromise_id", Uuid, ForeignKey("compromises.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("job_id", Uuid),
    Column("begun_at", Moment, nullable=False),
    Column("done_at", Moment),
)

service_tokens = Table(
    "service_tokens",
    catalog_metadata,
    Column("id", Uuid, primary_key=True),
    reference("tenant"),
    Column("name", String(128), nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", String(256), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
)
_standing = text("revoked_at IS NULL")
Index(
    "ix_service_tokens_end",
    service_tokens.c.expires_at,
    postgresql_where=_standing,
    sqlite_where=_standing,
)
