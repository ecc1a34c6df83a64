"""Uploads: sent once, cut in every place, and never shorter than they were."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.client.conftest import METADATA, QUICK, film
from tests.client.proxy import Proxy
from tests.media import Media
from tests.world import World
from vault.client import ReplayVault, State, Token
from vault.client.errors import (
    Conflict,
    ConsultationTaken,
    Forbidden,
    InvalidRequest,
    Misused,
    NotFound,
    NotPublished,
    ReplayVaultError,
    Unauthenticated,
    UploadInterrupted,
)
from vault.client.sources import media_type

pytestmark = pytest.mark.asyncio(loop_scope="module")

PIECE = bytes(64 * 1024)


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield PIECE


async def announced(vault: ReplayVault, *, patient: str = "p-1", consultation: str = "") -> uuid.UUID:
    made = await vault.announce(
        patient=patient, consultation=consultation or f"c-{uuid.uuid4()}", metadata=METADATA
    )
    return made.id


async def test_pieces_of_unknown_number_arrive_whole(vault: ReplayVault) -> None:
    sent = []
    stored = await vault.upload(
        await announced(vault), pieces(40), on_progress=lambda done, total: sent.append((done, total))
    )
    assert stored.source_size_bytes == 40 * len(PIECE)
    assert sent[-1] == (40 * len(PIECE), None)


async def test_what_is_no_recording_ends_as_failed_with_a_reason(vault: ReplayVault) -> None:
    stored = await vault.upload(await announced(vault), pieces(1))
    with pytest.raises(NotPublished) as failed:
        await vault.published(stored.id)
    assert failed.value.status.failure
    again = await vault.retry(stored.id)
    assert again.state in {State.QUEUED, State.PROCESSING, State.FAILED}


async def test_a_source_that_fails_raises_its_own_error_and_stores_nothing(vault: ReplayVault) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield PIECE
        raise OSError(5, "the disk is gone")

    recording = await announced(vault)
    with pytest.raises(OSError, match="the disk is gone"):
        await vault.upload(recording, broken())
    assert (await vault.status(recording)).state is State.CREATED


@pytest.mark.parametrize(
    "said", [len(PIECE) * 3, len(PIECE) - 1], ids=["shorter than said", "longer than said"]
)
async def test_a_source_of_another_length_than_said_is_never_stored(vault: ReplayVault, said: int) -> None:
    recording = await announced(vault)
    with pytest.raises(Misused, match="did it change"):
        await vault.upload(recording, pieces(1), size_bytes=said)
    assert (await vault.status(recording)).state is State.CREATED
    assert (await vault.upload(recording, pieces(1), size_bytes=len(PIECE))).source_size_bytes == len(PIECE)


class Endless:
    """A source without end, which counts what was taken of it."""

    taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.taken += 1
            yield PIECE


async def test_what_the_service_refuses_is_not_sent_on(vault: ReplayVault) -> None:
    recording, source = await announced(vault), Endless()
    await vault.upload(recording, pieces(1))
    with pytest.raises(Conflict):
        await vault.upload(recording, source, size_bytes=1 << 40)
    taken = source.taken
    await asyncio.sleep(0.3)
    assert source.taken == taken < 1000


async def test_a_token_that_opens_nothing_gets_no_byte_of_a_recording(house: World) -> None:
    source = Endless()
    async with ReplayVault(house.url, Token(f"rvk_{'x' * 43}"), backoff=QUICK) as stranger:
        with pytest.raises(Unauthenticated):
            await stranger.upload(uuid.uuid4(), source)
    assert source.taken == 0


async def test_a_cut_upload_says_which_recording_waits_and_can_be_sent_again(
    through: ReplayVault, proxy: Proxy
) -> None:
    recording = await announced(through)
    proxy.heads.clear()
    # A connection of its own: the pool would take the one that announced.
    await through._wire.aclose()
    await through._wire.open()
    proxy.cut_upload_after_bytes = 500_000
    with pytest.raises(UploadInterrupted) as cut:
        await through.upload(recording, pieces(40), size_bytes=40 * len(PIECE))
    assert cut.value.recording_id == recording
    assert sum(head.startswith("PUT") for head in proxy.heads) == 1
    stored = await through.upload(recording, pieces(40), size_bytes=40 * len(PIECE))
    assert stored.source_size_bytes == 40 * len(PIECE)


async def test_an_upload_whose_answer_was_lost_is_found_again(through: ReplayVault, proxy: Proxy) -> None:
    recording = await announced(through)
    await through._wire.aclose()
    await through._wire.open()
    proxy.cut_after_bytes = len(b"HTTP/1.1 100 Continue\r\n\r\n")
    stored = await through.upload(recording, pieces(2), size_bytes=2 * len(PIECE))
    assert stored.source_size_bytes == 2 * len(PIECE)


async def test_the_same_key_means_the_same_recording(vault: ReplayVault, media: Media) -> None:
    key = str(uuid.uuid4())
    consultation = f"c-{uuid.uuid4()}"
    one = await vault.announce(
        patient="p-1", consultation=consultation, metadata=METADATA, idempotency_key=key
    )
    two = await vault.store(
        film(media), patient="p-1", consultation=consultation, metadata=METADATA, idempotency_key=key
    )
    three = await vault.store(
        film(media), patient="p-1", consultation=consultation, metadata=METADATA, idempotency_key=key
    )
    assert one.id == two.id == three.id
    with pytest.raises(Conflict):
        await vault.announce(
            patient="p-2", consultation=f"{consultation}-2", metadata=METADATA, idempotency_key=key
        )


async def test_an_announcement_whose_answer_was_lost_makes_one_recording(
    through: ReplayVault, proxy: Proxy
) -> None:
    before = [status.id async for status in through.recordings()]
    await through._wire.aclose()
    await through._wire.open()
    proxy.swallow = 1
    recording = await announced(through)
    assert sum(head.startswith("POST /v1/recordings") for head in proxy.heads) == 2
    after = [status.id async for status in through.recordings()]
    assert set(after) - set(before) == {recording}


async def test_refusals_have_their_leaves(vault: ReplayVault, narrow: ReplayVault) -> None:
    consultation = f"c-{uuid.uuid4()}"
    await announced(vault, consultation=consultation)
    with pytest.raises(ConsultationTaken):
        await announced(vault, consultation=consultation, patient="p-2")
    with pytest.raises(InvalidRequest, match="patient: string_pattern_mismatch"):
        await announced(vault, patient="Ada Lovelace")
    with pytest.raises(Forbidden):
        await narrow.open_session("p-1")
    with pytest.raises(NotFound):
        await vault.status(uuid.uuid4())
    with pytest.raises(Misused):
        await vault.revoke("..")


async def test_an_unreadable_file_announces_nothing(vault: ReplayVault, tmp_path: Path) -> None:
    before = [status.id async for status in vault.recordings()]
    with pytest.raises(FileNotFoundError):
        await vault.store(tmp_path / "none.webm", patient="p-1", consultation="c-x", metadata=METADATA)
    assert [status.id async for status in vault.recordings()] == before


async def test_two_uploads_at_once_leave_one_source(vault: ReplayVault) -> None:
    recording = await announced(vault)
    outcomes = await asyncio.gather(
        *(vault.upload(recording, pieces(3)) for _ in range(2)), return_exceptions=True
    )
    assert sorted(isinstance(each, ReplayVaultError) for each in outcomes) in ([False, True], [False, False])
    assert (await vault.status(recording)).source_size_bytes == 3 * len(PIECE)


async def test_types_follow_names() -> None:
    names = ["a.webm", "a.mp4", "a.wav", "a.txt", "a"]
    assert [media_type(Path(name)).partition("/")[0] for name in names] == [
        "video",
        "video",
        "audio",
        "application",
        "application",
    ]
