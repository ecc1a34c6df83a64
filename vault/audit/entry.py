"""One audit entry, its canonical bytes, and the chain that joins entries. Pure.

`hash = BLAKE2b-256(person="replayvault-aud1", data=prev ‖ canonical JSON of the entry without "hash")`, in hex.

Invariants:
- a line is one JSON object in ASCII: no byte of a user agent or title can end it or forge another;
- names of actions and reasons are never used again with another meaning;
- a patient stands here by pseudonym, a session by the hash of its token; nothing opens anything.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
from dataclasses import dataclass
from typing import Any, Final

from keys import contexts
from keys.digest import blake2b

FIRST_PREV: Final = "0" * 64


class Action(enum.Enum):
    """What was asked for."""

    LIST = "recording.list"
    VIEW_OPEN = "view.open"
    VIEW_CLOSE = "view.close"
    RECORDING_CREATE = "recording.create"
    SOURCE_STORE = "source.store"
    RECORDING_STATUS = "recording.status"
    RECORDING_RETRY = "recording.retry"
    RECORDING_DELETE = "recording.delete"
    RECORDING_PUBLISH = "recording.publish"
    RECORDING_FAIL = "recording.fail"
    SESSION_MINT = "session.mint"
    SESSION_REFRESH = "session.refresh"
    SESSION_LIST = "session.list"
    SESSION_REVOKE = "session.revoke"
    TICKET_MINT = "ticket.mint"
    TOKEN_CREATE = "token.create"  # noqa: S105 - the name of an action
    TOKEN_REVOKE = "token.revoke"  # noqa: S105
    KEY_JOB = "key.job"
    KEY_PREPARE = "key.prepare"
    KEY_ACTIVATE = "key.activate"
    KEY_MOVE = "key.move"
    KEY_DRAIN = "key.drain"
    KEY_REWRAP = "key.rewrap"
    MASTER_ROTATE = "master.rotate"
    WRITER_OPEN = "writer.open"
    WRITER_ALIVE = "writer.alive"
    WRITER_CLOSE = "writer.close"
    BREAKER_OPEN = "breaker.open"
    BREAKER_CLOSE = "breaker.close"
    ERASE_REQUEST = "erase.request"
    ERASE_APPROVE = "erase.approve"
    ERASE_CANCEL = "erase.cancel"
    ERASE_DESTROY = "erase.destroy"
    ERASE_DELETE = "erase.delete"
    ERASE_CERTIFY = "erase.certify"
    ERASE_REPLAY = "erase.replay"
    HOLD_PLACE = "hold.place"
    HOLD_LIFT = "hold.lift"
    KEY_APPROVE = "key.approve"
    KEY_RETIRE = "key.retire"
    MASTER_RETIRE = "master.retire"
    MASTER_RESTORE = "master.restore"
    MASTER_TRIM = "master.trim"
    TIER_ROTATE = "tier.rotate"
    RECORDING_REENCRYPT = "recording.reencrypt"
    COMPROMISE_DECLARE = "compromise.declare"
    COMPROMISE_STEP = "compromise.step"
    RETENTION_SET = "retention.set"
    RETENTION_ASSIGN = "retention.assign"


class Decision(enum.Enum):
    """What was answered."""

    ALLOW = "allow"
    DENY = "deny"


class Reason(enum.Enum):
    """Why; `KEY_MISMATCH` is never normal."""

    NONE = ""
    KEY_MISMATCH = "KEY_MISMATCH"
    NOT_YOURS = "NOT_YOURS"
    NOT_FOUND = "NOT_FOUND"
    DAMAGED = "DAMAGED"
    CONSULTATION_TAKEN = "CONSULTATION_TAKEN"
    PATIENT_ERASED = "PATIENT_ERASED"
    REVOKED = "REVOKED"
    CUT = "CUT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened; the log adds time, sequence and chain."""

    action: Action
    decision: Decision
    reason: Reason = Reason.NONE
    actor: str = ""  # "session", "ticket", "service:<token id>", "worker", "operator", "system"
    patient: str = ""  # pseudonym
    recording: str = ""
    key_id: str = ""
    session: str = ""  # hash of the token, hex
    request: str = ""
    size_bytes: int = 0
    note: str = ""  # a word of ours: a failure code, a purpose


def seal_line(
    event: Event, *, seq: int, at: dt.datetime, role: str, release: str, prev: str
) -> tuple[bytes, str]:
    """The line of an entry, newline included, and its hash."""
    fields: dict[str, Any] = {
        **{field.name: getattr(event, field.name) for field in dataclasses.fields(event)},
        "action": event.action.value,
        "decision": event.decision.value,
        "reason": event.reason.value,
        "at": at.astimezone(dt.UTC).isoformat(timespec="milliseconds"),
        "prev": prev,
        "release": release,
        "role": role,
        "seq": seq,
    }
    digest = chain_hash(fields)
    return canonical({**fields, "hash": digest}) + b"\n", digest


def chain_hash(fields: dict[str, Any]) -> str:
    """The hash of an entry, from its fields without `hash`."""
    rest = {name: value for name, value in fields.items() if name != "hash"}
    return blake2b(
        bytes.fromhex(fields["prev"]) + canonical(rest),
        person=contexts.PERSON_AUDIT_CHAIN,
        size_bytes=32,
    ).hex()


def canonical(fields: dict[str, Any]) -> bytes:
    """The one form of an entry: ASCII, members sorted, no white space."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")
