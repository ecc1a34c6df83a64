"""A8: the stream role as the process it is. It plays, holds nothing that opens more, and refuses to be given it."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from keys import payload
from keys.handover import load_worker_key
from keys.ids import PatientRef, TenantId
from keys.master.local import load_master_file
from keys.tier import load_tier_file
from tests.adversary.conftest import EMBEDDED_ALONE, Scene
from tests.adversary.press import PICTURE
from tests.adversary.replica import StreamServer, program, stream_environment

FORBIDDEN_MODULES = re.compile(
    r"keys\.(master|shares|strongroom|keyring|handover)(\..*)?|transcoder(\..*)?|hvac(\..*)?"
    r"|vault\.(work|ingest)(\..*)?|vault\.app\.(control|worker|everything)"
)
FORBIDDEN_SETTINGS = (
    "REPLAYVAULT_MASTER_KEY_FILE",
    "REPLAYVAULT_MASTER_PASSPHRASE_FILE",
    "REPLAYVAULT_SHARES_URL",
    "REPLAYVAULT_WORKER_KEY_FILE",
    "REPLAYVAULT_WORKER_PUBLIC_KEY_FILE",
    "VAULT_ADDR",
    "VAULT_TOKEN",
    "BAO_ADDR",
    "BAO_TOKEN",
)
FORBIDDEN_FILES = ("master.key", "shares.sqlite", "worker.key")


async def test_a8_it_plays_with_nothing_that_opens_more(scene: Scene) -> None:
    mine = await scene.press.publish(scene.clinic, "patient-a", title="Mine")
    theirs = await scene.press.publish(scene.clinic, "patient-b", sizes=PICTURE, title="Theirs")
    server = StreamServer(scene.world)
    try:
        await asyncio.to_thread(server.start)
        listed = await scene.a.send("GET", f"{server.url}/v1/recordings")
        assert [entry["title"] for entry in listed.json["recordings"]] == ["Mine"]
        played = await scene.a.send("GET", f"{server.url}{mine.url}/360p.mp4")
        assert (played.status, played.body) == (200, mine.plain("360p.mp4"))
        assert (await scene.a.send("GET", f"{server.url}{theirs.url}/poster.jpg")).status == 404
        minting = await scene.clinic.send("POST", f"{server.url}/v1/sessions", json={"patient": "patient-b"})
        assert minting.status in {404, 405}

        modules = server.modules()
        assert "vault.playback.opening" in modules
        assert [name for name in modules if FORBIDDEN_MODULES.fullmatch(name)] == []
        held = await asyncio.to_thread(environment_of, server.pid)
        assert held.keys() >= {"REPLAYVAULT_TIER_SECRET_FILE"}
        assert not held.keys() & set(FORBIDDEN_SETTINGS)
        memory = await asyncio.to_thread(memory_of, server.pid)
        await holds_no_key_of_another_role(scene, memory)
    finally:
        await asyncio.to_thread(server.close)


async def holds_no_key_of_another_role(scene: Scene, memory: bytes) -> None:
    settings = scene.world.settings
    (tier,) = await asyncio.to_thread(load_tier_file, settings.tier_file)
    assert tier.reveal(to="search") in memory  # the control: what it does hold is found
    master = await asyncio.to_thread(load_master_file, settings.master_file)
    worker = await asyncio.to_thread(load_worker_key, settings.worker_file)
    secrets = {
        "the master key": master.keys[1].reveal(to="search"),
        "the worker's key": worker.reveal(to="search"),
    }
    for patient in ("patient-a", "patient-b"):
        share = await scene.press.strongroom.shares.find(TenantId("clinic"), PatientRef(patient))
        assert share is not None
        secrets[f"the share of {patient}"] = share.reveal(to="search")
    opened = await scene.press.strongroom.open(TenantId("clinic"), PatientRef("patient-b"))
    secrets["the key of patient-b, who asked for nothing"] = opened.active.key.reveal(to="search")
    for what, secret in secrets.items():
        assert secret not in memory, what
        assert payload.to_text(secret).encode() not in memory, what


@EMBEDDED_ALONE
async def test_a8_it_refuses_to_start_with_what_it_must_not_have(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory, subtests: pytest.Subtests
) -> None:
    named: list[tuple[str, dict[str, str], str | None]] = [
        (name, {name: "/nowhere"}, None) for name in FORBIDDEN_SETTINGS
    ]
    lying: list[tuple[str, dict[str, str], str | None]] = [(name, {}, name) for name in FORBIDDEN_FILES]
    starts = [
        refused(scene, tmp_path_factory.mktemp("refused"), more=more, lying=lies)
        for _, more, lies in (*named, *lying)
    ]
    answers = await asyncio.gather(*starts)
    for (name, _, _), (code, said) in zip((*named, *lying), answers, strict=True):
        with subtests.test(name):
            assert code == 2, said
            assert name in said
            assert len(said.splitlines()) == 1
            assert "must not" in said


_two_at_once = asyncio.Semaphore(2)


async def refused(scene: Scene, folder: Path, *, more: dict[str, str], lying: str | None) -> tuple[int, str]:
    """Start it with this in its environment, or this file in its folder: the exit code, and what it said."""
    told = {"PATH": os.defpath, "HOME": str(folder)} | stream_environment(scene.world, folder) | more
    if lying is not None:
        (folder / "data").mkdir()
        (folder / "data" / lying).write_bytes(b"x")
    async with _two_at_once:
        process = await asyncio.create_subprocess_exec(
            *(program(), "serve", "--role", "stream", "--port", "0"),
            env=told,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(20):
                _, said = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return -1, "it started"
    assert process.returncode is not None
    return process.returncode, said.decode()


def environment_of(pid: int) -> dict[str, str]:
    """A process's environment, as the kernel has it."""
    words = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(word.split("=", 1) for word in words if word)


def memory_of(pid: int) -> bytes:
    """Everything that a process can write to: its heap, stacks and data."""
    pieces = []
    with (
        Path(f"/proc/{pid}/maps").open(encoding="ascii") as maps,
        Path(f"/proc/{pid}/mem").open("rb", 0) as memory,
    ):
        for line in maps:
            place, rights, *_ = line.split()
            first, last = (int(each, 16) for each in place.split("-"))
            if rights.startswith("rw"):
                memory.seek(first)
                pieces.append(memory.read(last - first))
    return b"".join(pieces)
