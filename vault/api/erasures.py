"""Erasures and legal holds over HTTP: decided by a tenant's own tool, carried out by the control role.

Invariants: a token decides about its own tenant's patients, one of the house about everybody's; another tenant's
erasure is answered as one that is not there; where two persons have to agree, two tokens are two persons.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from keys.erasures import ErasureId, ErasureRow, LegalHold
from keys.errors import ErasureRefused, UnknownErasure
from keys.ids import parse_uuid
from vault.api import key_models as models
from vault.api.auth import Service
from vault.api.binding import AnyRoute, Call, MediaAnswer, Route
from vault.api.problems import Code, Problem
from vault.api.tenancy import KEYS, own_tenant, whose
from vault.erasure.requests import Requests

_CERTIFICATE: Final = MediaAnswer(("application/json",))


@dataclass(frozen=True, slots=True)
class ErasuresApi:
    """Handlers of erasures and legal holds."""

    requests: Requests

    async def ask(self, call: Call[Service, None, models.NewErasure]) -> models.ErasureView:
        """Ask for a patient to be erased."""
        tenant, patient = whose(call, call.body.tenant, call.body.patient)
        hold = dt.timedelta(seconds=call.body.hold_s)
        try:
            row = await self.requests.ask(
                tenant, patient, reason=call.body.reason, hold=hold, actor=call.principal.actor
            )
        except UnknownErasure:
            raise Problem(Code.NOT_FOUND) from None
        except ErasureRefused as refused:
            raise Problem(Code.CONFLICT, detail=_sentence(refused)) from None
        return _view(row)

    async def list(self, call: Call[Service, None, None]) -> models.ErasureList:
        """Erasures, the latest request first."""
        rows = await self.requests.register.latest(tenant=own_tenant(call))
        return models.ErasureList(erasures=tuple(map(_view, rows)))

    async def show(self, call: Call[Service, None, None]) -> models.ErasureView:
        """Where an erasure stands."""
        return _view(await self._found(call))

    async def approve(self, call: Call[Service, None, None]) -> models.ErasureView:
        """Agree to what another token asked for."""
        row = await self._found(call)
        try:
            return _view(await self.requests.approve(row.erasure_id, actor=call.principal.actor))
        except ErasureRefused as refused:
            raise Problem(Code.CONFLICT, detail=_sentence(refused)) from None

    async def cancel(self, call: Call[Service, None, None]) -> models.ErasureView:
        """Take an erasure back while it is held."""
        row = await self._found(call)
        try:
            return _view(await self.requests.cancel(row.erasure_id, actor=call.principal.actor))
        except ErasureRefused as refused:
            raise Problem(Code.CONFLICT, detail=_sentence(refused)) from None

    async def certificate(self, call: Call[Service, None, None]) -> web.Response:
        """The certificate, once no backup can hold the share."""
        row = await self._found(call)
        if row.certificate is None:
            raise Problem(Code.NOT_READY, detail="The certificate is made once backups have run out.")
        return web.Response(text=row.certificate, content_type="application/json")

    async def place_hold(self, call: Call[Service, None, models.NewLegalHold]) -> models.LegalHoldView:
        """Keep a patient from being erased."""
        tenant, patient = whose(call, call.body.tenant, call.body.patient)
        try:
            made = await self.requests.place_hold(
                tenant, patient, reason=call.body.reason, actor=call.principal.actor
            )
        except ErasureRefused as refused:
            raise Problem(Code.CONFLICT, detail=_sentence(refused)) from None
        return _hold(made)

    async def lift_hold(self, call: Call[Service, None, models.HeldPatient]) -> None:
        """Lift a legal hold. By POST: a URL stands in the logs of every proxy, and names no patient here."""
        tenant, patient = whose(call, call.body.tenant, call.body.patient)
        try:
            await self.requests.lift_hold(tenant, patient, actor=call.principal.actor)
        except UnknownErasure:
            raise Problem(Code.NOT_FOUND) from None

    async def holds(self, call: Call[Service, None, None]) -> models.LegalHoldList:
        """Legal holds."""
        own = own_tenant(call)
        found = await self.requests.register.legal_holds()
        return models.LegalHoldList(holds=tuple(_hold(each) for each in found if own in {None, each.tenant}))

    async def _found(self, call: Call[Service, None, None]) -> ErasureRow:
        erasure_id = ErasureId(call.parsed("erasure_id", by=parse_uuid))
        try:
            return await self.requests.register.find(erasure_id, tenant=own_tenant(call))
        except UnknownErasure:
            raise Problem(Code.NOT_FOUND) from None

    def routes(self) -> tuple[AnyRoute, ...]:
        """The rows of erasures and legal holds."""
        one, away = "/v1/keys/erasures/{erasure_id}", (Code.UNAVAILABLE,)
        return (
            Route(
                method="POST",
                path="/v1/keys/erasures",
                handler=self.ask,
                access=KEYS,
                summary="Ask for a patient to be erased: it is held, and can be cancelled until then",
                body=models.NewErasure,
                answers={201: models.ErasureView},
                problems=(Code.NOT_FOUND, Code.CONFLICT, *away),
            ),
            Route(
                method="GET",
                path="/v1/keys/erasures",
                handler=self.list,
                access=KEYS,
                summary="Erasures, the latest request first",
                answers={200: models.ErasureList},
                problems=away,
            ),
            Route(
                method="GET",
                path=one,
                handler=self.show,
                access=KEYS,
                summary="Where an erasure stands",
                answers={200: models.ErasureView},
                problems=(Code.NOT_FOUND, *away),
            ),
            Route(
                method="POST",
                path=one + "/approve",
                handler=self.approve,
                access=KEYS,
                summary="Agree to what another token asked for",
                answers={200: models.ErasureView},
                problems=(Code.NOT_FOUND, Code.CONFLICT, *away),
            ),
            Route(
                method="POST",
                path=one + "/cancel",
                handler=self.cancel,
                access=KEYS,
                summary="Take an erasure back while it is held",
                answers={200: models.ErasureView},
                problems=(Code.NOT_FOUND, Code.CONFLICT, *away),
            ),
            Route(
                method="GET",
                path=one + "/certificate",
                handler=self.certificate,
                access=KEYS,
                summary="The certificate of an erasure, signed",
                answers={200: _CERTIFICATE},
                problems=(Code.NOT_FOUND, Code.NOT_READY, *away),
            ),
            Route(
                method="POST",
                path="/v1/keys/holds",
                handler=self.place_hold,
                access=KEYS,
                summary="Place a legal hold: the patient cannot be erased",
                body=models.NewLegalHold,
                answers={201: models.LegalHoldView},
                problems=(Code.CONFLICT, *away),
            ),
            Route(
                method="GET",
                path="/v1/keys/holds",
                handler=self.holds,
                access=KEYS,
                summary="Legal holds",
                answers={200: models.LegalHoldList},
                problems=away,
            ),
            Route(
                method="POST",
                path="/v1/keys/holds/lift",
                handler=self.lift_hold,
                access=KEYS,
                summary="Lift a legal hold",
                body=models.HeldPatient,
                answers={204: None},
                problems=(Code.NOT_FOUND, *away),
            ),
        )


def _sentence(refused: ErasureRefused) -> str:
    """Ours, without what was asked for: a sentence of the strongroom, its command left out."""
    text = str(refused).partition(":")[0]
    return text[0].upper() + text[1:] + "."


def _view(row: ErasureRow) -> models.ErasureView:
    return models.ErasureView(
        id=row.erasure_id,
        state=row.state,
        tenant=row.tenant,
        patient=row.patient,
        reason=row.reason,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        approved_by=row.approved_by,
        hold_until=row.hold_until,
        destroyed_at=row.destroyed_at,
        backups_expire_at=row.backups_expire_at,
        ended_at=row.ended_at,
    )


def _hold(made: LegalHold) -> models.LegalHoldView:
    return models.LegalHoldView(
        tenant=made.tenant,
        patient=made.patient,
        reason=made.reason,
        placed_by=made.placed_by,
        placed_at=made.placed_at,
    )
