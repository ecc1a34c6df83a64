"""Files that are no recordings but instructions: none may make ffmpeg ask anybody else, or read a file.

The canary is a real server that counts. Each file is tried as a worker would meet it, and again without the jail, so
that the allow-lists are seen to hold alone.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from transcoder import command
from transcoder.binaries import Tools
from transcoder.errors import SourceError
from transcoder.profiles import Strictness
from transcoder.sandbox import Sandbox
from transcoder.workshop import examine

from .gateway import Gateway

Hostile = Callable[[str, str], str]

FILES: dict[str, Hostile] = {
    "hls": lambda canary, _: f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{canary}/1.ts\n#EXT-X-ENDLIST\n",
    "hls-file": lambda _, secret: (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    ),
    "hls-key": lambda canary, secret: (
        f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=AES-128,URI="{canary}/key"\n'
        f"#EXTINF:1,\nconcat:{canary}/a|file://{secret}\n#EXT-X-ENDLIST\n"
    ),
    "hls-master": lambda canary, _: f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{canary}/v.m3u8\n",
    "dash": lambda canary, _: (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S" profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1" codecs="avc1.4d401f" '
        f'width="1" height="1"><BaseURL>{canary}/v.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>'
    ),
    "concat": lambda canary, secret: f"ffconcat version 1.0\nfile '{canary}/a.mp4'\nfile '{secret}'\n",
    "subfile": lambda _, secret: f"ffconcat version 1.0\nfile 'subfile,,start,0,end,9,,:{secret}'\n",
    "sdp": lambda _, __: (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    ),
    "svg": lambda canary, secret: (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<image xlink:href="{canary}/x.png"/><image xlink:href="file://{secret}"/></svg>'
    ),
    "asx": lambda canary, _: f'<asx version="3.0"><entry><ref href="{canary}/x"/></entry></asx>',
    "webm-dash": lambda canary, _: f"RTSPtext\r\nLocation: {canary}/x\r\n",
    "imf": lambda canary, _: (
        '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
        f"<Id>{canary}</Id></CompositionPlaylist>"
    ),
}


@pytest.fixture
async def canary() -> AsyncIterator[tuple[str, list[str]]]:
    """A server that nobody should visit: its base URL, and every path that was asked for."""
    hits: list[str] = []

    async def record(request: web.Request) -> web.Response:
        hits.append(request.path)
        return web.Response(text="canary")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", record)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", hits
    await runner.cleanup()


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret.txt"
    path.write_text("the words of another patient\n" * 20)
    return str(path)


@pytest.mark.parametrize("name", FILES)
async def test_hostile_files_fail_with_a_reason_and_reach_nobody(
    name: str, tools: Tools, canary: tuple[str, list[str]], secret: str
) -> None:
    url, hits = canary
    async with Gateway.serving(FILES[name](url, secret).encode()) as gateway:
        with pytest.raises(SourceError):
            await examine(gateway.source_url, tools=tools, sandbox=Sandbox())
    assert hits == []


@pytest.mark.parametrize("name", FILES)
async def test_the_allow_lists_hold_without_the_jail(
    name: str, tools: Tools, canary: tuple[str, list[str]], secret: str
) -> None:
    url, hits = canary
    async with Gateway.serving(FILES[name](url, secret).encode()) as gateway:
        for argv in (
            command.probe(tools, gateway.source_url),
            command.measure(tools, gateway.source_url, stream_index=0, strictness=Strictness.SALVAGE),
        ):
            code, said = await unjailed(argv)
            assert code != 0
            assert b"another patient" not in said
    assert hits == []


async def test_the_canary_sings_when_the_format_list_is_gone(
    tools: Tools, canary: tuple[str, list[str]]
) -> None:
    """The proof that these tests can fail: the same file, the same command without one option."""
    url, hits = canary
    async with Gateway.serving(FILES["hls"](url, "").encode()) as gateway:
        argv = command.probe(tools, gateway.source_url)
        at = argv.index("-format_whitelist")
        loose = [*argv[:at], *argv[at + 2 : -2], "-f", "hls"]
        if tools.version.startswith("n"):  # newer builds are pickier, which is no reason to rely on it
            loose += ["-extension_picky", "0"]
        await unjailed([*loose, *argv[-2:]])
    assert hits != []


async def unjailed(argv: list[str]) -> tuple[int, bytes]:
    process = await asyncio.create_subprocess_exec(
        *argv, env={}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    stdout, _ = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode or 0, stdout
