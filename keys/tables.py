"""The key plane's tables, and the ground that the catalog's tables stand on as well.

Invariants: times are aware UTC datetimes on both engines; ids are UUIDs; constraint names follow one convention, so
that migrations can name them; the share store has a metadata, and so a database, of its own.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlalchemy import (
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    text,
)

REFERENCE_LENGTH: Final = 128
_NAMES: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

catalog_metadata = MetaData(naming_convention=_NAMES)
shares_metadata = MetaData(naming_convention=_NAMES)


class Moment(TypeDecorator[dt.datetime]):
    """An aware UTC datetime. SQLite forgets the zone; this puts it back and refuses naive values."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> Any:
        """To the database: UTC, naive on SQLite."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime is not a moment")
        utc = value.astimezone(dt.UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """From the database: aware, in UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def reference(name: str, *, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    """A column for a tenant, patient or consultation reference."""
    return Column(name, String(REFERENCE_LENGTH), primary_key=primary_key, nullable=nullable)


patient_keys = Table(
    "patient_keys",
    catalog_metadata,
    reference("tenant", primary_key=True),
    reference("patient", primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("key_id", Uuid, nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    Column("provider", String(32), nullable=False),
    Column("master_name", String(128), nullable=False),
    Column("master_version", Integer, nullable=False),
    Column("wrapped_half", LargeBinary, nullable=False),  # empty once the generation is retired
    Column("created_at", Moment, nullable=False),
    Column("state_since", Moment, nullable=False),
)
for _state in ("active", "prepared"):
    _is = text(f"state = '{_state}'")
    Index(
        f"uq_patient_keys_{_state}",
        patient_keys.c.tenant,
        patient_keys.c.patient,
        unique=True,
        postgresql_where=_is,
        sqlite_where=_is,
    )
# Which keys are due for the next step of their life, the oldest first.
for _name, _state, _since in (("age", "active", "created_at"), ("drained", "draining", "state_since")):
    _is = text(f"state = '{_state}'")
    Index(
        f"ix_patient_keys_{_name}",
        patient_keys.c[_since],
        patient_keys.c.tenant,
        postgresql_where=_is,
        sqlite_where=_is,
    )
# Which halves stand under a master key: a rotation pages through them, and the census counts them.
Index(
    "ix_patient_keys_master",
    patient_keys.c.provider,
    patient_keys.c.master_name,
    patient_keys.c.master_version,
    patient_keys.c.key_id,
)

recording_wraps = Table(
    "recording_wraps",
    catalog_metadata,
    Column("recording_id", Uuid, ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
    Column("patient_key_id", Uuid, primary_key=True, index=True),
    Column("generation", Integer, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False),
)

erasure_shares = Table(
    "erasure_shares",
    shares_metadata,
    reference("tenant", primary_key=True),
    reference("patient", primary_key=True),
    Column("share", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False),
)

# No row of these is ever deleted: whoever was erased stays erased.
erasures = Table(
    "erasures",
    shares_metadata,
    Column("id", Uuid, primary_key=True),
    reference("tenant"),
    reference("patient"),
    Column("state", String(16), nullable=False),
    Column("reason", String(200), nullable=False),
    Column("requested_by", String(64), nullable=False),
    Column("requested_at", Moment, nullable=False),
    Column("hold_s", Integer, nullable=False),
    Column("approved_by", String(64)),
    Column("hold_until", Moment),
    Column("destroyed_at", Moment),
    Column("backups_expire_at", Moment),
    Column("ended_at", Moment),
    Column("evidence", Text),
    Column("certificate", Text),
)
_stands = text("state <> 'cancelled'")
Index(
    "uq_erasures_patient",
    erasures.c.tenant,
    erasures.c.patient,
    unique=True,
    postgresql_where=_stands,
    sqlite_where=_stands,
)
Index("ix_erasures_state", erasures.c.state, erasures.c.id)

legal_holds = Table(
    "legal_holds",
    shares_metadata,
    reference("tenant", primary_key=True),
    reference("patient", primary_key=True),
    Column("reason", String(200), nullable=False),
    Column("placed_by", String(64), nullable=False),
    Column("placed_at", Moment, nullable=False),
)

# One row: what tombstones are sealed under. Whoever has the share store can read them, and nobody else.
tombstone_keys = Table(
    "tombstone_keys",
    shares_metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, nullable=False),
)
