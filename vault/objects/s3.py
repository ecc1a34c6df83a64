"""Objects in a bucket of any S3-compatible service: boto3 decides (s3_bucket), aiohttp carries (s3_carrier).

Invariants:
- a small object is one conditional PUT, a larger one a multipart upload: visible when complete, never overwritten;
- several parts travel at once, boundedly many, each retried with the same ciphertext;
- an answer that got lost is not a failure: an object is known again by its header, whose salt only one upload has;
- boto3 runs in this store's own threads: a service that hangs takes no other room's threads with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from keys.ids import RecordingId
from vault.objects.anchors import N, SmallName
from vault.objects.container import HEADER_BYTES
from vault.objects.errors import (
    DamagedObject,
    ObjectExists,
    ObjectMissing,
    ObjectsError,
    StoreRefused,
    TooLarge,
)
from vault.objects.location import S3Location
from vault.objects.s3_bucket import URL_LIFETIME_S, Bucket
from vault.objects.s3_carrier import Carrier
from vault.objects.s3_replies import UploadGone
from vault.objects.store import Fetched, ObjectInfo, ObjectName

_THREADS: Final = 8
# With the part that is being filled, four parts or 34 MB for each upload; enough to hide a round trip of 100 ms.
_PARTS_IN_FLIGHT: Final = 3
# S3's limit on parts of one object, which allows 84 GB here.
_MAX_PARTS: Final = 10_000
# A URL signs no range: one serves all ranges of its object. Used for half of its life at most.
_SIGNED_URLS: Final = 1024
_URL_USE_S: Final = URL_LIFETIME_S / 2

T = TypeVar("T")
Body = bytes | bytearray | memoryview


class S3Store:
    """The store in a bucket. Credentials come from the environment or boto's own chain."""

    def __init__(self, location: S3Location) -> None:
        self._location = location
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="objects-s3")
        self._opening = asyncio.Lock()
        self._opened: tuple[Bucket, Carrier] | None = None
        self._urls: OrderedDict[ObjectName, tuple[str, float]] = OrderedDict()

    async def create(self, name: ObjectName) -> _S3Upload:
        """Begin an object; raises `ObjectExists` where no later request could notice, or `StoreUnavailable`."""
        bucket, carrier = await self.open()
        if bucket.needs_look_before_upload and await self.run(partial(bucket.exists, name)):
            raise ObjectExists("an object of that name stands already")
        return _S3Upload(self, name, bucket=bucket, carrier=carrier)

    async def read(
        self, name: ObjectName, *, first_byte: int, last_byte: int, pin: str | None = None
    ) -> Fetched:
        """Bytes `first_byte` to `last_byte`; raises as `ObjectStore.read` says."""
        if not 0 <= first_byte <= last_byte:
            raise ValueError("a range has a first byte and a last one, in this order")
        _, carrier = await self.open()
        url, is_fresh = await self._readable(name)
        try:
            return await carrier.get(url, first_byte=first_byte, last_byte=last_byte, pin=pin)
        except StoreRefused:
            # A kept URL ends early with the temporary credentials that signed it.
            self._urls.pop(name, None)
            if is_fresh:
                raise
        return await self.read(name, first_byte=first_byte, last_byte=last_byte, pin=pin)

    async def delete(self, names: Iterable[ObjectName]) -> None:
        """Remove objects with all their versions; missing ones are no error."""
        bucket, _ = await self.open()
        await asyncio.gather(*(self.run(partial(bucket.delete, name)) for name in names))

    async def purge(self, recording_id: RecordingId) -> None:
        """Remove whatever stands under a recording."""
        bucket, _ = await self.open()
        await self.run(partial(bucket.purge, recording_id))

    async def list(self, recording_id: RecordingId | None = None) -> AsyncIterator[ObjectInfo]:
        """Complete objects in the order of their names."""
        bucket, _ = await self.open()
        following: str | None = None
        while True:
            page = await self.run(partial(bucket.page, recording_id, following=following))
            for info in page.infos:
                yield info
            following = page.following
            if following is None:
                return

    async def sweep(self, *, before: dt.datetime) -> int:
        """Discard multipart uploads begun before `before`."""
        bucket, _ = await self.open()
        return await self.run(partial(bucket.sweep, before=before))

    async def put_anchor(self, name: SmallName, data: bytes) -> None:
        """Store a small text where nothing stands."""
        bucket, _ = await self.open()
        await self.run(partial(bucket.put_anchor, name, data))

    async def get_anchor(self, name: SmallName) -> bytes:
        """Such a text."""
        bucket, _ = await self.open()
        return await self.run(partial(bucket.get_anchor, name))

    async def list_anchors(self, kind: type[N]) -> AsyncIterator[N]:
        """Every anchor of a kind, in the order of names."""
        bucket, _ = await self.open()
        following: str | None = None
        while True:
            names, following = await self.run(partial(bucket.anchor_page, kind, following=following))
            for name in names:
                yield name
            if following is None:
                return

    async def probe(self) -> None:
        """Ask for the bucket; raises `StoreUnavailable`."""
        bucket, _ = await self.open()
        await self.run(bucket.probe)

    async def aclose(self) -> None:
        """Close connections and let the threads end."""
        if self._opened is not None:
            bucket, carrier = self._opened
            self._opened = None
            await carrier.aclose()
            await self.run(bucket.close)
        self._threads.shutdown(wait=False)

    async def open(self) -> tuple[Bucket, Carrier]:
        """Bucket and carrier, made when they are first needed: boto3 reads its models from disk."""
        async with self._opening:
            if self._opened is None:
                bucket = await self.run(partial(Bucket, self._location, connections=_THREADS))
                self._opened = (bucket, Carrier())
            return self._opened

    async def run(self, work: Callable[[], T]) -> T:
        """`work` in one of this store's threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _readable(self, name: ObjectName) -> tuple[str, bool]:
        """A signed URL of the object, and whether it was signed just now."""
        now_s = asyncio.get_running_loop().time()
        url, until_s = self._urls.get(name, ("", 0.0))
        is_fresh = now_s >= until_s
        if is_fresh:
            bucket, _ = await self.open()
            # In a thread: signing may have to fetch credentials.
            url = await self.run(partial(bucket.sign_get, name))
            self._urls[name] = (url, now_s + _URL_USE_S)
        self._urls.move_to_end(name)
        while len(self._urls) > _SIGNED_URLS:
            self._urls.popitem(last=False)
        return url, is_fresh


class _S3Upload:
    """One object on its way in. The first part waits, to become a single PUT if no second one comes."""

    def __init__(self, store: S3Store, name: ObjectName, *, bucket: Bucket, carrier: Carrier) -> None:
        self._store = store
        self._name = name
        self._bucket = bucket
        self._carrier = carrier
        self._first: Body | None = None
        self._head = b""
        self._size_bytes = 0
        self._multipart: asyncio.Future[str] | None = None
        self._parts: list[asyncio.Task[str]] = []
        self._slots = asyncio.Semaphore(_PARTS_IN_FLIGHT)
        self._publishing: asyncio.Future[None] | None = None
        self._acknowledged = False

    async def part(self, body: Body, /) -> None:
        """Send `body` on its way, as soon as there is room."""
        self._size_bytes += len(body)
        if self._multipart is None and self._first is None:
            self._first, self._head = body, bytes(body[:HEADER_BYTES])
            return
        upload_id = await self._begin()
        if self._first is not None:
            first, self._first = self._first, None
            await self._send(first, upload_id=upload_id)
        await self._send(body, upload_id=upload_id)

    async def complete(self) -> None:
        """Store what is left and make the object visible; raises `ObjectExists` or `StoreUnavailable`."""
        # A future of its own: whatever happens to the caller, `abort` can learn how it ended.
        self._publishing = asyncio.ensure_future(self._publish())
        try:
            await asyncio.shield(self._publishing)
        except (ObjectExists, UploadGone):
            if not await self._is_ours():
                raise
        self._acknowledged = True

    async def abort(self) -> None:
        """Stop what is under way, discard the parts, and the object if its completion was cut off."""
        if self._acknowledged:
            return
        await self._stop()
        if self._multipart is not None:
            with contextlib.suppress(ObjectsError):
                upload_id = await self._multipart
                await self._store.run(partial(self._bucket.abort, self._name, upload_id=upload_id))
        if self._publishing is not None and await self._is_ours():
            await self._store.delete((self._name,))
        self._acknowledged = True

    async def _stop(self) -> None:
        for task in self._parts:
            task.cancel()
        if self._publishing is not None and self._multipart is None:
            self._publishing.cancel()
        publishing = () if self._publishing is None else (self._publishing,)
        await asyncio.gather(*self._parts, *publishing, return_exceptions=True)

    async def _begin(self) -> str:
        if self._multipart is None:
            self._multipart = asyncio.ensure_future(self._store.run(partial(self._bucket.begin, self._name)))
        # Shielded: a cancelled caller must not lose the id of an upload that exists.
        return await asyncio.shield(self._multipart)

    async def _send(self, body: Body, *, upload_id: str) -> None:
        if len(self._parts) == _MAX_PARTS:
            raise TooLarge("an object has at most 10000 parts")
        await self._slots.acquire()
        for part in self._parts:
            if part.done():
                part.result()
        task = asyncio.create_task(self._carry(body, upload_id=upload_id, number=len(self._parts) + 1))
        task.add_done_callback(lambda _: self._slots.release())
        self._parts.append(task)

    async def _carry(self, body: Body, *, upload_id: str, number: int) -> str:
        signed = await self._store.run(
            partial(self._bucket.sign_part, self._name, body, upload_id=upload_id, number=number)
        )
        return await self._carrier.put(signed.url, body, headers=signed.headers)

    async def _publish(self) -> None:
        if self._multipart is None:
            body = self._first or b""
            signed = await self._store.run(partial(self._bucket.sign_put, self._name, body))
            await self._carrier.put(signed.url, body, headers=signed.headers)
            return
        upload_id = await self._multipart
        etags = tuple(await asyncio.gather(*self._parts))
        await self._store.run(partial(self._bucket.complete, self._name, upload_id=upload_id, etags=etags))

    async def _is_ours(self) -> bool:
        """Whether the object that stands under the name is this upload's: same size, same header, hence same salt."""
        if not self._head:
            return False
        try:
            stored = await self._store.read(self._name, first_byte=0, last_byte=len(self._head) - 1)
        except (ObjectMissing, DamagedObject):
            return False
        return stored.object_size_bytes == self._size_bytes and bytes(stored.data) == self._head
