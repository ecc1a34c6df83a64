"""The loopback server between one run of ffmpeg and sealed objects: plaintext passes through memory alone.

`GET /i/<secret>` opens ranges of the sealed source; `PUT /o/<secret>/<name>` seals a body as it arrives.

Invariants:
- it listens on 127.0.0.1, on a port of its own, for one run; both paths hold a random secret;
- it gives one source and takes the names of the plan, each up to its ceiling; playlists are read and dropped, since
  ours are made from the manifest;
- a body counts as finished only when it ended with its terminator and, for a track, parsed to its last byte;
- a read, key or authentication failure on our side is counted, because ffmpeg would call it the end of the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Final, Self

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from keys.errors import KeysError
from transcoder.errors import TrackDamaged
from transcoder.fmp4 import TrackIndexer
from transcoder.profiles import Output, OutputKind, Plan
from transcoder.track import TrackIndex
from transcoder.verdict import Put
from vault.objects.container import FileFacts
from vault.objects.errors import ObjectsError, TooLarge
from vault.objects.sealed import SealedReader, SealedWriter
from vault.playback.ranges import Partial, Unsatisfiable, parse_range

WINDOW_BYTES: Final = 1024 * 1024
DRAIN_TIMEOUT_S: Final = 30.0
_HOST: Final = "127.0.0.1"
_SETTLE_S: Final = 0.1

# Makes a writer whose draft is announced: role and ceiling in bytes.
WriterFor = Callable[[str, int], Awaitable[SealedWriter]]

_silent: Final = logging.getLogger("replayvault.gateway.silent")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class Gateway:
    """One run's listener: `async with Gateway.listening(…) as gateway`."""

    def __init__(self, source: SealedReader, writer_for: WriterFor) -> None:
        self._source = source
        self._writer_for = writer_for
        self._secret = secrets.token_urlsafe(24)
        self._plan: Plan | None = None
        self._port = 0
        self._takers: set[asyncio.Task[web.Response]] = set()
        self.files: dict[str, FileFacts] = {}
        self.puts: dict[str, Put] = {}
        self.tracks: dict[str, TrackIndex] = {}
        self.source_errors = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def listening(cls, source: SealedReader, writer_for: WriterFor) -> AsyncIterator[Self]:
        """Listen for the length of the block; what is unfinished at its end is aborted."""
        gateway = cls(source, writer_for)
        server = web.Server(
            gateway._handle, request_factory=_patient_request, access_log=None, logger=_silent
        )
        runner = web.ServerRunner(server, shutdown_timeout=1.0)
        # Ours from its first moment: a start or an end that is cut off, even twice, leaves no socket that listens.
        with socket.create_server((_HOST, 0)) as listener:
            gateway._port = listener.getsockname()[1]
            await runner.setup()
            try:
                await web.SockSite(runner, listener).start()
                yield gateway
            finally:
                await runner.cleanup()

    @property
    def source_url(self) -> str:
        """Where ffmpeg reads."""
        return f"http://{_HOST}:{self._port}/i/{self._secret}"

    @property
    def output_url(self) -> str:
        """The folder that ffmpeg writes to, without a slash at its end."""
        return f"http://{_HOST}:{self._port}/o/{self._secret}"

    def expect(self, plan: Plan) -> None:
        """Accept the outputs of `plan` from now on; before that nothing is accepted."""
        self._plan = plan

    async def drained(self) -> None:
        """Wait until the last body is in: ffmpeg may exit before we have read it, or even accepted it."""
        await asyncio.sleep(_SETTLE_S)
        if self._takers:
            await asyncio.wait(self._takers, timeout=DRAIN_TIMEOUT_S)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        folder, _, rest = request.path.removeprefix("/").partition("/")
        secret, _, name = rest.partition("/")
        if not secrets.compare_digest(secret.encode(), self._secret.encode()):
            return web.Response(status=404)
        if (request.method, folder, name) == ("GET", "i", ""):
            return await self._give(request)
        output = None if self._plan is None else self._plan.output_for(name)
        if (request.method, folder) == ("PUT", "o") and output is not None:
            return await self._counted(self._take(request, name, output))
        return web.Response(status=403)

    async def _counted(self, taking: Coroutine[None, None, web.Response]) -> web.Response:
        task = asyncio.ensure_future(taking)
        self._takers.add(task)
        task.add_done_callback(self._takers.discard)
        return await task

    async def _give(self, request: web.BaseRequest) -> web.StreamResponse:
        size = self._source.size_bytes
        selected = parse_range(request.headers.get("Range"), size_bytes=size)
        if isinstance(selected, Unsatisfiable):
            return web.Response(
                status=416, headers={"Content-Range": selected.content_range(size_bytes=size)}
            )
        part = selected if isinstance(selected, Partial) else None
        response = web.StreamResponse(status=200 if part is None else 206, headers={"Accept-Ranges": "bytes"})
        first, last = (0, size - 1) if part is None else (part.first, part.last)
        response.content_length = last - first + 1
        if part is not None:
            response.headers["Content-Range"] = part.content_range(size_bytes=size)
        await response.prepare(request)
        await self._send(request, response, first, last)
        return response

    async def _send(
        self, request: web.BaseRequest, response: web.StreamResponse, first: int, last: int
    ) -> None:
        windows = self._source.iter(first_byte=first, last_byte=last, window_bytes=WINDOW_BYTES)
        try:
            async for window in windows:
                await response.write(window)
        except (KeysError, ObjectsError):
            self.source_errors += 1
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # ffmpeg seeks by hanging up

    async def _take(self, request: web.BaseRequest, name: str, output: Output) -> web.Response:
        body = _Body(request.content.iter_any(), output)
        self.puts[name] = Put(size_bytes=0, finished=False)
        try:
            if output.kind is OutputKind.PLAYLIST:
                async for _ in body:
                    pass
            else:
                await self._seal(name, output, body)
        except (TooLarge, TrackDamaged):
            return web.Response(status=400)
        except ConnectionError:
            return web.Response(status=400)  # ffmpeg is gone, and its body has no end
        except (KeysError, ObjectsError):
            return web.Response(status=500)  # ffmpeg does not care; the missing end of this body will
        self.puts[name] = Put(size_bytes=body.size_bytes, finished=True)
        return web.Response(status=201)

    async def _seal(self, name: str, output: Output, body: _Body) -> None:
        indexer = TrackIndexer() if output.kind is OutputKind.TRACK else None
        async with await self._writer_for(name, output.max_size_bytes) as writer:
            async for piece in body:
                if indexer is not None:
                    indexer.feed(piece)
                await writer.write(piece)
            if indexer is not None:
                self.tracks[name] = indexer.finish()
            self.files[name] = await writer.finish()


class _PatientRequest(web.BaseRequest):
    """A request whose body, once it has arrived whole, stays readable after the sender has hung up.

    ffmpeg ends each body properly and exits without waiting for an answer; aiohttp would then drop what the handler
    has not read yet, and a slow object store would turn a good run into an incomplete one.
    """

    def _cancel(self, exc: BaseException) -> None:
        if not self.content.is_eof():
            super()._cancel(exc)


def _patient_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    return _PatientRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())


class _Body:
    """Pieces of a request body, counted and bounded."""

    def __init__(self, pieces: AsyncIterator[bytes], output: Output) -> None:
        self._pieces = pieces
        self._output = output
        self.size_bytes = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            self.size_bytes += len(piece)
            if self.size_bytes > self._output.max_size_bytes:
                raise TooLarge("a body is longer than its ceiling")
            yield piece
