"""The shape of what is asked of AWS KMS, on moto's server, and what becomes of every answer.

moto is no judge of the rest: it opens wraps with a disabled key, and does not hold encryption contexts apart as AWS
does. What AWS refuses is told here by a server of our own, in AWS's words.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from aiohttp import web

from keys import contexts
from keys.errors import (
    KeyMismatch,
    KeysError,
    Malformed,
    MasterUnavailable,
    MasterUnusable,
    NoSuchKey,
    NotRetirable,
)
from keys.ids import Generation, new_key_id, parse_patient, parse_tenant
from keys.master.aws import AwsMaster, KmsKey, encryption_context
from keys.master.protocol import MasterWrap
from keys.secret import MasterHalf
from tests.servers import S3Server
from vault.app.master import parse_kms
from vault.settings import SettingsError

ROOT = Path(__file__).parents[2]
REGION = "eu-west-1"
KEY_ID = new_key_id()
CONTEXT = contexts.patient_key_context(
    tenant=parse_tenant("clinic"),
    patient=parse_patient("p-secret-17"),
    key_id=KEY_ID,
    generation=Generation(3),
)


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTTESTTESTTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")


@pytest.fixture
def place(s3_server: S3Server) -> KmsKey:
    """A key with an alias of its own."""
    client = boto3.client("kms", region_name=REGION, endpoint_url=s3_server.endpoint)
    made = client.create_key(KeyUsage="ENCRYPT_DECRYPT", KeySpec="SYMMETRIC_DEFAULT")["KeyMetadata"]["KeyId"]
    alias = f"alias/replayvault-{uuid.uuid4().hex[:8]}"
    client.create_alias(AliasName=alias, TargetKeyId=made)
    client.close()
    return KmsKey(key=alias, region=REGION, endpoint=s3_server.endpoint)


def listened(master: AwsMaster) -> list[tuple[str, dict[str, Any]]]:
    """What the keeper asks from now on, as boto sends it."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def heard(params: dict[str, Any], model: Any, **_: Any) -> None:
        asked.append((model.name, json.loads(params["body"])))

    master._client.meta.events.register("before-call.kms", heard)
    return asked


async def test_the_whole_way(place: KmsKey) -> None:
    master = AwsMaster(place)
    asked = listened(master)
    half = MasterHalf.generate()
    await master.health()
    old = await master.wrap(half, context=CONTEXT)
    assert (old.provider, old.key_name, old.key_version) == ("aws", f"{REGION}/{place.key}", 1)
    assert half.reveal(to="test") not in old.blob
    assert await master.rotate() == 2
    assert [each.number for each in await master.versions()] == [1, 2]
    new = await master.wrap(half, context=CONTEXT)
    foreign = MasterWrap("aws", "elsewhere/alias/x", 1, old.blob)
    moved, kept, refused = await master.rewrap([(old, CONTEXT), (new, CONTEXT), (foreign, CONTEXT)])
    assert isinstance(moved, MasterWrap)
    assert (moved.key_version, kept is new, type(refused)) == (2, True, NoSuchKey)
    for each in (old, new, moved):
        opened = await master.unwrap(each, context=CONTEXT)
        assert opened.reveal(to="test") == half.reveal(to="test")
    named = encryption_context(CONTEXT)
    assert {name: body["EncryptionContext"] for name, body in asked if "EncryptionContext" in body} == {
        "Encrypt": named,
        "Decrypt": named,
    }
    [again] = [body for name, body in asked if name == "ReEncrypt"]
    assert again["SourceEncryptionContext"] == again["DestinationEncryptionContext"] == named
    assert again["SourceKeyId"] == again["DestinationKeyId"]
    # AWS takes an alias in none of these.
    by_id = [body["KeyId"] for name, body in asked if name != "DescribeKey" and "KeyId" in body]
    assert not [each for each in by_id if each.startswith("alias/")]


def test_the_context_names_no_patient_and_binds_to_all_of_it() -> None:
    named = encryption_context(CONTEXT)
    assert named.keys() == {"purpose", "binding", "tenant", "key", "generation"}
    assert (named["tenant"], named["key"], named["generation"]) == ("clinic", str(KEY_ID), "3")
    assert "p-secret-17" not in json.dumps(named)
    other = encryption_context(CONTEXT.replace(b"p-secret-17", b"p-secret-18"))
    assert {name for name in named if named[name] != other[name]} == {"binding"}
    assert encryption_context(b"health").keys() == {"purpose", "binding"}
    for policy in ("control", "rotator"):
        statements = json.loads((ROOT / "docker" / "aws" / f"{policy}.json").read_bytes())["Statement"]
        condition = statements[0]["Condition"]["StringEquals"]
        assert condition == {"kms:EncryptionContext:purpose": named["purpose"]}


async def test_no_version_is_retired(place: KmsKey) -> None:
    master = AwsMaster(place)
    assert not master.can_retire
    for verb in (master.retire, master.restore, master.trim):
        with pytest.raises(NotRetirable):
            await verb(1)


class Aws:
    """AWS, saying what a test has it say."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        self.asked: list[str] = []
        self.hangs = False
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        verb = request.headers["X-Amz-Target"].rpartition(".")[2]
        self.asked.append(verb)
        if self.hangs:
            await asyncio.sleep(5)
        status, body = self.answers.get(verb, (200, {}))
        return web.json_response(body, status=status, content_type="application/x-amz-json-1.1")


@pytest.fixture
async def aws() -> AsyncIterator[Aws]:
    made = Aws()
    made.answers["DescribeKey"] = (200, {"KeyMetadata": {"KeyId": "k-1", "KeyState": "Enabled"}})
    app = web.Application()
    app.router.add_post("/", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def master_of(aws: Aws) -> AwsMaster:
    return AwsMaster(KmsKey(key="alias/replayvault", region=REGION, endpoint=aws.url))


WRAP = MasterWrap("aws", f"{REGION}/alias/replayvault", 1, b"wrapped")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDeniedException", MasterUnavailable),
        ("ExpiredTokenException", MasterUnavailable),
        ("DisabledException", MasterUnavailable),
        ("KMSInvalidStateException", MasterUnavailable),
        ("ThrottlingException", MasterUnavailable),
        ("KMSInternalException", MasterUnavailable),
        ("NotFoundException", NoSuchKey),
        ("IncorrectKeyException", NoSuchKey),
        ("InvalidCiphertextException", KeyMismatch),
        ("ValidationException", Malformed),
    ],
)
async def test_each_refusal_is_told_once_and_in_our_words(aws: Aws, code: str, kind: type[KeysError]) -> None:
    aws.answers["Decrypt"] = (400, {"__type": code, "message": "arn:aws:kms:secret-detail"})
    with pytest.raises(kind) as caught:
        await master_of(aws).unwrap(WRAP, context=CONTEXT)
    assert "secret-detail" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert aws.asked.count("Decrypt") == 1


async def test_it_waits_no_longer_than_two_seconds(aws: Aws) -> None:
    aws.hangs, master, begun = True, master_of(aws), time.monotonic()
    with pytest.raises(MasterUnavailable, match=r"in time|cannot be asked"):
        await master.health()
    assert time.monotonic() - begun < 2.7
    aws.hangs = False
    with pytest.raises(MasterUnavailable, match="cannot be asked"):
        await AwsMaster(KmsKey(key="k", region=REGION, endpoint="http://127.0.0.1:9")).health()


async def test_a_key_that_is_not_enabled_is_not_well(aws: Aws) -> None:
    await master_of(aws).health()
    aws.answers["DescribeKey"] = (200, {"KeyMetadata": {"KeyId": "k-1", "KeyState": "PendingDeletion"}})
    with pytest.raises(MasterUnavailable, match="to be deleted"):
        await master_of(aws).health()


def test_a_configuration_that_boto_cannot_use_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(MasterUnusable, match=r"AWS_… in the environment$"):
        AwsMaster(KmsKey(key="k", region=REGION))


async def test_a_strange_answer_is_no_half(aws: Aws) -> None:
    for answer in ({}, {"Plaintext": "AAAA"}):
        aws.answers["Decrypt"] = (200, answer)
        with pytest.raises(MasterUnavailable, match="something else"):
            await master_of(aws).unwrap(WRAP, context=CONTEXT)


async def test_a_rotation_takes_its_time_and_is_begun_once(aws: Aws) -> None:
    master = master_of(aws)
    aws.answers["ListKeyRotations"] = (200, {"Rotations": [], "Truncated": False})
    with pytest.raises(MasterUnavailable, match="not done yet"):
        await master.rotate()
    aws.answers["GetKeyRotationStatus"] = (200, {"OnDemandRotationStartDate": 1_760_000_000})
    with pytest.raises(MasterUnavailable, match="not done yet"):
        await master.rotate()
    assert aws.asked.count("RotateKeyOnDemand") == 1
    done = {"KeyMaterialId": "b" * 64, "RotationDate": 1_760_000_100, "RotationType": "ON_DEMAND"}
    aws.answers["ListKeyRotations"] = (200, {"Rotations": [done], "Truncated": False})
    assert await master.current_version() == 2


async def test_the_material_that_aws_names_decides_the_version(aws: Aws) -> None:
    made = [
        {"KeyMaterialId": letter * 64, "RotationDate": 1_760_000_000 + at, "RotationType": "ON_DEMAND"}
        for at, letter in enumerate("bc")
    ]
    aws.answers["ListKeyRotations"] = (200, {"Rotations": made[::-1], "Truncated": False})
    for letter, version in (("b", 2), ("c", 3), ("d", 3)):
        answer = {"CiphertextBlob": "bmV3", "DestinationKeyMaterialId": letter * 64}
        aws.answers["ReEncrypt"] = (200, answer)
        [moved] = await master_of(aws).rewrap([(WRAP, CONTEXT)])
        assert moved == MasterWrap("aws", WRAP.key_name, version, b"new")
    aws.answers["ReEncrypt"] = (400, {"__type": "InvalidCiphertextException"})
    [refused] = await master_of(aws).rewrap([(WRAP, CONTEXT)])
    assert isinstance(refused, KeyMismatch)
    aws.answers["ReEncrypt"] = (400, {"__type": "ThrottlingException"})
    with pytest.raises(MasterUnavailable):
        await master_of(aws).rewrap([(WRAP, CONTEXT)])


def test_addresses() -> None:
    assert parse_kms("aws:///alias/replayvault?region=eu-west-1") == KmsKey(
        key="alias/replayvault", region="eu-west-1"
    )
    assert parse_kms(f"aws:///key/{KEY_ID}?region=us-gov-east-1").key == str(KEY_ID)
    for endpoint in ("https://vpce.example", "http://127.0.0.1:4566"):
        url = f"aws:///alias/a?region=eu-west-1&endpoint={endpoint}"
        assert parse_kms(url).endpoint == endpoint
    for wrong in (
        "aws:///alias/a",
        "aws:///alias/a?region=here",
        "aws:///a?region=eu-west-1",
        "aws://host/alias/a?region=eu-west-1",
        "aws://AKIA:secret@host/alias/a?region=eu-west-1",
        "aws:///alias/a?region=eu-west-1&token=x",
        "aws:///alias/a?region=eu-west-1&endpoint=http://kms.example",
        "aws:///alias/a?region=eu-west-1&endpoint=https://user:word@kms.example",
        "aws:///alias/a?region=eu-west-1&endpoint=https://kms.example:x",
    ):
        with pytest.raises(SettingsError):
            parse_kms(wrong)
