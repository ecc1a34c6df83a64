"""Keys by the client: what a tenant's tool sees and asks for, typed."""

from __future__ import annotations

import uuid

import pytest

from keys.service_token import HOUSE, ServiceScope
from tests.client.conftest import QUICK, service_token
from tests.world import World
from vault.client import JobState, ReplayVault, Token
from vault.client.errors import Conflict, Forbidden, InvalidRequest, NotFound

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_tenant_rotates_its_own(vault: ReplayVault, published: uuid.UUID) -> None:
    keys = vault.keys
    assert (await keys.status()).patient[0].recordings >= 1
    assert (await keys.plan("patient", patient="p-1")).would["patients"] == 1
    job = await keys.ended((await keys.ask("patient", patient="p-1", rate_per_s=100)).id)
    assert (job.state, job.done, job.errors) == (JobState.DONE, 1, ())
    assert job.id in {each.id for each in await keys.jobs()}
    due = await keys.due()
    assert (due.master, due.patient_keys.count, due.drained.count) == (None, 0, 1)
    census = await keys.census(sample=5)
    assert (census.sample.wrong, census.sample.looked_at > 0) == (0, True)
    with pytest.raises(Conflict):
        await keys.retry(job.id)
    with pytest.raises(NotFound):
        await keys.job(published)


async def test_a_job_is_held_and_ended(vault: ReplayVault, house: World) -> None:
    with pytest.raises(Forbidden):
        await vault.keys.ask("master")
    with pytest.raises(InvalidRequest):
        await vault.keys.ask("patient", hours="at night")
    text = (await house.backend(HOUSE, ServiceScope.KEYS)).token
    assert text is not None
    async with ReplayVault(house.url, Token(text), backoff=QUICK) as everybody:
        assert (await everybody.keys.due()).master is not None
        job = await everybody.keys.ended((await everybody.keys.ask("rewrap")).id)
        assert job.tenant is None
        with pytest.raises(NotFound):
            await vault.keys.pause(job.id)
        with pytest.raises(Forbidden):
            await everybody.open_session("p-1")


async def test_a_leak_is_answered_and_the_tier_secret_is_rotated(
    vault: ReplayVault, published: uuid.UUID, house: World
) -> None:
    keys = vault.keys
    assert (await keys.plan("reencrypt", recording=published)).would["recordings"] == 1
    drafted = await keys.draft_leak("recording", reason="a test", recording=published)
    assert [each.step for each in drafted.steps] == ["reencrypt", "review"]
    declared = await keys.declare_leak("recording", reason="a test", recording=published)
    plan = await keys.answered(declared.id)
    assert [each.state for each in plan.steps] == ["done", "by hand"]
    assert (await keys.leak(declared.id)).answered_at == plan.answered_at
    assert [each.id for each in await keys.leaks()] == [declared.id]
    with pytest.raises(NotFound):
        await keys.leak(published)
    with pytest.raises(Forbidden):
        await keys.tier_secret()
    text = (await house.backend(HOUSE, ServiceScope.KEYS)).token
    assert text is not None
    async with ReplayVault(house.url, Token(text), backoff=QUICK) as everybody:
        [old] = (await everybody.keys.tier_secret()).secrets
        assert (await everybody.keys.rotate_tier_secret(old)).step in {"opening", "sealing", "living-out"}
        with pytest.raises(Conflict):
            await everybody.keys.rotate_tier_secret("0" * 16)


async def test_without_the_scope_there_is_nothing(narrow: ReplayVault, house: World) -> None:
    assert await service_token(house, ServiceScope.INGEST)
    with pytest.raises(Forbidden):
        await narrow.keys.status()
