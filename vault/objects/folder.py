"""Objects in a folder: `<root>/<recording id>/<file id>`, the default on one machine.

Invariants:
- an object appears by one hard link, after its bytes reached the disk: complete, or not at all; the link fails
  where a name exists, so nothing is overwritten;
- unfinished uploads stand in `.incoming`, which listing never shows; `sweep` empties it after a crash;
- below the root no symbolic link is followed; folders are 0700 and files 0600;
- every system call runs in this store's own threads: a disk that hangs takes no other room's threads with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import os
import secrets
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from keys.ids import RecordingId
from vault.objects.anchors import AnchorFolder, N, SmallName
from vault.objects.errors import (
    DamagedObject,
    MalformedObject,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    StoreRefused,
    StoreUnavailable,
)
from vault.objects.store import Fetched, ObjectInfo, ObjectName

_INCOMING: Final = ".incoming"
_THREADS: Final = 8
# Deleting the last object of a recording removes its folder; an upload that finishes right then makes it again.
_LINK_ATTEMPTS: Final = 16
# Non-blocking, so that a named pipe planted in the folder cannot hang the reader; regular files ignore it.
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

T = TypeVar("T")


class FolderStore:
    """The store in `root`, which is made if it is missing. `root` itself may be a symbolic link."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._root_seen = False
        self._anchors = AnchorFolder(root)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="objects-folder")

    async def create(self, name: ObjectName) -> _FolderUpload:
        """Begin an object; raises `ObjectExists` or `StoreUnavailable`."""
        upload = _FolderUpload(self, name)
        try:
            await self.run(upload.begin)
        except BaseException:
            await asyncio.shield(upload.abort())
            raise
        return upload

    async def read(
        self, name: ObjectName, *, first_byte: int, last_byte: int, pin: str | None = None
    ) -> Fetched:
        """Bytes `first_byte` to `last_byte`; raises as `ObjectStore.read` says."""
        if not 0 <= first_byte <= last_byte:
            raise ValueError("a range has a first byte and a last one, in this order")
        size_bytes = last_byte - first_byte + 1
        return await self.run(partial(self._read, name, at=first_byte, size_bytes=size_bytes, pin=pin))

    async def delete(self, names: Iterable[ObjectName]) -> None:
        """Remove objects; missing ones are no error."""
        for name in tuple(names):
            await self.run(partial(self.remove, name))

    async def purge(self, recording_id: RecordingId) -> None:
        """Remove whatever stands under a recording."""
        infos = await self.run(partial(self._infos, str(recording_id)))
        await self.delete([info.name for info in infos])

    async def list(self, recording_id: RecordingId | None = None) -> AsyncIterator[ObjectInfo]:
        """Complete objects in the order of their names."""
        folders = await self.run(partial(self._names, "")) if recording_id is None else (str(recording_id),)
        for folder in folders:
            for info in await self.run(partial(self._infos, folder)):
                yield info

    async def sweep(self, *, before: dt.datetime) -> int:
        """Remove unfinished uploads that were last written before `before`."""
        return await self.run(partial(self._sweep, before.timestamp()))

    async def put_anchor(self, name: SmallName, data: bytes) -> None:
        """Store a small text where nothing stands."""
        await self.run(partial(self._in_root, partial(self._anchors.put, name, data)))

    async def get_anchor(self, name: SmallName) -> bytes:
        """Such a text."""
        return await self.run(partial(self._anchors.get, name))

    async def list_anchors(self, kind: type[N]) -> AsyncIterator[N]:
        """Every anchor of a kind, in the order of names."""
        for name in await self.run(partial(self._in_root, partial(self._anchors.names, kind))):
            yield name

    async def probe(self) -> None:
        """Write, sync and remove an empty file; raises `StoreUnavailable`."""
        await self.run(self._probe)

    async def aclose(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False)

    async def run(self, work: Callable[[], T]) -> T:
        """`work` in one of this store's threads; operating system errors become ours."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, mapped(work))

    @contextlib.contextmanager
    def folder(self, name: str, *, create: bool = False) -> Iterator[int]:
        """A descriptor of the folder `name` below the root, or of the root for an empty name."""
        with _opened(self._open_root()) as root:
            if not name:
                yield root
                return
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=root)
                    os.fsync(root)
            with _opened(os.open(name, _FOLDER_FLAGS, dir_fd=root)) as folder:
                yield folder

    def _open_root(self) -> int:
        """Made when it is first needed; gone later means a disk that is not mounted, not objects that are missing."""
        try:
            if not self._root_seen:
                self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, FileExistsError):
            raise StoreUnavailable("the objects' folder is gone, or is not a folder") from None
        self._root_seen = True
        return root

    def remove(self, name: ObjectName) -> None:
        """Remove one object, and its recording's folder after the last one."""
        with contextlib.suppress(FileNotFoundError), self.folder("") as root:
            with self.folder(str(name.recording_id)) as folder:
                os.unlink(str(name.file_id), dir_fd=folder)
                os.fsync(folder)
            with contextlib.suppress(OSError):  # not empty
                os.rmdir(str(name.recording_id), dir_fd=root)

    def _read(self, name: ObjectName, *, at: int, size_bytes: int, pin: str | None) -> Fetched:
        with (
            self.folder(str(name.recording_id)) as folder,
            _opened(os.open(str(name.file_id), _READ_FLAGS, dir_fd=folder)) as file,
        ):
            facts = _regular(os.fstat(file))
            seen = f"{facts.st_ino:x}-{facts.st_mtime_ns:x}-{facts.st_size:x}"
            if pin is not None and seen != pin:
                raise ObjectChanged("the object was replaced while it was being read")
            if at + size_bytes > facts.st_size:
                raise DamagedObject("the object is truncated")
            data = _read_exactly(file, at=at, size_bytes=size_bytes)
        return Fetched(data=data, pin=seen, object_size_bytes=facts.st_size)

    def _in_root(self, work: Callable[[], T]) -> T:
        with self.folder(""):  # makes the root when it is first needed
            return work()

    def _names(self, folder_name: str) -> tuple[str, ...]:
        try:
            with self.folder(folder_name) as folder:
                return tuple(sorted(os.listdir(folder)))  # noqa: PTH208 - pathlib knows no descriptors
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def _infos(self, folder_name: str) -> tuple[ObjectInfo, ...]:
        infos = []
        for file_name in self._names(folder_name):
            with (
                contextlib.suppress(MalformedObject, FileNotFoundError),
                self.folder(folder_name) as folder,
            ):
                name = ObjectName.parse(f"{folder_name}/{file_name}")
                facts = os.stat(file_name, dir_fd=folder, follow_symlinks=False)
                modified_at = dt.datetime.fromtimestamp(facts.st_mtime, dt.UTC)
                infos.append(ObjectInfo(name=name, size_bytes=facts.st_size, modified_at=modified_at))
        return tuple(infos)

    def _sweep(self, before_s: float) -> int:
        swept = 0
        for name in self._names(_INCOMING):
            with contextlib.suppress(FileNotFoundError), self.folder(_INCOMING) as folder:
                if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < before_s:
                    os.unlink(name, dir_fd=folder)
                    swept += 1
        return swept

    def _probe(self) -> None:
        name = f"probe.{secrets.token_hex(8)}"
        with (
            self.folder(_INCOMING, create=True) as folder,
            _opened(os.open(name, _CREATE_FLAGS, 0o600, dir_fd=folder)) as file,
        ):
            os.unlink(name, dir_fd=folder)
            os.fsync(file)


class _FolderUpload:
    """One object on its way in. The lock makes `abort` wait for a write that its cancelled caller left running."""

    def __init__(self, store: FolderStore, name: ObjectName) -> None:
        self._store = store
        self._name = name
        self._temporary = f"{name.file_id}.{secrets.token_hex(8)}"
        self._lock = threading.Lock()
        self._file: int | None = None
        self._begun = self._linked = self._acknowledged = False

    def begin(self) -> None:
        """Open the temporary file; raises `ObjectExists` early where the name is taken."""
        with self._lock, self._store.folder(_INCOMING, create=True) as incoming:
            with (
                contextlib.suppress(FileNotFoundError),
                self._store.folder(str(self._name.recording_id)) as folder,
            ):
                os.stat(str(self._name.file_id), dir_fd=folder, follow_symlinks=False)
                raise FileExistsError
            self._file = os.open(self._temporary, _CREATE_FLAGS, 0o600, dir_fd=incoming)

    async def part(self, body: bytes | bytearray | memoryview, /) -> None:
        """Append `body`."""
        await self._store.run(partial(self._write, body))

    async def complete(self) -> None:
        """Sync the bytes, link the object to its name and sync the folder."""
        await self._store.run(self._publish)
        self._acknowledged = True

    async def abort(self) -> None:
        """Remove the temporary file, and the object if `complete` was cut off before it could return."""
        await self._store.run(self._discard)

    def _write(self, body: bytes | bytearray | memoryview) -> None:
        with self._lock:
            rest = memoryview(body)
            while rest:
                rest = rest[os.write(self._descriptor(), rest) :]

    def _publish(self) -> None:
        with self._lock, self._store.folder(_INCOMING) as incoming:
            os.fsync(self._descriptor())
            self._link(incoming)
            self._linked = True
            self._close()
            os.unlink(self._temporary, dir_fd=incoming)

    def _link(self, incoming: int) -> None:
        file_name = str(self._name.file_id)
        for _ in range(_LINK_ATTEMPTS):
            with (
                contextlib.suppress(FileNotFoundError),
                self._store.folder(str(self._name.recording_id), create=True) as folder,
            ):
                os.link(
                    self._temporary, file_name, src_dir_fd=incoming, dst_dir_fd=folder, follow_symlinks=False
                )
                os.fsync(folder)
                return
        raise StoreUnavailable("the upload was swept away before it was complete")

    def _discard(self) -> None:
        with self._lock:
            self._close()
            with contextlib.suppress(FileNotFoundError), self._store.folder(_INCOMING) as incoming:
                os.unlink(self._temporary, dir_fd=incoming)
            if self._linked and not self._acknowledged:
                self._store.remove(self._name)

    def _descriptor(self) -> int:
        if self._file is None:
            raise StoreUnavailable("the upload is over")
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def mapped(work: Callable[[], T]) -> Callable[[], T]:
    """`work` with the operating system's errors as ours; their messages would name paths."""

    def run() -> T:
        try:
            return work()
        except FileExistsError:
            raise ObjectExists("an object of that name stands already") from None
        except FileNotFoundError:
            raise ObjectMissing("no object of that name") from None
        except (PermissionError, NotADirectoryError) as error:
            raise StoreRefused(f"the folder refuses: {error.strerror}") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise StoreRefused("a symbolic link stands under the object's name") from None
            raise StoreUnavailable(f"the folder fails: {error.strerror}") from None

    return run


@contextlib.contextmanager
def _opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _regular(facts: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(facts.st_mode):
        raise StoreRefused("what stands under the object's name is not a file")
    return facts


def _read_exactly(file: int, *, at: int, size_bytes: int) -> bytearray:
    data = bytearray(size_bytes)
    rest = memoryview(data)
    while rest:
        count = os.preadv(file, (rest,), at)
        if count == 0:
            raise DamagedObject("the object is truncated")
        rest = rest[count:]
        at += count
    return data
