"""Service tokens: what a tenant's backend shows. Hashed at rest, so that a catalog dump opens nothing.

Pure: rows live in the catalog. The hash needs no salt and no stretching: a token holds 256 random bits.
"""

from __future__ import annotations

import base64
import enum
import re
from typing import Final, NewType

import nacl.utils

from keys import contexts
from keys.digest import blake2b
from keys.errors import InvalidToken
from keys.ids import TenantId

ServiceTokenHash = NewType("ServiceTokenHash", bytes)

PREFIX: Final = "rvk"
_TOKEN: Final = re.compile(PREFIX + r"_[A-Za-z0-9_-]{43}", re.ASCII)


class ServiceScope(enum.Enum):
    """What a service token may be used for."""

    INGEST = "ingest"
    SESSIONS = "sessions"
    TICKETS = "tickets"
    AUDIT = "audit"
    KEYS = "keys"


# The tenant of tokens that concern every tenant. No tenant can be called so: `ids.parse_tenant` refuses it.
HOUSE: Final = TenantId("*")
HOUSE_SCOPES: Final = frozenset({ServiceScope.AUDIT, ServiceScope.KEYS})


def new_service_token() -> str:
    """A fresh token; shown once to whoever asked for it."""
    return f"{PREFIX}_{base64.urlsafe_b64encode(nacl.utils.random(32)).decode().rstrip('=')}"


def hash_service_token(text: str) -> ServiceTokenHash:
    """The hash under which a token is stored and found; raises `InvalidToken`."""
    if not _TOKEN.fullmatch(text):
        raise InvalidToken("not a service token")
    return ServiceTokenHash(blake2b(text.encode(), person=contexts.PERSON_SERVICE_TOKEN, size_bytes=32))
