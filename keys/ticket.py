"""Tickets: one recording for minutes, for players that can send no header.

Pure: no clock, no store.

Invariants:
- a ticket carries the key of one recording and no patient key;
- it never outlives the session that it was made from, and dies with it (`parent`);
- `roles` narrows it to some of the recording's files; empty means all that a viewer may have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keys import payload
from keys.errors import Expired, InvalidToken, Malformed, MalformedId
from keys.ids import KeyId, PatientRef, RecordingId, TenantId, parse_patient, parse_tenant, parse_uuid
from keys.records import Kind, RecordId, Token, open_record
from keys.secret import RecordingKey, TierSecret
from keys.session import CLOCK_SKEW_S

_FIELDS: Final = {
    "audience": str,
    "epoch": int,
    "expires_at": int,
    "issued_at": int,
    "key": str,
    "key_id": str,
    "parent": str,
    "patient": str,
    "pseudonym": str,
    "purpose": str,
    "recording": str,
    "roles": list,
    "tenant": str,
}


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """The sealed content of a ticket record."""

    audience: str
    tenant: TenantId
    patient: PatientRef
    pseudonym: str
    epoch: int
    issued_at: int
    expires_at: int
    recording_id: RecordingId
    key_id: KeyId
    key: RecordingKey
    roles: frozenset[str]
    purpose: str
    parent: RecordId | None


def encode_ticket(ticket: Ticket) -> bytes:
    """Canonical payload of a ticket record."""
    return payload.encode(
        {
            "audience": ticket.audience,
            "epoch": ticket.epoch,
            "expires_at": ticket.expires_at,
            "issued_at": ticket.issued_at,
            "key": payload.to_text(ticket.key.reveal(to="ticket record")),
            "key_id": str(ticket.key_id),
            "parent": payload.to_text(ticket.parent or b""),
            "patient": ticket.patient,
            "pseudonym": ticket.pseudonym,
            "purpose": ticket.purpose,
            "recording": str(ticket.recording_id),
            "roles": sorted(ticket.roles),
            "tenant": ticket.tenant,
        },
    )


def open_ticket(
    token: Token, record: bytes, tiers: Sequence[TierSecret], *, now_s: int, audience: str
) -> Ticket:
    """The ticket behind `token`; raises `InvalidToken`, `Expired`, `Malformed`, `Damaged` or `NoSuchKey`."""
    if token.kind is not Kind.TICKET:
        raise InvalidToken("not a ticket token")
    ticket = _decode_ticket(open_record(token, record, tiers))
    if ticket.audience != audience:
        raise InvalidToken("the ticket belongs to another deployment")
    if not ticket.issued_at - CLOCK_SKEW_S <= now_s < ticket.expires_at:
        raise Expired("the ticket's time is over, or has not come")
    return ticket


def _decode_ticket(data: bytes) -> Ticket:
    fields = payload.decode(data, fields=_FIELDS)
    try:
        return Ticket(
            audience=fields["audience"],
            tenant=parse_tenant(fields["tenant"]),
            patient=parse_patient(fields["patient"]),
            pseudonym=fields["pseudonym"],
            epoch=fields["epoch"],
            issued_at=fields["issued_at"],
            expires_at=fields["expires_at"],
            recording_id=RecordingId(parse_uuid(fields["recording"])),
            key_id=KeyId(parse_uuid(fields["key_id"])),
            key=RecordingKey(payload.to_bytes(fields["key"])),
            roles=payload.to_set(fields["roles"]),
            purpose=fields["purpose"],
            parent=RecordId(payload.to_bytes(fields["parent"])) if fields["parent"] else None,
        )
    except MalformedId:
        raise Malformed("a ticket record has a field that means nothing") from None
