"""The master key in OpenBao or HashiCorp Vault: a derived key of the transit engine, which never leaves it.

The derivation context is `BLAKE2b-256(person="replayvault-mcx1", data=our context)`: a wrap opens for the patient and
generation it was made for, and `rewrap` keeps it so without anybody seeing what is inside. (Associated data would be
lost to `rewrap`, which takes none.)

Invariants:
- every call has an answer within `LIMIT_S`, whatever the server does; a server that hangs holds a bounded number of
  threads, and each of them no longer than that;
- errors are sentences of ours: no token, plaintext or ciphertext is in them;
- the token stands in a private file, which is read again when it changes; it follows no redirect.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import datetime as dt
import enum
import functools
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import hvac
import requests
from hvac import exceptions

from keys import contexts
from keys.digest import blake2b
from keys.errors import (
    KeyMismatch,
    KeysError,
    Malformed,
    MasterRefused,
    MasterUnavailable,
    MasterUnusable,
    NoSuchKey,
    NotRetirable,
)
from keys.keyfile import read_private_file
from keys.master.protocol import CURRENT_STAYS, RETIRE_FIRST, MasterVersion, MasterWrap
from keys.secret import MasterHalf

PROVIDER: Final = "openbao"
LIMIT_S: Final = 1.5
# The default limits on a JSON body let 249 ciphertexts with their contexts through in one call.
BATCH: Final = 249
_THREADS: Final = 8
_CIPHERTEXT: Final = re.compile(r"vault:v(\d{1,9}):[A-Za-z0-9+/=]+", re.ASCII)

_STRANGE: Final = "the keeper of the master key answered with something else than was asked for"
_DENIED: Final = "the keeper of the master key refuses our token"
_SENTENCES: Final[Mapping[type[Exception], str]] = {
    exceptions.Forbidden: _DENIED,
    exceptions.Unauthorized: _DENIED,
    exceptions.VaultDown: "the keeper of the master key is sealed",
    requests.Timeout: "the keeper of the master key does not answer in time",
    requests.RequestException: "the keeper of the master key cannot be reached",
    OSError: "the keeper of the master key cannot be reached: is REPLAYVAULT_MASTER_CA_FILE readable?",
    exceptions.VaultError: "the keeper of the master key does not do its work",
}
# What the server says of one ciphertext, in the words of its releases since 2023.
_REFUSALS: Final = (
    (
        "message authentication failed",
        KeyMismatch,
        "the wrap is for another patient or generation, or damaged",
    ),
    ("encryption key not found", NoSuchKey, "the keeper has no such master key"),
    ("version is too new", NoSuchKey, "the keeper has no such version of the master key"),
    ("disallowed by policy", NoSuchKey, "the keeper has retired this version of the master key"),
)


class Door(enum.Enum):
    """Which token a call shows."""

    CONTROL = "control"  # wraps and unwraps
    ROTATOR = "rotator"  # makes versions and rewraps
    RETIRER = "retirer"  # takes versions out of use, and destroys them


@dataclass(frozen=True, slots=True, kw_only=True)
class Transit:
    """Where a transit key is, and what opens the door.

    `rotator_token_file` is for what may not decrypt, `retirer_token_file` for what takes versions out of use.
    """

    address: str
    mount: str
    key: str
    token_file: Path
    rotator_token_file: Path | None = None
    retirer_token_file: Path | None = None
    ca_file: Path | None = None


class OpenBaoMaster:
    """A transit key."""

    def __init__(self, transit: Transit) -> None:
        """Connects when first used."""
        self._transit = transit
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="openbao")
        self._own = threading.local()

    @property
    def provider(self) -> str:
        """Always `openbao`; HashiCorp Vault answers to it as well."""
        return PROVIDER

    @property
    def key_name(self) -> str:
        """Mount and key."""
        return f"{self._transit.mount}/{self._transit.key}"

    @property
    def key(self) -> str:
        """The key's name below the mount."""
        return self._transit.key

    @property
    def doors(self) -> frozenset[Door]:
        """Those that have a token of their own."""
        transit = self._transit
        files = {Door.ROTATOR: transit.rotator_token_file, Door.RETIRER: transit.retirer_token_file}
        return frozenset({Door.CONTROL, *(door for door, file in files.items() if file is not None)})

    @property
    def batch_limit(self) -> int:
        """`BATCH`."""
        return BATCH

    @property
    def can_retire(self) -> bool:
        """Always, if its token may."""
        return True

    async def wrap(self, half: MasterHalf, *, context: bytes) -> MasterWrap:
        """Wrap under the latest version."""
        plain = base64.b64encode(half.reveal(to="transit engine")).decode()
        data = await self._ask("encrypt", {"plaintext": plain, "context": _derived(context)})
        return self._made(data)

    async def unwrap(self, wrapped: MasterWrap, *, context: bytes, door: Door = Door.CONTROL) -> MasterHalf:
        """Open a wrap of this key; by another door only to see that its token may not."""
        question = {"ciphertext": self._ciphertext(wrapped), "context": _derived(context)}
        data = await self._ask("decrypt", question, door=door)
        try:
            return MasterHalf(base64.b64decode(data["plaintext"], validate=True))
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise MasterUnavailable(_STRANGE) from None

    async def rewrap(self, items: Sequence[tuple[MasterWrap, bytes]]) -> Sequence[MasterWrap | KeysError]:
        """Bring wraps under the latest version inside the server: one answer each."""
        latest = await self.current_version()
        answers: list[MasterWrap | KeysError | None] = [self._settled(wrap, latest) for wrap, _ in items]
        due = [at for at, answer in enumerate(answers) if answer is None]
        batch = [
            {"ciphertext": self._ciphertext(items[at][0]), "context": _derived(items[at][1])} for at in due
        ]
        question = {"batch_input": batch}
        answer = await self._ask("rewrap", question, door=Door.ROTATOR) if batch else {"batch_results": []}
        results = answer.get("batch_results")
        if not isinstance(results, list) or len(results) != len(due):
            raise MasterUnavailable(_STRANGE)
        moved = dict(zip(due, map(self._rewrapped, results), strict=True))
        return [moved[at] if answer is None else answer for at, answer in enumerate(answers)]

    async def current_version(self) -> int:
        """The latest."""
        return _whole((await self.facts()).get("latest_version"))

    async def made_at(self) -> dt.datetime | None:
        """When the latest version was made."""
        facts = await self.facts()
        versions = facts.get("keys")
        return _made_at(versions, _whole(facts.get("latest_version"))) if isinstance(versions, dict) else None

    async def facts(self) -> dict[str, Any]:
        """What the server says of the key; raises `NoSuchKey`."""
        data = await self.read(f"keys/{self._transit.key}", door=Door.ROTATOR)
        if data is None:
            raise NoSuchKey("the keeper has no such master key")
        return data

    async def read(self, path: str, *, door: Door) -> dict[str, Any] | None:
        """What stands at a path below the mount, None for nothing; raises `MasterUnavailable` or `NoSuchKey`."""
        data = await self._call(lambda client: client.read(self.path(path)), door=door)
        return None if data is None else _data(data)

    async def capabilities(self, paths: Sequence[str], *, door: Door) -> dict[str, Any]:
        """What a token may do at these paths; raises `MasterRefused` where it may not even ask."""
        question = {"paths": list(paths)}
        return await self._write("sys/capabilities-self", question, door=door)

    async def offer(self, setting: str, *, door: Door) -> None:
        """Offer a setting of the key what it cannot take; raises `MasterRefused` where the token may not set it."""
        with contextlib.suppress(Malformed, NoSuchKey, KeyMismatch):
            await self._change("config", {setting: "nothing that it can be"}, door=door)

    async def rotate(self) -> int:
        """Make a new version."""
        await self._change("rotate", {}, door=Door.ROTATOR)
        return await self.current_version()

    async def versions(self) -> Sequence[MasterVersion]:
        """Those that are not trimmed; when one was retired the server does not say."""
        key = await self.facts()
        oldest, latest = _whole(key.get("min_available_version", 0)), _whole(key.get("latest_version"))
        usable = _whole(key.get("min_decryption_version"))
        made = key.get("keys")
        if not isinstance(made, dict):
            raise MasterUnavailable(_STRANGE)
        return [
            MasterVersion(number, number < usable, None if number < usable else _made_at(made, number))
            for number in range(max(oldest, 1), latest + 1)
        ]

    async def retire(self, version: int) -> None:
        """Raise the least version that may decrypt and encrypt above this one."""
        found = await self.versions()
        if version == found[-1].number:
            raise NotRetirable(CURRENT_STAYS)
        if any(each.number == version and not each.is_retired for each in found):
            await self._allow_from(version + 1)
        elif version not in {each.number for each in found}:
            raise NoSuchKey(f"the keeper has no version {version} of the master key")

    async def restore(self, version: int) -> None:
        """Lower the least version to this one."""
        state = {each.number: each.is_retired for each in await self.versions()}
        if version not in state:
            raise NoSuchKey(
                f"the keeper has no version {version}, or no more: what was trimmed does not come back"
            )
        if state[version]:
            await self._allow_from(version)

    async def trim(self, version: int) -> None:
        """Let the server destroy what it has archived."""
        going = [each for each in await self.versions() if each.number <= version]
        if not all(each.is_retired for each in going):
            raise NotRetirable(RETIRE_FIRST)
        if going:
            await self._change("trim", {"min_available_version": version + 1}, door=Door.RETIRER)

    async def health(self) -> None:
        """Returns when a call gets through; raises `MasterUnavailable`."""
        await self.unwrap(await self.wrap(MasterHalf.generate(), context=b"health"), context=b"health")

    async def _allow_from(self, version: int) -> None:
        # Both at once: the server trims nothing that either of them still allows.
        least = {"min_decryption_version": version, "min_encryption_version": version}
        await self._change("config", least, door=Door.RETIRER)

    async def _change(self, verb: str, body: dict[str, Any], *, door: Door) -> None:
        path = f"{self._path('keys')}/{verb}"
        await self._call(lambda client: client.write_data(path, data=body), door=door)

    def _settled(self, wrap: MasterWrap, latest: int) -> MasterWrap | KeysError | None:
        """A wrap that is not to be sent: it is no wrap of this key, or under the latest version already."""
        try:
            self._ciphertext(wrap)
        except KeysError as error:
            return error
        return wrap if wrap.key_version == latest else None

    def _ciphertext(self, wrapped: MasterWrap) -> str:
        """The server's own text; raises `NoSuchKey` or `Malformed`, also where the row names another version."""
        if (wrapped.provider, wrapped.key_name) != (PROVIDER, self.key_name):
            raise NoSuchKey("the wrap names another master key")
        found = _CIPHERTEXT.fullmatch(wrapped.blob.decode("ascii", errors="replace"))
        if found is None or int(found[1]) != wrapped.key_version:
            raise Malformed("a wrap of the transit engine begins with vault:v and its version")
        return found[0]

    def _rewrapped(self, answer: Any) -> MasterWrap | KeysError:
        if not isinstance(answer, dict) or answer.get("error") or "ciphertext" not in answer:
            return _refused(str(answer.get("error", "")) if isinstance(answer, dict) else "")
        try:
            return self._made(answer)
        except KeysError as error:
            return error

    def _made(self, data: Mapping[str, Any]) -> MasterWrap:
        found = _CIPHERTEXT.fullmatch(str(data.get("ciphertext")))
        if found is None:
            raise MasterUnavailable(_STRANGE)
        return MasterWrap(PROVIDER, self.key_name, int(found[1]), found[0].encode())

    def path(self, below: str) -> str:
        """A path below the mount."""
        return f"{self._transit.mount}/{below}"

    def _path(self, verb: str) -> str:
        return self.path(f"{verb}/{self._transit.key}")

    async def _ask(self, verb: str, question: dict[str, Any], *, door: Door = Door.CONTROL) -> dict[str, Any]:
        return await self._write(self._path(verb), question, door=door)

    async def _write(self, path: str, question: dict[str, Any], *, door: Door) -> dict[str, Any]:
        return _data(await self._call(lambda client: client.write_data(path, data=question), door=door))

    async def _call(self, work: Callable[[hvac.Client], Any], *, door: Door) -> Any:
        loop = asyncio.get_running_loop()
        call = functools.partial(self._in_thread, work, door=door)
        try:
            async with asyncio.timeout(LIMIT_S):
                return await loop.run_in_executor(self._threads, call)
        except TimeoutError:
            raise MasterUnavailable("the keeper of the master key does not answer in time") from None

    def _in_thread(self, work: Callable[[hvac.Client], Any], *, door: Door) -> Any:
        try:
            return work(self._client(door=door))
        except exceptions.InvalidRequest as error:
            raise _refused(" ".join(error.errors or ())) from None
        except exceptions.InvalidPath:
            raise NoSuchKey("the keeper has no such transit engine or key") from None
        except (exceptions.VaultError, OSError) as error:  # what requests raises is an OSError, too
            sentence = next(says for kind, says in _SENTENCES.items() if isinstance(error, kind))
            raise (MasterRefused if sentence == _DENIED else MasterUnavailable)(sentence) from None

    def _token_file(self, door: Door) -> Path:
        """The token for what is asked for, and where there is none of its own, one that may do more."""
        transit = self._transit
        rotator = transit.rotator_token_file or transit.token_file
        if door is Door.RETIRER:
            return transit.retirer_token_file or rotator
        return rotator if door is Door.ROTATOR else transit.token_file

    def _client(self, *, door: Door) -> hvac.Client:
        file = self._token_file(door)
        try:
            token = read_private_file(file).decode("ascii").strip()
        except (MasterUnusable, UnicodeDecodeError):
            raise MasterUnavailable(
                f"{file} holds no token that can be read, or others may read it"
            ) from None
        client: hvac.Client | None = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = _connected(self._transit)
        client.token = token
        return client


def _whole(found: object) -> int:
    if type(found) is not int:
        raise MasterUnavailable(_STRANGE)
    return found


def _made_at(made: Mapping[str, Any], number: int) -> dt.datetime | None:
    at = made.get(str(number))
    return dt.datetime.fromtimestamp(at, tz=dt.UTC) if type(at) is int else None


def _connected(transit: Transit) -> hvac.Client:
    session = requests.Session()
    session.trust_env = False  # no proxy, and no credentials of the account that runs us
    session.verify = str(transit.ca_file) if transit.ca_file else True
    return hvac.Client(
        url=transit.address,
        verify=session.verify,
        session=session,
        timeout=LIMIT_S,
        allow_redirects=False,
    )


def _refused(words: str) -> KeysError:
    for part, kind, sentence in _REFUSALS:
        if part in words:
            return kind(sentence)
    return Malformed("the keeper of the master key does not take this wrap")


def _derived(context: bytes) -> str:
    digest = blake2b(context, person=contexts.PERSON_MASTER_CONTEXT, size_bytes=32)
    return base64.b64encode(digest).decode()


def _data(answer: Any) -> dict[str, Any]:
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise MasterUnavailable(_STRANGE)  # a redirect, or the page of a proxy
    return data
