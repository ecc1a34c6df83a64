"""Whose token asks about keys, whom it may mean, and what is written down when it means somebody else.

Invariants: a token acts on its own tenant, one of the house on all; what is another tenant's is answered as what
is not there, and the asking is on the audit log.
"""

from __future__ import annotations

from typing import Any, Final

from keys.ids import PatientRef, TenantId, parse_patient, parse_tenant
from keys.service_token import ServiceScope
from vault.api.auth import Service
from vault.api.binding import Call, service
from vault.api.middleware import request_id
from vault.api.problems import Code, Problem
from vault.audit.entry import Action, Decision, Event, Reason
from vault.audit.log import AuditLog

KEYS: Final = service(ServiceScope.KEYS.value)
OWN_ALONE: Final = "The token acts on its own tenant alone."


def own_tenant(call: Call[Service, Any, Any]) -> TenantId | None:
    """The tenant that a token is of; None for one of the house."""
    token = call.principal.token
    return None if token.is_of_house else token.tenant


def require_house(call: Call[Service, Any, Any], detail: str) -> None:
    """Raises `Problem`, with this sentence, for a token of one tenant."""
    if own_tenant(call) is not None:
        raise Problem(Code.FORBIDDEN, detail=detail)


def whose(call: Call[Service, Any, Any], tenant: str | None, patient: str) -> tuple[TenantId, PatientRef]:
    """Whom a body may mean by the token that came with it; raises `Problem`."""
    own = own_tenant(call)
    asked = None if tenant is None else parse_tenant(tenant)
    if own is not None and asked not in {None, own}:
        raise Problem(Code.FORBIDDEN, detail=OWN_ALONE)
    meant = own or asked
    if meant is None:
        raise Problem(Code.INVALID_BODY, detail="A token of the house names the tenant.")
    return meant, parse_patient(patient)


async def require_own(
    audit: AuditLog,
    call: Call[Service, Any, Any],
    tenant: TenantId | None,
    *,
    action: Action,
    note: str,
    recording: str = "",
) -> None:
    """Raises the 404 of what is not there where something is not this token's; None is of the house alone."""
    if own_tenant(call) in {None, tenant}:
        return
    await audit.write(
        Event(
            action=action,
            decision=Decision.DENY,
            reason=Reason.NOT_YOURS,
            actor=call.principal.actor,
            recording=recording,
            request=request_id(call.request),
            note=note,
        )
    )
    raise Problem(Code.NOT_FOUND)
