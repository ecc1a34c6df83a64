"""Sessions: what a patient's app may read, with the patient's keys inside.

Pure: no clock, no store. `vault.sessions` keeps the records in Redis and the registry in the catalog.

Invariants:
- a session never outlives `absolute_at`, whatever is refreshed;
- times are whole seconds since 1970 (UTC); a session from the future is refused like an old one;
- the audience is the deployment that minted the session: another one's record is refused.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from keys import payload
from keys.errors import Expired, InvalidToken, Malformed, MalformedId
from keys.ids import Generation, KeyId, PatientRef, TenantId, parse_patient, parse_tenant, parse_uuid
from keys.records import Kind, Token, open_record
from keys.secret import PatientKey, TierSecret

# Clocks of two hosts may differ by this much before a session counts as coming from the future.
CLOCK_SKEW_S: Final = 30

_FIELDS: Final = {
    "absolute_at": int,
    "audience": str,
    "epoch": int,
    "expires_at": int,
    "idle_s": int,
    "issued_at": int,
    "keys": list,
    "patient": str,
    "pseudonym": str,
    "scopes": list,
    "tenant": str,
}
_KEY_FIELDS: Final = {"generation": int, "id": str, "key": str}


class SessionScope(enum.Enum):
    """What a session may do."""

    LIST = "list"
    PLAY = "play"
    SHARE = "share"  # make tickets for devices that cannot send a header


@dataclass(frozen=True, slots=True, eq=False)
class GrantedKey:
    """One generation of the patient's key, as a session carries it."""

    key_id: KeyId
    generation: Generation
    key: PatientKey


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """The sealed content of a session record."""

    audience: str
    tenant: TenantId
    patient: PatientRef
    pseudonym: str
    epoch: int
    issued_at: int
    expires_at: int
    absolute_at: int
    idle_s: int
    scopes: frozenset[SessionScope]
    keys: tuple[GrantedKey, ...]

    def key_for(self, key_id: KeyId) -> GrantedKey | None:
        """The one granted key of that id; there is no trying of keys."""
        return next((key for key in self.keys if key.key_id == key_id), None)


def encode_session(session: Session) -> bytes:
    """Canonical payload of a session record."""
    return payload.encode(
        {
            "absolute_at": session.absolute_at,
            "audience": session.audience,
            "epoch": session.epoch,
            "expires_at": session.expires_at,
            "idle_s": session.idle_s,
            "issued_at": session.issued_at,
            "keys": [_encode_key(key) for key in session.keys],
            "patient": session.patient,
            "pseudonym": session.pseudonym,
            "scopes": sorted(scope.value for scope in session.scopes),
            "tenant": session.tenant,
        },
    )


def open_session(
    token: Token, record: bytes, tiers: Sequence[TierSecret], *, now_s: int, audience: str
) -> Session:
    """The session behind `token`; raises `InvalidToken`, `Expired`, `Malformed`, `Damaged` or `NoSuchKey`."""
    if token.kind is not Kind.SESSION:
        raise InvalidToken("not a session token")
    session = _decode_session(open_record(token, record, tiers))
    if session.audience != audience:
        raise InvalidToken("the session belongs to another deployment")
    check_times(session, now_s=now_s)
    return session


def check_times(session: Session, *, now_s: int) -> None:
    """Raises `Expired` unless `now_s` lies in the session's time."""
    if now_s >= min(session.expires_at, session.absolute_at):
        raise Expired("the session has ended")
    if now_s < session.issued_at - CLOCK_SKEW_S:
        raise Expired("the session lies in the future")


def _encode_key(key: GrantedKey) -> dict[str, Any]:
    return {
        "generation": key.generation,
        "id": str(key.key_id),
        "key": payload.to_text(key.key.reveal(to="session record")),
    }


def _decode_session(data: bytes) -> Session:
    fields = payload.decode(data, fields=_FIELDS)
    try:
        return Session(
            audience=fields["audience"],
            tenant=parse_tenant(fields["tenant"]),
            patient=parse_patient(fields["patient"]),
            pseudonym=fields["pseudonym"],
            epoch=fields["epoch"],
            issued_at=fields["issued_at"],
            expires_at=fields["expires_at"],
            absolute_at=fields["absolute_at"],
            idle_s=fields["idle_s"],
            scopes=frozenset(SessionScope(each) for each in payload.to_set(fields["scopes"])),
            keys=tuple(_decode_key(each) for each in fields["keys"]),
        )
    except (ValueError, MalformedId):
        raise Malformed("a session record has a field that means nothing") from None


def _decode_key(found: object) -> GrantedKey:
    fields = payload.require(found, fields=_KEY_FIELDS)
    return GrantedKey(
        key_id=KeyId(parse_uuid(fields["id"])),
        generation=Generation(fields["generation"]),
        key=PatientKey(payload.to_bytes(fields["key"])),
    )
