"""`replayvault inspect`: what anyone sees who gets hold of a stored object. Needs no key and has none.

Invariant: bytes are shown of sealed objects alone, so that this never prints somebody's plaintext file.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from keys.errors import MalformedId
from keys.ids import parse_recording_id
from vault.cli.examples import Exampled
from vault.cli.exits import Exit, sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.output import emit, json_option, pairs
from vault.objects.container import (
    CHUNK_BYTES,
    FORMAT_VERSION,
    HEADER_BYTES,
    Header,
    chunk_count,
    plain_size_bytes,
)
from vault.objects.errors import MalformedObject, ObjectMissing, ObjectsError
from vault.objects.location import make_store
from vault.objects.store import ObjectName, ObjectStore
from vault.settings import AllSettings

_SUITE: Final = "Cobblestone-256 (C2SP chunked-encryption)"
_MAX_DUMP_BYTES: Final = 4096
_DUMP_WIDTH: Final = 16
_OBJECT: Final = "2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21/6a0b5a0e-1f0c-4f5e-8d55-2f6f0a4c9b11"


@dataclass(frozen=True, slots=True)
class _Seen:
    """The beginning of one stored object."""

    where: str
    head: bytes
    size_bytes: int
    name: ObjectName | None


@click.command(
    cls=Exampled,
    examples=(
        "replayvault inspect 2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21",
        f"replayvault inspect {_OBJECT} --bytes 512",
        "replayvault inspect ./sealed-object --json",
    ),
)
@click.argument("thing", metavar="OBJECT|RECORDING")
@click.option(
    "--bytes",
    "dump_bytes",
    type=click.IntRange(0, _MAX_DUMP_BYTES),
    default=HEADER_BYTES + 4 * _DUMP_WIDTH,
    show_default=True,
    help="How many bytes to show.",
)
@json_option
@data_dir_option
def inspect(thing: str, dump_bytes: int, data_dir: Path | None, *, as_json: bool) -> None:
    """Show the header of a stored object, or of every object of a RECORDING, and that it is well-formed.

    OBJECT is RECORDING/FILE in the object store, or a file on this machine. Only whoever has the key can tell
    whether what is well-formed is also authentic.
    """
    with sentences():
        settings = operator_settings(data_dir=data_dir)
        seen = asyncio.run(_look(settings, thing, dump_bytes))
        documents = [_document(each, dump_bytes) for each in seen]
        emit(documents, as_json=as_json, people=lambda: _show(documents))
    sys.exit(int(Exit.OK if all(each["well_formed"] for each in documents) else Exit.FAILED))


async def _look(settings: AllSettings, thing: str, dump_bytes: int) -> list[_Seen]:
    size_bytes = max(dump_bytes, HEADER_BYTES)
    with contextlib.suppress(MalformedObject):
        name = ObjectName.parse(thing)
        async with _store(settings) as store:
            return [await _stored(store, name, size_bytes)]
    with contextlib.suppress(MalformedId):
        recording_id = parse_recording_id(thing)
        async with _store(settings) as store:
            names = [info.name async for info in store.list(recording_id)]
            found = [await _stored(store, name, size_bytes) for name in names]
        if not found:
            raise ObjectMissing("the object store holds nothing of this recording")
        return found
    return [await asyncio.to_thread(_local, Path(thing), size_bytes)]


@contextlib.asynccontextmanager
async def _store(settings: AllSettings) -> AsyncIterator[ObjectStore]:
    store = make_store(settings.objects)
    try:
        yield store
    finally:
        await store.aclose()


async def _stored(store: ObjectStore, name: ObjectName, size_bytes: int) -> _Seen:
    """The first bytes of an object; a small one has fewer than were asked for."""
    first = await store.read(name, first_byte=0, last_byte=HEADER_BYTES - 1)
    end = min(size_bytes, first.object_size_bytes)
    whole = await store.read(name, first_byte=0, last_byte=end - 1, pin=first.pin)
    return _Seen(str(name), bytes(whole.data), whole.object_size_bytes, name)


def _local(path: Path, size_bytes: int) -> _Seen:
    with path.open("rb") as file:
        head = file.read(size_bytes)
        return _Seen(str(path), head, file.seek(0, 2), None)


def _document(seen: _Seen, dump_bytes: int) -> dict[str, Any]:
    """What can be said of it."""
    try:
        header = Header.parse(seen.head[:HEADER_BYTES])
    except MalformedObject as error:
        says = f"{error}; its bytes are not shown"
        return {"object": seen.where, "well_formed": False, "fault": says, "stored_bytes": seen.size_bytes}
    fault = _fault(seen, header)
    size_bytes = None if fault else plain_size_bytes(seen.size_bytes)
    return {
        "object": seen.where,
        "well_formed": fault is None,
        "fault": fault,
        "format": FORMAT_VERSION,
        "suite": _SUITE,
        "recording": str(header.recording_id),
        "file": str(header.file_id),
        "key": str(header.key_id),
        "salt": header.salt.hex(),
        "commitment": header.commitment.hex(),
        "stored_bytes": seen.size_bytes,
        "plain_bytes": size_bytes,
        "chunk_bytes": CHUNK_BYTES,
        "chunks": None if size_bytes is None else chunk_count(size_bytes),
        "head": seen.head[:dump_bytes].hex(),
    }


def _fault(seen: _Seen, header: Header) -> str | None:
    if seen.name is not None and seen.name != ObjectName(header.recording_id, header.file_id):
        return "the header is of another object: this one was moved or replaced"
    try:
        plain_size_bytes(seen.size_bytes)
    except ObjectsError as error:
        return str(error)
    return None


def _show(documents: list[dict[str, Any]]) -> None:
    for document in documents:
        lines = {name: value for name, value in document.items() if name not in ("head", "well_formed")}
        verdict = "yes" if document["well_formed"] else "no"
        pairs(("well-formed", verdict), *((name.replace("_", " "), value) for name, value in lines.items()))
        click.echo()
        for line in _dump(bytes.fromhex(document.get("head", ""))):
            click.echo(line)
        click.echo()


def _dump(data: bytes) -> list[str]:
    lines = []
    for at in range(0, len(data), _DUMP_WIDTH):
        row = data[at : at + _DUMP_WIDTH]
        text = "".join(chr(each) if 0x20 <= each < 0x7F else "." for each in row)  # noqa: PLR2004 - ASCII
        lines.append(f"{at:08x}  {row.hex(' '):<{3 * _DUMP_WIDTH}} |{text}|")
    return lines
