"""Service tokens as rows: hashed, scoped, of one tenant.

Every function takes the connection of its caller.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import TenantId
from keys.service_token import HOUSE, HOUSE_SCOPES, ServiceScope, ServiceTokenHash
from vault.catalog.errors import UnknownToken
from vault.catalog.tables import service_tokens


@dataclass(frozen=True, slots=True)
class ServiceTokenRow:
    """A service token without its secret."""

    token_id: uuid.UUID
    tenant: TenantId
    name: str
    scopes: frozenset[ServiceScope]
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None

    @property
    def is_of_house(self) -> bool:
        """Whether it concerns every tenant."""
        return self.tenant == HOUSE

    def may(self, scope: ServiceScope) -> bool:
        """Whether it has a scope. A token of the house opens no patient, whatever its row says."""
        return scope in self.scopes and (scope in HOUSE_SCOPES or not self.is_of_house)


async def add(connection: AsyncConnection, row: ServiceTokenRow, token_hash: ServiceTokenHash) -> None:
    """Insert a token."""
    await connection.execute(
        insert(service_tokens).values(
            id=row.token_id,
            tenant=row.tenant,
            name=row.name,
            hash=token_hash,
            scopes=" ".join(sorted(scope.value for scope in row.scopes)),
            created_at=row.created_at,
            expires_at=row.expires_at,
        ),
    )


async def by_hash(
    connection: AsyncConnection, token_hash: ServiceTokenHash, *, now: dt.datetime
) -> ServiceTokenRow:
    """A token that is valid now; raises `UnknownToken`."""
    question = select(service_tokens).where(service_tokens.c.hash == token_hash)
    row = (await connection.execute(question)).mappings().one_or_none()
    found = None if row is None else _read(row)
    if found is None or found.revoked_at is not None:
        raise UnknownToken("no such service token")
    if found.expires_at is not None and found.expires_at <= now:
        raise UnknownToken("the service token has ended")
    return found


async def every(connection: AsyncConnection) -> tuple[ServiceTokenRow, ...]:
    """All tokens, the oldest first."""
    question = select(service_tokens).order_by(service_tokens.c.created_at, service_tokens.c.id)
    return tuple(_read(row) for row in (await connection.execute(question)).mappings())


async def ending(
    connection: AsyncConnection,
    *,
    now: dt.datetime,
    before: dt.datetime,
    tenant: TenantId | None,
    limit: int,
) -> tuple[ServiceTokenRow, ...]:
    """Tokens that end by themselves between two moments, the first to end first."""
    question = (
        select(service_tokens)
        .where(
            service_tokens.c.revoked_at.is_(None),
            service_tokens.c.expires_at > now,
            service_tokens.c.expires_at <= before,
        )
        .order_by(service_tokens.c.expires_at)
        .limit(limit)
    )
    if tenant is not None:
        question = question.where(service_tokens.c.tenant == tenant)
    return tuple(_read(row) for row in (await connection.execute(question)).mappings())


async def revoke(connection: AsyncConnection, token_id: uuid.UUID, *, now: dt.datetime) -> None:
    """End a token; raises `UnknownToken` when there is none such or it has ended."""
    change = (
        update(service_tokens)
        .where(service_tokens.c.id == token_id, service_tokens.c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(service_tokens.c.id)
    )
    if (await connection.execute(change)).one_or_none() is None:
        raise UnknownToken("no such service token, or it was revoked before")


def _read(row: RowMapping) -> ServiceTokenRow:
    return ServiceTokenRow(
        token_id=row["id"],
        tenant=TenantId(row["tenant"]),
        name=row["name"],
        scopes=frozenset(ServiceScope(each) for each in row["scopes"].split()),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
