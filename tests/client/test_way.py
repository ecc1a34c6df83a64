"""The whole way of a recording through the client, on each engine."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from tests.client.conftest import METADATA, film, service_token
from tests.media import Media
from tests.world import World
from vault.client import FileSink, PatientSession, ReplayVault, SessionScope, State
from vault.client.errors import Conflict, NotFound, Unauthenticated


async def test_a_recording_goes_in_and_comes_out_for_its_patient_alone(
    world: World, media: Media, tmp_path: Path
) -> None:
    seen: list[tuple[int, int | None]] = []
    source = film(media)
    async with ReplayVault(world.url, await service_token(world)) as vault:
        stored = await vault.store(
            source,
            patient="p-17",
            consultation="c-1",
            metadata=METADATA,
            on_progress=lambda done, total: seen.append((done, total)),
        )
        states = [status.state async for status in vault.watch(stored.id)]
        assert states[-1] is State.PUBLISHED
        assert [status.id async for status in vault.recordings()] == [stored.id]
        ann = await vault.open_session("p-17", ttl=dt.timedelta(minutes=5))
        ticket = await vault.ticket(stored.id, purpose="support call 4711")
        bob_stored = await vault.announce(patient="p-18", consultation="c-2", metadata=METADATA)
        bob = await vault.open_session("p-18")
        assert {view.id for view in await vault.sessions(patient="p-17")} >= {ann.id}
    size = source.stat().st_size
    assert seen[-1] == (size, size)
    assert (await world.anyone.get(ticket.path("audio.mp4", to="a player"))).status == 200
    async with PatientSession(world.url, ann.token) as session:
        views = [view async for view in session.recordings()]
        assert [(view.id, view.title, view.clinician) for view in views] == [
            (stored.id, METADATA.title, METADATA.clinician)
        ]
        assert (await session.recording(stored.id)).consulted_at == METADATA.consulted_at
        got = await session.download(stored.id, "replay.mp4", FileSink(tmp_path / "replay.mp4"))
        assert got == (tmp_path / "replay.mp4").stat().st_size > 10_000
        following = await session.refresh(ttl=dt.timedelta(minutes=10))
    async with PatientSession(world.url, bob.token) as session:
        assert [view async for view in session.recordings()] == []
        with pytest.raises(NotFound):
            await session.download(stored.id, "replay.mp4", FileSink(tmp_path / "none.mp4"))
    async with ReplayVault(world.url, await service_token(world)) as vault:
        with pytest.raises(Conflict):
            await vault.retry(stored.id)
        await vault.delete(bob_stored.id)
        with pytest.raises(NotFound):
            await vault.status(bob_stored.id)
        assert await vault.revoke_all(patient="p-17") >= 2
    async with PatientSession(world.url, following.token) as session:
        with pytest.raises(Unauthenticated):
            await session.recording(stored.id)


async def test_a_session_may_be_narrowed(world: World) -> None:
    async with ReplayVault(world.url, await service_token(world)) as vault:
        await vault.announce(patient="p-1", consultation="c-1", metadata=METADATA)
        opened = await vault.open_session("p-1", scopes=[SessionScope.PLAY])
        assert await vault.revoke(opened.id) == 1
        with pytest.raises(NotFound):
            await vault.revoke(opened.id)
    async with PatientSession(world.url, opened.token) as session:
        with pytest.raises(Unauthenticated):
            _ = [view async for view in session.recordings()]
