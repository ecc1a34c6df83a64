"""The keepers of the master key: what all of them promise, and what a real OpenBao does to be away."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hvac
import pytest
from aiohttp import web

from keys.errors import (
    KeyMismatch,
    Malformed,
    MasterUnavailable,
    MasterUnusable,
    NoSuchKey,
    NotRetirable,
)
from keys.keyfile import create_private_file
from keys.master.local import LOOK_S, LocalMaster, create_master_file, load_master_file
from keys.master.openbao import OpenBaoMaster, Transit
from keys.master.protocol import Master, MasterWrap
from keys.master.several import Masters
from keys.secret import MasterHalf
from tests.servers import BaoServer

ROOT = Path(__file__).parents[2]
HERE, THERE = b"patient one, generation one", b"patient two, generation one"


def transit(
    server: BaoServer, folder: Path, *, token: str | None = None, rotator: str | None = None
) -> Transit:
    """A transit key of its own, and files with tokens."""
    key = server.transit_key(f"key-{uuid.uuid4().hex[:8]}")
    files = {"control": token or server.root_token, "rotator": rotator}
    for name, text in files.items():
        if text is not None:
            (folder / name).unlink(missing_ok=True)
            create_private_file(folder / name, text.encode() + b"\n")
    rotator_file = None if rotator is None else folder / "rotator"
    return Transit(
        address=server.url,
        mount="transit",
        key=key,
        token_file=folder / "control",
        rotator_token_file=rotator_file,
    )


def _local(_bao: Any, folder: Path) -> Master:
    create_master_file(folder / "master.key")
    return load_master_file(folder / "master.key")


def _locked(_bao: Any, folder: Path) -> Master:
    create_master_file(folder / "master.key", passphrase="correct horse")
    return load_master_file(folder / "master.key", passphrase="correct horse")


def _openbao(server: BaoServer, folder: Path) -> Master:
    return OpenBaoMaster(transit(server, folder))


def _moving(server: BaoServer, folder: Path) -> Master:
    return Masters(_openbao(server, folder), (_local(server, folder),))


KEEPERS: dict[str, Callable[[BaoServer, Path], Master]] = {
    "local": _local,
    "local with a passphrase": _locked,
    "openbao": _openbao,
    "openbao after local": _moving,
}


@pytest.fixture(params=list(KEEPERS))
def master(request: pytest.FixtureRequest, bao: BaoServer, tmp_path: Path) -> Master:
    return KEEPERS[request.param](bao, tmp_path)


def raw(half: MasterHalf) -> bytes:
    return half.reveal(to="test")


async def test_what_was_wrapped_opens_in_its_context_alone(master: Master) -> None:
    half = MasterHalf.generate()
    wrap = await master.wrap(half, context=HERE)
    assert raw(await master.unwrap(wrap, context=HERE)) == raw(half)
    assert (wrap.provider, wrap.key_name, wrap.key_version) == (master.provider, master.key_name, 1)
    with pytest.raises(KeyMismatch):
        await master.unwrap(wrap, context=THERE)
    assert raw(half) not in wrap.blob
    await master.health()


async def test_a_new_version_wraps_and_the_old_one_opens(master: Master) -> None:
    half = MasterHalf.generate()
    old = await master.wrap(half, context=HERE)
    assert await master.current_version() == 1
    assert await master.rotate() == 2
    assert await master.current_version() == 2
    assert (await master.wrap(half, context=HERE)).key_version == 2
    assert raw(await master.unwrap(old, context=HERE)) == raw(half)


async def states(master: Master) -> list[tuple[int, bool]]:
    return [(each.number, each.is_retired) for each in await master.versions()]


async def test_a_retired_version_opens_nothing_until_it_is_back(master: Master) -> None:
    half = MasterHalf.generate()
    first = await master.wrap(half, context=HERE)
    with pytest.raises(NotRetirable):
        await master.retire(1)
    await master.rotate()
    second = await master.wrap(half, context=HERE)
    await master.rotate()
    for _ in range(2):
        await master.retire(2)
    assert await states(master) == [(1, True), (2, True), (3, False)]
    for old in (first, second):
        with pytest.raises(NoSuchKey):
            await master.unwrap(old, context=HERE)
    [refused] = await master.rewrap([(second, HERE)])
    assert isinstance(refused, NoSuchKey)
    await master.restore(2)
    assert await states(master) == [(1, True), (2, False), (3, False)]
    assert raw(await master.unwrap(second, context=HERE)) == raw(half)
    with pytest.raises(NoSuchKey):
        await master.unwrap(first, context=HERE)
    await master.restore(1)
    assert raw(await master.unwrap(first, context=HERE)) == raw(half)
    for unknown in (master.retire, master.restore):
        with pytest.raises(NoSuchKey):
            await unknown(9)


async def test_what_is_trimmed_never_comes_back(master: Master) -> None:
    half = MasterHalf.generate()
    old = await master.wrap(half, context=HERE)
    await master.rotate()
    with pytest.raises(NotRetirable):
        await master.trim(1)
    await master.retire(1)
    for _ in range(2):
        await master.trim(1)
    assert await states(master) == [(2, False)]
    with pytest.raises(NoSuchKey):
        await master.restore(1)
    with pytest.raises(NoSuchKey):
        await master.unwrap(old, context=HERE)
    assert await master.rotate() == 3
    assert raw(await master.unwrap(await master.wrap(half, context=HERE), context=HERE)) == raw(half)


async def test_another_process_learns_that_a_version_is_retired(tmp_path: Path) -> None:
    here = _local(None, tmp_path)
    there = load_master_file(tmp_path / "master.key")
    old = await here.wrap(MasterHalf.generate(), context=HERE)
    await there.rotate()
    await there.retire(1)
    assert isinstance(here, LocalMaster)
    here._look.at_s -= LOOK_S
    with pytest.raises(NoSuchKey):
        await here.unwrap(old, context=HERE)
    await there.trim(1)
    assert load_master_file(tmp_path / "master.key").keys.keys() == {2}
    assert await here.current_version() == 2
    assert here.keys.keys() == {2}


@pytest.mark.parametrize("marked", [{2}, {1, 2}, {3}], ids=["one in the middle", "the highest", "unknown"])
def test_a_file_whose_retired_versions_make_no_sense_is_refused(tmp_path: Path, marked: set[int]) -> None:
    create_master_file(tmp_path / "master.key")
    document = json.loads((tmp_path / "master.key").read_bytes())
    key = document["versions"][0]["key"]
    document["versions"] = [
        {
            "version": number,
            "key": key,
            **({"retired_at": "2026-03-01T00:00:00+00:00"} if number in marked else {}),
        }
        for number in (1, 2, *(marked & {3}))
    ]
    (tmp_path / "again.key").touch(mode=0o600)
    (tmp_path / "again.key").write_text(json.dumps(document), encoding="ascii")
    with pytest.raises(MasterUnusable, match="is not a Replay Vault key file"):
        load_master_file(tmp_path / "again.key")


async def test_whoever_retires_on_openbao_may_do_no_more(bao: BaoServer, tmp_path: Path) -> None:
    tokens = {
        name: bao.token_for(ROOT / "docker" / "openbao" / f"{name}.hcl", name=name)
        for name in ("control", "rotator", "retirer")
    }
    for name, token in tokens.items():
        create_private_file(tmp_path / name, token.encode())
    bao.transit_key()
    place = Transit(
        address=bao.url,
        mount="transit",
        key="replayvault",
        token_file=tmp_path / "control",
        rotator_token_file=tmp_path / "rotator",
    )
    allowed = OpenBaoMaster(dataclasses.replace(place, retirer_token_file=tmp_path / "retirer"))
    version = await allowed.rotate() - 1
    with pytest.raises(MasterUnavailable, match="refuses our token"):
        await OpenBaoMaster(place).retire(version)
    await allowed.retire(version)
    await allowed.restore(version)
    retirer = hvac.Client(url=bao.url, token=tokens["retirer"])
    for setting in (
        {"deletion_allowed": True},
        {"exportable": True},
        {"min_decryption_version": 1, "deletion_allowed": True},
    ):
        with pytest.raises(hvac.exceptions.Forbidden):
            retirer.write_data("transit/keys/replayvault/config", data=setting)
    for path in ("transit/decrypt/replayvault", "transit/keys/replayvault/rotate"):
        with pytest.raises(hvac.exceptions.Forbidden):
            retirer.write_data(path, data={})
    await allowed.retire(version)
    await allowed.trim(version)
    assert [each.number for each in await allowed.versions()] == [version + 1]


async def test_a_batch_has_an_answer_for_each(master: Master) -> None:
    half = MasterHalf.generate()
    old = await master.wrap(half, context=HERE)
    await master.rotate()
    new = await master.wrap(half, context=THERE)
    foreign = MasterWrap("elsewhere", "k", 1, b"x")
    items = [(old, HERE), (new, THERE), (old, THERE), (old, HERE)]
    moved, kept, refused, again = await master.rewrap(items)
    assert kept is new
    assert isinstance(refused, KeyMismatch)
    for each in (moved, again):
        assert isinstance(each, MasterWrap)
        assert each.key_version == 2
        assert raw(await master.unwrap(each, context=HERE)) == raw(half)
    assert await master.rewrap([]) == []
    with pytest.raises(NoSuchKey):
        await master.unwrap(foreign, context=HERE)


@pytest.mark.parametrize("blob", [b"", b"x", b"vault:v1:", b"vault:v1:AAAA", b"\xff" * 60], ids=repr)
async def test_what_is_no_wrap_is_refused(master: Master, blob: bytes) -> None:
    wrap = await master.wrap(MasterHalf.generate(), context=HERE)
    broken = MasterWrap(wrap.provider, wrap.key_name, wrap.key_version, blob)
    with pytest.raises((Malformed, KeyMismatch)):
        await master.unwrap(broken, context=HERE)


async def test_a_version_that_is_not_there(master: Master) -> None:
    wrap = await master.wrap(MasterHalf.generate(), context=HERE)
    blob = wrap.blob.replace(b"vault:v1:", b"vault:v7:")
    missing = MasterWrap(wrap.provider, wrap.key_name, 7, blob)
    with pytest.raises(NoSuchKey):
        await master.unwrap(missing, context=HERE)
    [refused] = await master.rewrap([(missing, HERE)])
    assert isinstance(refused, NoSuchKey)


async def test_a_row_that_names_another_version_or_key_is_not_taken_for_moved(
    bao: BaoServer, tmp_path: Path
) -> None:
    """Otherwise the census would count it where it is not."""
    master = _openbao(bao, tmp_path)
    old = await master.wrap(MasterHalf.generate(), context=HERE)
    version = await master.rotate()
    lying = MasterWrap(old.provider, old.key_name, version, old.blob)
    foreign = MasterWrap("local", old.key_name, version, old.blob)
    [first, second] = await master.rewrap([(lying, HERE), (foreign, HERE)])
    assert (type(first), type(second)) == (Malformed, NoSuchKey)


@pytest.mark.parametrize(
    "body", [b"", b"<html>a proxy's page</html>", b"[]", b'{"data": null}', b'{"data": {}}']
)
async def test_an_answer_that_is_none_is_no_answer(bao: BaoServer, tmp_path: Path, body: bytes) -> None:
    async def answers(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answers)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    place = dataclasses.replace(transit(bao, tmp_path), address=f"http://127.0.0.1:{runner.addresses[0][1]}")
    master = OpenBaoMaster(place)
    wrap = MasterWrap("openbao", master.key_name, 1, b"vault:v1:AAAA")
    for work in (
        master.wrap(MasterHalf.generate(), context=HERE),
        master.unwrap(wrap, context=HERE),
        master.rewrap([(wrap, HERE)]),
        master.current_version(),
    ):
        with pytest.raises((MasterUnavailable, NoSuchKey)):
            await work
    await runner.cleanup()


async def test_a_local_version_that_another_process_made_is_noticed(tmp_path: Path) -> None:
    create_master_file(tmp_path / "master.key")
    here, there = (load_master_file(tmp_path / "master.key") for _ in range(2))
    assert sorted(await asyncio.gather(here.rotate(), there.rotate())) in ([2, 3], [3, 3])
    assert sorted((await asyncio.to_thread(load_master_file, tmp_path / "master.key")).keys) == [1, 2, 3]
    assert await there.rotate() == 4
    wrap = await there.wrap(MasterHalf.generate(), context=HERE)
    await here.unwrap(wrap, context=HERE)
    assert (await here.wrap(MasterHalf.generate(), context=HERE)).key_version == 4


async def test_a_move_from_a_file_to_openbao(bao: BaoServer, tmp_path: Path) -> None:
    local, half = _local(bao, tmp_path), MasterHalf.generate()
    old = await local.wrap(half, context=HERE)
    both = Masters(_openbao(bao, tmp_path), (local,))
    assert raw(await both.unwrap(old, context=HERE)) == raw(half)
    [moved, refused] = await both.rewrap([(old, HERE), (old, THERE)])
    assert isinstance(moved, MasterWrap)
    assert isinstance(refused, KeyMismatch)
    assert moved.provider == "openbao"
    assert raw(await both.current.unwrap(moved, context=HERE)) == raw(half)


class TestPolicies:
    """The policies that we ship: control opens and cannot rotate, the rotator rotates and cannot open."""

    @pytest.fixture
    def tokens(self, bao: BaoServer) -> dict[str, str]:
        bao.transit_key()
        folder = ROOT / "docker" / "openbao"
        return {name: bao.token_for(folder / f"{name}.hcl", name=name) for name in ("control", "rotator")}

    @pytest.fixture
    async def masters(
        self, bao: BaoServer, tokens: dict[str, str], tmp_path: Path
    ) -> dict[str, OpenBaoMaster]:
        made = {}
        for name, token in {**tokens, "root": bao.root_token}.items():
            create_private_file(tmp_path / name, token.encode())
            made[name] = OpenBaoMaster(
                Transit(address=bao.url, mount="transit", key="replayvault", token_file=tmp_path / name)
            )
        return made

    async def test_each_does_its_part_alone(self, masters: dict[str, OpenBaoMaster]) -> None:
        half = MasterHalf.generate()
        wrap = await masters["control"].wrap(half, context=HERE)
        assert raw(await masters["control"].unwrap(wrap, context=HERE)) == raw(half)
        for work in (masters["control"].rotate(), masters["rotator"].unwrap(wrap, context=HERE)):
            with pytest.raises(MasterUnavailable, match="refuses our token"):
                await work
        version = await masters["rotator"].rotate()
        [moved] = await masters["rotator"].rewrap([(wrap, HERE)])
        assert isinstance(moved, MasterWrap)
        assert moved.key_version == version
        assert raw(await masters["control"].unwrap(moved, context=HERE)) == raw(half)

    async def test_one_process_with_both_tokens(
        self, bao: BaoServer, tokens: dict[str, str], tmp_path: Path
    ) -> None:
        for name, token in tokens.items():
            create_private_file(tmp_path / name, token.encode())
        both = OpenBaoMaster(
            Transit(
                address=bao.url,
                mount="transit",
                key="replayvault",
                token_file=tmp_path / "control",
                rotator_token_file=tmp_path / "rotator",
            )
        )
        wrap = await both.wrap(MasterHalf.generate(), context=HERE)
        await both.rotate()
        [moved] = await both.rewrap([(wrap, HERE)])
        assert isinstance(moved, MasterWrap)
        await both.unwrap(moved, context=HERE)


class TestAway:
    """Whatever OpenBao does, there is an answer in two seconds; and it works again by itself."""

    async def refused(self, master: Master) -> str:
        """How a wrap is refused, and that it does not take long."""
        begun = time.monotonic()
        with pytest.raises(MasterUnavailable) as refusal:
            await master.wrap(MasterHalf.generate(), context=HERE)
        assert time.monotonic() - begun < 3.5
        return str(refusal.value)

    async def test_hung_sealed_killed_and_back(self, tmp_path: Path) -> None:
        with BaoServer() as server:
            master = OpenBaoMaster(transit(server, tmp_path))
            wrap = await master.wrap(MasterHalf.generate(), context=HERE)
            server.pause()
            said = await asyncio.gather(*(self.refused(master) for _ in range(20)))
            assert set(said) == {"the keeper of the master key does not answer in time"}
            server.resume()
            await master.unwrap(wrap, context=HERE)
            await asyncio.to_thread(server.seal)
            assert "sealed" in await self.refused(master)
            await asyncio.to_thread(server.unseal)
            await master.unwrap(wrap, context=HERE)
            await asyncio.to_thread(server.kill)
            assert "cannot be reached" in await self.refused(master)
            await asyncio.to_thread(server.start)
            await master.unwrap(wrap, context=HERE)

    async def test_a_token_is_read_again_and_told_to_nobody(self, bao: BaoServer, tmp_path: Path) -> None:
        wrong = "s.wrong-token-wrong-token"
        master = OpenBaoMaster(transit(bao, tmp_path, token=wrong))
        assert await self.refused(master) == "the keeper of the master key refuses our token"
        assert wrong not in repr(master)
        (tmp_path / "control").rename(tmp_path / "gone")
        assert "no token" in await self.refused(master)
        create_private_file(tmp_path / "control", bao.root_token.encode())
        await master.wrap(MasterHalf.generate(), context=HERE)

    async def test_a_key_that_is_not_there_is_not_made(self, bao: BaoServer, tmp_path: Path) -> None:
        place = transit(bao, tmp_path)
        other = OpenBaoMaster(
            Transit(address=place.address, mount="transit", key="nobody-s", token_file=place.token_file)
        )
        for work in (other.wrap(MasterHalf.generate(), context=HERE), other.current_version()):
            with pytest.raises(NoSuchKey):
                await work
        assert "nobody-s" not in bao.root.secrets.transit.list_keys()["data"]["keys"]
