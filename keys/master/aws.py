"""The master key in AWS KMS: a symmetric key that never leaves it.

AWS writes the encryption context of each call into CloudTrail, so it names the tenant, the patient key and its
generation, and the patient by a digest alone: `binding` is BLAKE2b-256(person="replayvault-mcx1", data=our context), as
base64, which binds a wrap to all of them.

AWS numbers no versions. Ours is one more than the rotations that it lists; it is looked up before a half is wrapped, so
that a wrap never claims a version that it may not be under. Where an answer names the key material, that decides.

Invariants:
- every call has an answer within `LIMIT_S`, and is tried once: whoever asks again is a job or a client;
- errors are sentences of ours: no plaintext, ciphertext or credential is in them;
- credentials come from boto's own chain; nothing of them stands in a setting.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from keys import contexts
from keys.digest import blake2b
from keys.errors import (
    KeyMismatch,
    KeysError,
    Malformed,
    MasterUnavailable,
    MasterUnusable,
    NoSuchKey,
    NotRetirable,
)
from keys.master.protocol import MasterVersion, MasterWrap
from keys.secret import MasterHalf

if TYPE_CHECKING:
    from types_boto3_kms.client import KMSClient

PROVIDER: Final = "aws"
LIMIT_S: Final = 2.0
BATCH: Final = 50
_THREADS: Final = 8
_PURPOSE: Final = "replayvault patient key"

_STRANGE: Final = "AWS KMS answered with something else than was asked for"
_UNFINISHED: Final = "AWS KMS has begun to rotate the key, and is not done yet"
_ONLY_WHOLE: Final = (
    "AWS KMS takes no single version of a key out of use: move to another key, and disable this one there"
)
_UNAVAILABLE: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "AccessDeniedException",
            "UnrecognizedClientException",
            "InvalidSignatureException",
            "ExpiredTokenException",
            "InvalidClientTokenId",
        ),
        "AWS KMS refuses our credentials",
    ),
    **dict.fromkeys(
        ("DisabledException", "KMSInvalidStateException", "KeyUnavailableException"),
        "the key in AWS KMS is disabled or to be deleted",
    ),
    "LimitExceededException": "AWS KMS rotates this key no more times on demand: make another one, and move to it",
    "ConflictException": _UNFINISHED,
}
_REFUSED: Final[Mapping[str, tuple[type[KeysError], str]]] = {
    "NotFoundException": (NoSuchKey, "AWS KMS has no such key"),
    "IncorrectKeyException": (NoSuchKey, "the wrap names another key of AWS KMS"),
    "InvalidCiphertextException": (
        KeyMismatch,
        "the wrap is for another patient or generation, or damaged",
    ),
    "ValidationException": (Malformed, "AWS KMS does not take this wrap"),
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsKey:
    """Where the key is. `key` is an alias, `alias/NAME`, or a key id; `endpoint` another address than AWS's own."""

    key: str
    region: str
    endpoint: str | None = None


class AwsMaster:
    """A symmetric key of AWS KMS."""

    def __init__(self, place: KmsKey) -> None:
        """Connects when first used. Made once a process: boto reads its models and credentials here, for a second.

        Raises `MasterUnusable` where boto cannot read its configuration.
        """
        self._place = place
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="kms")
        self._client = _connected(place)
        self._resolved: str | None = None

    @property
    def provider(self) -> str:
        """Always `aws`."""
        return PROVIDER

    @property
    def key_name(self) -> str:
        """Region and key."""
        return f"{self._place.region}/{self._place.key}"

    @property
    def batch_limit(self) -> int:
        """`BATCH`: AWS takes one at a time, and some travel together."""
        return BATCH

    @property
    def can_retire(self) -> bool:
        """Never: AWS keeps all material of a key."""
        return False

    async def wrap(self, half: MasterHalf, *, context: bytes) -> MasterWrap:
        """Wrap under the current material."""
        version = await self.current_version()
        key, plain = await self._key(), half.reveal(to="AWS KMS")
        answer = await self._ask(
            lambda kms: kms.encrypt(KeyId=key, Plaintext=plain, EncryptionContext=encryption_context(context))
        )
        return MasterWrap(PROVIDER, self.key_name, version, _bytes(answer, "CiphertextBlob"))

    async def unwrap(self, wrapped: MasterWrap, *, context: bytes) -> MasterHalf:
        """Open a wrap of this key."""
        self._require_own(wrapped)
        key = await self._key()
        answer = await self._ask(
            lambda kms: kms.decrypt(
                KeyId=key,
                CiphertextBlob=wrapped.blob,
                EncryptionContext=encryption_context(context),
            )
        )
        try:
            return MasterHalf(_bytes(answer, "Plaintext"))
        except Malformed:
            raise MasterUnavailable(_STRANGE) from None

    async def rewrap(self, items: Sequence[tuple[MasterWrap, bytes]]) -> Sequence[MasterWrap | KeysError]:
        """Bring wraps under the current material inside AWS: one answer each."""
        numbers = await self._material()
        return await asyncio.gather(
            *(self._rewrapped(wrapped, numbers, context=context) for wrapped, context in items)
        )

    async def current_version(self) -> int:
        """One more than the rotations that are done."""
        return (await self.versions())[-1].number

    async def made_at(self) -> dt.datetime | None:
        """When the last rotation was; None before the first."""
        return (await self.versions())[-1].since

    async def rotate(self) -> int:
        """Let AWS make new material; raises `MasterUnavailable` until that is done, and may be asked again."""
        before = await self.current_version()
        key = await self._key()
        status = await self._ask(lambda kms: kms.get_key_rotation_status(KeyId=key))
        if "OnDemandRotationStartDate" not in status:
            await self._ask(lambda kms: kms.rotate_key_on_demand(KeyId=key))
        after = await self.current_version()
        if after == before:
            raise MasterUnavailable(_UNFINISHED)
        return after

    async def versions(self) -> Sequence[MasterVersion]:
        """One for each rotation, and the first."""
        made = [entry["RotationDate"] for entry in await self._rotations()]
        return [
            MasterVersion(number, is_retired=False, since=since)
            for number, since in enumerate((None, *made), start=1)
        ]

    async def retire(self, version: int) -> None:
        """Raises `NotRetirable`."""
        del version
        raise NotRetirable(_ONLY_WHOLE)

    async def restore(self, version: int) -> None:
        """Raises `NotRetirable`."""
        del version
        raise NotRetirable(_ONLY_WHOLE)

    async def trim(self, version: int) -> None:
        """Raises `NotRetirable`."""
        del version
        raise NotRetirable(_ONLY_WHOLE)

    async def health(self) -> None:
        """Returns when the key is enabled; raises `MasterUnavailable`."""
        if (await self._described()).get("KeyState") != "Enabled":
            raise MasterUnavailable(_UNAVAILABLE["DisabledException"])

    async def _described(self) -> dict[str, Any]:
        answer = await self._ask(lambda kms: kms.describe_key(KeyId=self._place.key))
        metadata: dict[str, Any] = answer.get("KeyMetadata", {})
        return metadata

    async def _key(self) -> str:
        """The key that the alias stood for when it was first used: what asks about rotations takes no alias."""
        if self._resolved is None:
            found = (await self._described()).get("KeyId")
            if not isinstance(found, str):
                raise MasterUnavailable(_STRANGE)
            self._resolved = found
        return self._resolved

    def _require_own(self, wrapped: MasterWrap) -> None:
        if (wrapped.provider, wrapped.key_name) != (PROVIDER, self.key_name):
            raise NoSuchKey("the wrap names another master key")

    async def _rewrapped(
        self, wrapped: MasterWrap, numbers: Mapping[str, int], *, context: bytes
    ) -> MasterWrap | KeysError:
        latest = max(numbers.values())
        try:
            self._require_own(wrapped)
            if wrapped.key_version == latest:
                return wrapped
            key, named = await self._key(), encryption_context(context)
            answer = await self._ask(
                lambda kms: kms.re_encrypt(
                    SourceKeyId=key,
                    DestinationKeyId=key,
                    CiphertextBlob=wrapped.blob,
                    SourceEncryptionContext=named,
                    DestinationEncryptionContext=named,
                )
            )
        except MasterUnavailable:
            raise  # of no one wrap, and over one day
        except KeysError as error:
            return error
        version = numbers.get(answer.get("DestinationKeyMaterialId", ""), latest)
        return MasterWrap(PROVIDER, self.key_name, version, _bytes(answer, "CiphertextBlob"))

    async def _material(self) -> dict[str, int]:
        """The number of each material that AWS names; the latest one's is always there."""
        rotations = await self._rotations()
        named = {entry.get("KeyMaterialId", ""): number for number, entry in enumerate(rotations, start=2)}
        return {"": len(rotations) + 1, **{each: number for each, number in named.items() if each}}

    async def _rotations(self) -> list[dict[str, Any]]:
        """Rotations that are done, the oldest first."""
        found: list[dict[str, Any]] = []
        more: dict[str, str] = {}
        while True:
            answer = await self._ask(functools.partial(_list_rotations, key=await self._key(), more=more))
            found += answer.get("Rotations", [])
            if not answer.get("Truncated") or not answer.get("NextMarker"):
                break
            more = {"Marker": answer["NextMarker"]}
        done = [entry for entry in found if isinstance(entry.get("RotationDate"), dt.datetime)]
        return sorted(done, key=lambda entry: entry["RotationDate"])

    async def _ask(self, work: Callable[[KMSClient], Any]) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LIMIT_S):
                answer = await loop.run_in_executor(self._threads, self._in_thread, work)
        except TimeoutError:
            raise MasterUnavailable("AWS KMS does not answer in time") from None
        if not isinstance(answer, dict):
            raise MasterUnavailable(_STRANGE)
        return answer

    def _in_thread(self, work: Callable[[KMSClient], T]) -> T:
        try:
            return work(self._client)
        except ClientError as error:
            raise _translated(str(error.response.get("Error", {}).get("Code"))) from None
        except (BotoCoreError, OSError) as error:
            # The name alone: a message of boto's may hold an address or a file's content.
            raise MasterUnavailable(f"AWS KMS cannot be asked ({type(error).__name__})") from None


def _connected(place: KmsKey) -> KMSClient:
    config = Config(
        connect_timeout=LIMIT_S,
        read_timeout=LIMIT_S,
        retries={"total_max_attempts": 1},
        max_pool_connections=_THREADS,
    )
    try:
        made: KMSClient = boto3.session.Session().client(
            "kms", region_name=place.region, endpoint_url=place.endpoint, config=config
        )
    except (BotoCoreError, OSError, ValueError) as error:
        raise MasterUnusable(
            f"AWS's configuration cannot be used ({type(error).__name__}): see ~/.aws and AWS_… in the environment"
        ) from None
    return made


def encryption_context(context: bytes) -> dict[str, str]:
    """What AWS binds a wrap to, and writes into CloudTrail."""
    digest = blake2b(context, person=contexts.PERSON_MASTER_CONTEXT, size_bytes=32)
    return {
        "purpose": _PURPOSE,
        "binding": base64.b64encode(digest).decode(),
        **contexts.named_patient_key(context),
    }


def _list_rotations(kms: KMSClient, *, key: str, more: dict[str, str]) -> Any:
    return kms.list_key_rotations(KeyId=key, Limit=1000, **more)  # type: ignore[arg-type]


def _translated(code: str) -> KeysError:
    if code in _REFUSED:
        kind, sentence = _REFUSED[code]
        return kind(sentence)
    return MasterUnavailable(_UNAVAILABLE.get(code, "AWS KMS does not do its work"))


def _bytes(answer: Mapping[str, Any], name: str) -> bytes:
    found = answer.get(name)
    if not isinstance(found, bytes) or not found:
        raise MasterUnavailable(_STRANGE)
    return found
