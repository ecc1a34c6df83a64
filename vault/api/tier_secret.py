"""The tier secret over HTTP: how its rotation stands, and the next step of it. For tokens of the house.

Invariants: what is rotated is the file of this control role; the secret that goes is named, so that asking again after
it has gone begins nothing; no secret leaves, and no path of a file.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from keys.errors import MasterUnusable
from vault.api import key_models as models
from vault.api.auth import Service
from vault.api.binding import AnyRoute, Call, Route
from vault.api.middleware import request_id
from vault.api.problems import Code, Problem
from vault.api.tenancy import KEYS, require_house
from vault.sessions.errors import TierConflict
from vault.sessions.tier_rotation import TierDesk, document_of

_EVERYBODY_S: Final = "The tier secret seals every tenant's sessions: use a token of the house."
_UNUSABLE: Final = (
    "The control role cannot read or change its tier secret file: its log says why. Rotate at the command line, where "
    "the file can be changed."
)

_log = structlog.get_logger("replayvault.tiers")


@dataclass(frozen=True, slots=True)
class TierApi:
    """Handlers of the tier secret."""

    desk: TierDesk
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def look(self, call: Call[Service, None, None]) -> models.TierView:
        """How it stands."""
        require_house(call, _EVERYBODY_S)
        try:
            return models.TierView(**document_of(await self.desk.look()))
        except MasterUnusable as error:
            raise _unusable(error) from None

    async def rotate(self, call: Call[Service, None, models.TierGoing]) -> models.TierView:
        """Go on as far as is safe."""
        require_house(call, _EVERYBODY_S)
        desk = replace(self.desk, by=call.principal.actor, request=request_id(call.request))
        try:
            async with self._turn:
                return models.TierView(**document_of(await desk.advance(going=call.body.secret)))
        except TierConflict as error:
            text = str(error)
            raise Problem(Code.CONFLICT, detail=f"{text[0].upper()}{text[1:]}.") from None
        except MasterUnusable as error:
            raise _unusable(error) from None

    def routes(self) -> tuple[AnyRoute, ...]:
        """The rows of the tier secret."""
        path, problems = "/v1/keys/tier-secret", (Code.CONFLICT, Code.UNAVAILABLE)
        return (
            Route(
                method="GET",
                path=path,
                handler=self.look,
                access=KEYS,
                summary="How the rotation of the tier secret stands",
                answers={200: models.TierView},
                problems=problems,
            ),
            Route(
                method="POST",
                path=f"{path}/rotate",
                handler=self.rotate,
                access=KEYS,
                summary="Put a new tier secret in the place of the named one, as far as that is safe now",
                body=models.TierGoing,
                answers={200: models.TierView},
                problems=problems,
            ),
        )


def _unusable(error: MasterUnusable) -> Problem:
    _log.error("the tier secret file cannot be used", reason=str(error))
    return Problem(Code.CONFLICT, detail=_UNUSABLE)
