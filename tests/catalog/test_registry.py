"""The registry of sessions and the service tokens: what has ended is over, and nothing else is."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import random
import uuid
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from keys.database import Database
from keys.ids import Generation, PatientRef, TenantId, parse_tenant
from keys.records import Kind, RecordId
from keys.service_token import ServiceScope, hash_service_token, new_service_token
from tests.catalog.rows import NOW, OTHER, PATIENT, SECOND, TENANT
from vault.catalog import registry, service_tokens
from vault.catalog.errors import UnknownToken
from vault.catalog.registry import Registered
from vault.catalog.service_tokens import ServiceTokenRow

LATER = NOW + 900 * SECOND


def entry(**changed: Any) -> Registered:
    fields: dict[str, Any] = {
        "record_id": RecordId(os.urandom(32)),
        "kind": Kind.SESSION,
        "tenant": TENANT,
        "patient": PATIENT,
        "parent": None,
        "issuer": "service",
        "generation": Generation(1),
        "issued_at": NOW,
        "expires_at": LATER,
    }
    return Registered(**{**fields, **changed})


async def register(catalog: Database, *entries: Registered) -> None:
    async with catalog.writing() as connection:
        for each in entries:
            await registry.register(connection, each)


async def standing(catalog: Database, *entries: Registered, now: dt.datetime = NOW) -> bool:
    async with catalog.reading() as connection:
        return await registry.standing(connection, [each.record_id for each in entries], now=now)


async def alive(
    catalog: Database, *, tenant: TenantId = TENANT, patient: PatientRef | None = None, limit: int = 99
) -> list[Registered]:
    async with catalog.reading() as connection:
        return list(await registry.alive(connection, tenant, patient=patient, now=NOW, limit=limit))


class TestSessions:
    """Standing is what is registered, not revoked and not over."""

    async def test_it_stands_until_its_end(self, catalog: Database) -> None:
        one = entry()
        assert not await standing(catalog, one)
        await register(catalog, one)
        assert await standing(catalog, one)
        assert await standing(catalog, one, now=LATER - SECOND)
        assert not await standing(catalog, one, now=LATER)

    async def test_all_of_them_must_stand(self, catalog: Database) -> None:
        one, two = entry(), entry()
        await register(catalog, one)
        assert not await standing(catalog, one, two)
        await register(catalog, two)
        assert await standing(catalog, one, two)

    async def test_a_record_id_is_registered_once(self, catalog: Database) -> None:
        one = entry()
        await register(catalog, one)
        with pytest.raises(IntegrityError):
            await register(catalog, one)

    async def test_one_is_revoked_with_all_that_came_of_it(self, catalog: Database) -> None:
        one, other = entry(), entry()
        ticket = entry(kind=Kind.TICKET, parent=one.record_id)
        refreshed = entry(parent=one.record_id)
        of_refreshed = entry(kind=Kind.TICKET, parent=refreshed.record_id)
        await register(catalog, one, other, ticket, refreshed, of_refreshed)
        async with catalog.writing() as connection:
            ended = await registry.revoke_one(connection, TENANT, one.record_id, now=NOW)
            assert await registry.revoke_one(connection, TENANT, one.record_id, now=NOW) == ()
        family = (one, ticket, refreshed, of_refreshed)
        assert set(ended) == {each.record_id for each in family}
        assert not any([await standing(catalog, each) for each in family])
        assert await standing(catalog, other)

    async def test_another_tenant_revokes_nothing(self, catalog: Database) -> None:
        one = entry()
        await register(catalog, one)
        other = parse_tenant("other")
        async with catalog.writing() as connection:
            assert await registry.revoke_one(connection, other, one.record_id, now=NOW) == ()
            assert await registry.revoke_patient(connection, other, PATIENT, now=NOW) == ()
            assert await registry.revoke_tenant(connection, other, now=NOW) == ()
        assert await standing(catalog, one)

    async def test_a_patients_or_a_tenants_are_revoked_together(self, catalog: Database) -> None:
        mine, theirs, elsewhere = entry(), entry(patient=OTHER), entry(tenant=parse_tenant("other"))
        over = entry(expires_at=NOW)
        await register(catalog, mine, theirs, elsewhere, over)
        async with catalog.writing() as connection:
            assert await registry.revoke_patient(connection, TENANT, PATIENT, now=NOW) == (mine.record_id,)
            assert await registry.revoke_tenant(connection, TENANT, now=NOW) == (theirs.record_id,)
        assert await standing(catalog, elsewhere)

    async def test_it_is_shortened_and_never_lengthened(self, catalog: Database) -> None:
        one = entry()
        await register(catalog, one)
        async with catalog.writing() as connection:
            for until in (NOW + 60 * SECOND, LATER):
                assert await registry.shorten(connection, one.record_id, now=NOW, expires_at=until)
        assert await standing(catalog, one, now=NOW + 59 * SECOND)
        assert not await standing(catalog, one, now=NOW + 60 * SECOND)

    async def test_what_has_ended_is_not_shortened_and_said_so(self, catalog: Database) -> None:
        over, revoked, unknown = entry(expires_at=NOW), entry(), entry()
        await register(catalog, over, revoked)
        async with catalog.writing() as connection:
            await registry.revoke_one(connection, TENANT, revoked.record_id, now=NOW)
            for each in (over, revoked, unknown):
                assert not await registry.shorten(connection, each.record_id, now=NOW, expires_at=LATER)
        assert not await standing(catalog, revoked)

    async def test_no_refresh_outlives_a_revoke_at_the_same_time(self, catalog: Database) -> None:
        """Whoever comes first: a successor that was registered ends with its session, or is never made."""
        chance = random.Random(5)  # noqa: S311 - a test must repeat
        for _ in range(12):
            one = entry()
            successor = entry(parent=one.record_id)
            await register(catalog, one)

            async def refresh(one: Registered = one, successor: Registered = successor) -> None:
                await asyncio.sleep(chance.random() * 0.004)
                async with catalog.writing() as connection:
                    if await registry.shorten(connection, one.record_id, now=NOW, expires_at=LATER):
                        await asyncio.sleep(chance.random() * 0.004)
                        await registry.register(connection, successor)

            async def revoke(one: Registered = one) -> None:
                await asyncio.sleep(chance.random() * 0.004)
                async with catalog.writing() as connection:
                    await registry.revoke_one(connection, TENANT, one.record_id, now=NOW)

            await asyncio.gather(refresh(), revoke())
            assert not await standing(catalog, one)
            assert not await standing(catalog, successor)

    async def test_the_living_are_listed_the_longest_first(self, catalog: Database) -> None:
        entries = [entry(expires_at=NOW + SECOND * n, patient=OTHER if n % 2 else PATIENT) for n in range(6)]
        await register(catalog, *entries)
        async with catalog.writing() as connection:
            await registry.revoke_one(connection, TENANT, entries[3].record_id, now=NOW)
        assert await alive(catalog) == [entries[5], entries[4], entries[2], entries[1]]
        assert await alive(catalog, patient=OTHER) == [entries[5], entries[1]]
        assert await alive(catalog, limit=2) == [entries[5], entries[4]]
        assert await alive(catalog, tenant=parse_tenant("other")) == []


def token_row(**changed: Any) -> ServiceTokenRow:
    fields: dict[str, Any] = {
        "token_id": uuid.uuid4(),
        "tenant": TENANT,
        "name": "backend",
        "scopes": frozenset({ServiceScope.INGEST, ServiceScope.AUDIT}),
        "created_at": NOW,
        "expires_at": None,
        "revoked_at": None,
    }
    return ServiceTokenRow(**{**fields, **changed})


class TestServiceTokens:
    """A token is found by its hash while it is valid."""

    async def test_it_comes_back_as_it_went(self, catalog: Database) -> None:
        row, digest = token_row(expires_at=LATER), hash_service_token(new_service_token())
        async with catalog.writing() as connection:
            await service_tokens.add(connection, row, digest)
            assert await service_tokens.by_hash(connection, digest, now=NOW) == row
            assert await service_tokens.every(connection) == (row,)

    @pytest.mark.parametrize(("after_s", "is_valid"), [(0, True), (899, True), (900, False), (901, False)])
    async def test_its_time_ends(self, catalog: Database, *, after_s: int, is_valid: bool) -> None:
        row, digest = token_row(expires_at=LATER), hash_service_token(new_service_token())
        async with catalog.writing() as connection:
            await service_tokens.add(connection, row, digest)
            if is_valid:
                await service_tokens.by_hash(connection, digest, now=NOW + after_s * SECOND)
                return
            with pytest.raises(UnknownToken):
                await service_tokens.by_hash(connection, digest, now=NOW + after_s * SECOND)

    async def test_one_without_an_end_has_none(self, catalog: Database) -> None:
        row, digest = token_row(), hash_service_token(new_service_token())
        async with catalog.writing() as connection:
            await service_tokens.add(connection, row, digest)
            await service_tokens.by_hash(connection, digest, now=NOW + dt.timedelta(days=36_500))

    async def test_a_revoked_one_is_unknown(self, catalog: Database) -> None:
        row, digest = token_row(), hash_service_token(new_service_token())
        async with catalog.writing() as connection:
            await service_tokens.add(connection, row, digest)
            await service_tokens.revoke(connection, row.token_id, now=NOW)
            for token_id in (row.token_id, uuid.uuid4()):
                with pytest.raises(UnknownToken):
                    await service_tokens.revoke(connection, token_id, now=NOW)
            with pytest.raises(UnknownToken):
                await service_tokens.by_hash(connection, digest, now=NOW)

    async def test_another_hash_finds_nothing(self, catalog: Database) -> None:
        async with catalog.writing() as connection:
            await service_tokens.add(connection, token_row(), hash_service_token(new_service_token()))
            with pytest.raises(UnknownToken):
                await service_tokens.by_hash(connection, hash_service_token(new_service_token()), now=NOW)
