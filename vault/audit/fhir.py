"""A view as a FHIR R4 AuditEvent (https://hl7.org/fhir/R4/auditevent.html), in the pattern of IHE BALP "PatientRead".

https://profiles.ihe.net/ITI/BALP/StructureDefinition-IHE.BasicAudit.PatientRead.html

Invariants: a patient stands by pseudonym, a session by the hash of its token; a refused view names no patient as its
subject, because the log does not know whose the recording is, and follows no profile of a successful read.
"""

from __future__ import annotations

from typing import Any, Final

from vault.audit.spelling import spelled
from vault.audit.viewing import Entry, Viewing

PROFILE: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientRead"
_DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_ENTITY: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
_URI: Final = "5"  # of http://hl7.org/fhir/network-type
_OURS: Final = "urn:replayvault"
_SUCCESS: Final = "0"
_MINOR_FAILURE: Final = "4"


def audit_event(viewing: Viewing) -> dict[str, Any]:
    """A view that was opened, with its end if it has one."""
    opened = viewing.opened
    data = _data(opened, sent_bytes=viewing.sent_bytes if viewing.closed is not None else None)
    return {
        **_head(opened, outcome=_SUCCESS),
        "meta": {"profile": [PROFILE]},
        "period": {"start": opened["at"], "end": viewing.ended_at},
        "entity": [_patient(opened), data, *_request(opened)],
    }


def refused_event(entry: Entry) -> dict[str, Any]:
    """A view that was refused."""
    return {
        **_head(entry, outcome=_MINOR_FAILURE),
        "outcomeDesc": spelled(entry["reason"]) or "refused",
        "entity": [_data(entry, sent_bytes=None), *_request(entry)],
    }


def _head(entry: Entry, *, outcome: str) -> dict[str, Any]:
    return {
        "resourceType": "AuditEvent",
        "id": entry["hash"],
        "type": _coding(
            "http://terminology.hl7.org/CodeSystem/audit-event-type", "rest", "Restful Operation"
        ),
        "subtype": [_coding("http://hl7.org/fhir/restful-interaction", "read", "read")],
        "action": "R",
        "recorded": entry["at"],
        "outcome": outcome,
        "agent": _agents(entry),
        "source": {
            "observer": {"display": f"Replay Vault, role {spelled(entry['role'])}"},
            "type": [
                _coding(
                    "http://terminology.hl7.org/CodeSystem/security-source-type", "4", "Application Server"
                )
            ],
        },
    }


def _agents(entry: Entry) -> list[dict[str, Any]]:
    session = f"{_OURS}:session:{entry['session']}"
    client = {
        "type": _concept(_DICOM, "110152", "Destination Role ID"),
        "who": _who("session", entry["session"]),
        "requestor": False,
        "network": {"address": session, "type": _URI},
    }
    server = {
        "type": _concept(_DICOM, "110153", "Source Role ID"),
        "who": {"display": f"Replay Vault {spelled(entry['release'])}"},
        "requestor": False,
        "network": {"address": f"{_OURS}:role:{entry['role']}", "type": _URI},
    }
    user = {
        "type": _concept(
            "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP", "information recipient"
        ),
        "role": [{"text": spelled(entry["actor"]) or "unknown"}],
        "who": _who("pseudonym", entry["patient"]),
        "requestor": True,
    }
    return [client, server, user]


def _who(kind: str, value: str) -> dict[str, Any]:
    if not value:
        return {"display": f"no {kind} is on record"}
    return {"identifier": {"system": f"{_OURS}:{kind}", "value": value}}


def _patient(entry: Entry) -> dict[str, Any]:
    return {
        "what": {"type": "Patient", **_who("pseudonym", entry["patient"])},
        "type": _coding(_ENTITY, "1", "Person"),
        "role": _coding(_ROLE, "1", "Patient"),
    }


def _data(entry: Entry, *, sent_bytes: int | None) -> dict[str, Any]:
    identifier = {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{entry['recording']}"}
    detail = [] if sent_bytes is None else [{"type": "bytes sent", "valueString": str(sent_bytes)}]
    return {
        "what": {"type": "Media", "identifier": identifier},
        "type": _coding(_ENTITY, "2", "System Object"),
        "role": _coding(_ROLE, "4", "Domain Resource"),
        **({"detail": detail} if detail else {}),
    }


def _request(entry: Entry) -> list[dict[str, Any]]:
    if not entry["request"]:
        return []
    system = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
    return [
        {
            "what": {"identifier": {"value": spelled(entry["request"])}},
            "type": _coding(system, "XrequestId", "X-Request-Id"),
        }
    ]


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [_coding(system, code, display)]}


def _coding(system: str, code: str, display: str) -> dict[str, Any]:
    return {"system": system, "code": code, "display": display}
