"""What is repeated and what is not, and how a status is followed through cut connections."""

from __future__ import annotations

import itertools
import time
import uuid
from pathlib import Path

import pytest

from keys.service_token import new_service_token
from tests.client.conftest import METADATA, QUICK, film, service_token
from tests.client.proxy import Proxy
from tests.media import Media
from tests.servers.child import free_port
from tests.world import World
from vault.app.desk import open_breaker
from vault.client import Backoff, PatientSession, ReplayVault, State, Token
from vault.client.documents import OpenedSession
from vault.client.errors import (
    Busy,
    InvalidAddress,
    InvalidToken,
    ListingStopped,
    NotFound,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from vault.client.wire import Ask

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_question_is_asked_again_while_the_service_is_away(
    through: ReplayVault, proxy: Proxy
) -> None:
    proxy.away, proxy.refuse = 1, 1
    assert await through.sessions(patient="p-nobody") == ()
    assert proxy.turned_away == 2


async def test_a_question_is_not_asked_for_ever(through: ReplayVault, proxy: Proxy) -> None:
    proxy.away = 100
    with pytest.raises(Unavailable) as away:
        await through.status(uuid.uuid4())
    assert proxy.turned_away == QUICK.attempts
    assert (away.value.status_code, away.value.code) == (503, "http-503")


async def test_what_changes_something_is_sent_once(through: ReplayVault, proxy: Proxy) -> None:
    for call in (
        lambda: through.open_session("p-1"),
        lambda: through.delete(uuid.uuid4()),
        lambda: through.revoke_all(patient="p-1"),
        lambda: through.retry(uuid.uuid4()),
    ):
        proxy.turned_away, proxy.away = 0, 3
        with pytest.raises(Unavailable):
            await call()
        assert proxy.turned_away == 1


async def test_the_service_is_not_asked_sooner_than_it_wants(through: ReplayVault, proxy: Proxy) -> None:
    proxy.away, proxy.retry_after_s = 1, 1
    started_s = time.monotonic()
    _ = [status async for status in through.recordings()]
    assert time.monotonic() - started_s >= 1.0


async def test_a_time_that_does_not_fit_is_not_waited_for(house: World, proxy: Proxy) -> None:
    proxy.away, proxy.retry_after_s = 1, 3600
    started_s = time.monotonic()
    async with ReplayVault(proxy.url, await service_token(house), backoff=QUICK) as client:
        with pytest.raises(Unavailable) as away:
            await client.status(uuid.uuid4())
    assert away.value.retry_after_s == 3600
    assert time.monotonic() - started_s < 1.0


async def test_a_status_is_followed_through_cuts_until_it_is_final(
    through: ReplayVault, proxy: Proxy, media: Media
) -> None:
    stored = await through.store(film(media), patient="p-1", consultation="c-cut", metadata=METADATA)
    await through._wire.aclose()
    await through._wire.open()
    proxy.cut_after_bytes = 700
    seen = [status async for status in through.watch(stored.id)]
    assert seen[-1].state is State.PUBLISHED
    assert sum("/events" in head for head in proxy.heads) == 1
    assert sum(head.startswith(f"GET /v1/recordings/{stored.id} ") for head in proxy.heads) >= 1
    assert all(one != two for one, two in itertools.pairwise(seen))


async def test_watching_what_is_not_there_says_so(vault: ReplayVault) -> None:
    with pytest.raises(NotFound):
        _ = [status async for status in vault.watch(uuid.uuid4())]


async def test_nobody_there_is_one_error(house: World) -> None:
    token = await service_token(house)
    url = f"http://127.0.0.1:{free_port()}"
    async with ReplayVault(url, token, backoff=Backoff(attempts=1)) as client:
        with pytest.raises(Unreachable, match=f"cannot connect to {url}"):
            await client.status(uuid.uuid4())


async def test_another_service_is_not_believed(house: World, vault: ReplayVault) -> None:
    elsewhere = f"{house.url}/elsewhere"
    async with ReplayVault(elsewhere, await service_token(house), backoff=QUICK) as client:
        with pytest.raises(NotFound):
            await client.status(uuid.uuid4())
    with pytest.raises(UnexpectedAnswer):
        await vault._wire.document(Ask(method="GET", path=("healthz",)), OpenedSession, safe=True)


async def test_errors_and_reprs_hold_no_token(house: World, tmp_path: Path) -> None:
    text = new_service_token()
    (tmp_path / "token").write_text(text + "\n")
    token = Token.from_file(tmp_path / "token")
    async with ReplayVault(house.url, token, backoff=QUICK) as client:
        with pytest.raises(Unauthenticated) as refused:
            await client.status(uuid.uuid4())
        shown = [repr(client), repr(token), str(token), f"{token}", repr(refused.value), str(refused.value)]
        shown += [repr(refused.value.problem), repr(refused.value.__context__), str(vars(refused.value))]
    assert not [each for each in shown if text[4:] in each]


@pytest.mark.parametrize(
    "url",
    [
        "replay.example.org",
        "ftp://replay.example.org",
        "http://replay.example.org",
        "http://10.0.0.7:8080",
        "https://user:secret@replay.example.org",
        "https://replay.example.org/?x=1",
        "http://[::1",
        "",
    ],
)
async def test_a_token_goes_to_no_such_address(url: str) -> None:
    with pytest.raises(InvalidAddress) as refused:
        ReplayVault(url, Token(new_service_token()))
    assert "secret" not in str(refused.value)


async def test_plain_http_may_be_allowed_by_name() -> None:
    assert repr(ReplayVault("http://10.0.0.7:8080/vault/", Token(new_service_token()), plain_http=True))
    assert repr(ReplayVault("https://replay.example.org", Token(new_service_token())))


async def test_tokens_of_another_kind_are_not_sent() -> None:
    session = Token("rvs_" + "x" * 43)
    with pytest.raises(InvalidToken, match="service token"):
        ReplayVault("https://replay.example.org", session)
    with pytest.raises(InvalidToken, match="session token"):
        PatientSession("https://replay.example.org", Token(new_service_token()))


async def test_a_list_that_is_stopped_is_told_at_once_and_by_id_all_goes_on(
    house: World, vault: ReplayVault, published: uuid.UUID
) -> None:
    opened = await vault.open_session("p-1")
    await open_breaker(house.settings, reason="a test", warn=pytest.fail)
    try:
        async with PatientSession(house.url, opened.token) as ann:
            with pytest.raises(ListingStopped) as stopped:
                _ = [each async for each in ann.recordings()]
            assert (await ann.recording(published)).id == published
    finally:
        await house.close_breaker()
    assert (stopped.value.status_code, stopped.value.retry_after_s) == (503, 60)
    assert "operator looks into a problem" in str(stopped.value)
    assert not isinstance(stopped.value, Busy)  # nobody tries again what a person has to end
