"""The S3 store against a real service, directly and through a proxy that fails on request."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import socket
import traceback
from collections.abc import Iterator

import boto3
import pytest

from keys.ids import new_file_id, new_recording_id
from tests.objects import faulty
from tests.objects.faulty import Fault, FaultyProxy, is_complete, is_get, is_part, is_put
from tests.objects.sealing import ROLE, C, new_access, noise
from tests.servers import S3Bucket
from vault.objects import s3_carrier
from vault.objects.container import HEADER_BYTES, PART_CHUNKS, SEALED_CHUNK_BYTES
from vault.objects.errors import (
    DamagedObject,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    ObjectsError,
    StoreRefused,
    StoreUnavailable,
)
from vault.objects.location import make_store
from vault.objects.s3_replies import UploadGone, failure, object_size
from vault.objects.sealed import SealedReader, SealedWriter
from vault.objects.store import ObjectName, ObjectStore

PART = PART_CHUNKS * C
LIMIT = 1 << 30
PAST = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
FUTURE = dt.datetime(2999, 1, 1, tzinfo=dt.UTC)


def a_name() -> ObjectName:
    return ObjectName(new_recording_id(), new_file_id())


async def put(store: ObjectStore, name: ObjectName, body: bytes = b"body") -> None:
    upload = await store.create(name)
    await upload.part(body)
    await upload.complete()


class Judge:
    """What really stands in the bucket, seen past our own code."""

    def __init__(self, bucket: S3Bucket) -> None:
        self.bucket = bucket.name
        self.client = boto3.client("s3", endpoint_url=bucket.endpoint)

    def keys(self) -> list[str]:
        return [entry["Key"] for entry in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", ())]

    def unfinished(self) -> int:
        return len(self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ()))

    def versions(self) -> int:
        answer = self.client.list_object_versions(Bucket=self.bucket)
        return len(answer.get("Versions", ())) + len(answer.get("DeleteMarkers", ()))


@pytest.fixture
def judge(bucket: S3Bucket) -> Iterator[Judge]:
    judge = Judge(bucket)
    yield judge
    judge.client.close()


class TestUploads:
    """Small objects, large ones, and the same name twice."""

    async def test_a_small_object_is_one_request(
        self, proxied_store: ObjectStore, proxy: FaultyProxy
    ) -> None:
        await put(proxied_store, a_name())
        assert [seen.method for seen in proxy.seen] == ["PUT"]

    async def test_parts_are_whole_chunks_and_the_header_travels_in_the_first(
        self, proxied_store: ObjectStore, proxy: FaultyProxy
    ) -> None:
        async with SealedWriter(proxied_store, access=new_access(), role=ROLE, limit_bytes=LIMIT) as writer:
            await writer.write(noise(2 * PART + 10))
            await writer.finish()
        parts = {seen.query["partNumber"]: len(seen.body) for seen in proxy.matching(is_part)}
        whole = PART_CHUNKS * SEALED_CHUNK_BYTES
        assert whole == 8_396_800
        assert parts == {"1": HEADER_BYTES + whole, "2": whole, "3": 10 + 16}

    async def test_several_parts_travel_at_once_and_boundedly_many(
        self, proxied_store: ObjectStore, proxy: FaultyProxy
    ) -> None:
        go = asyncio.Event()
        proxy.fail(is_part, faulty.held(go), times=3)
        upload = await proxied_store.create(a_name())
        for _ in range(3):
            await upload.part(bytes(5 << 20))
        fourth = asyncio.ensure_future(upload.part(bytes(5 << 20)))
        await proxy.reached(is_part, times=3)
        await asyncio.sleep(0.05)
        assert len(proxy.matching(is_part)) == 3
        assert not fourth.done()
        go.set()
        await fourth
        await upload.complete()
        assert proxy.most_puts_under_way == 3

    async def test_every_body_carries_its_digest(
        self, proxied_store: ObjectStore, proxy: FaultyProxy
    ) -> None:
        await put(proxied_store, a_name())
        async with SealedWriter(proxied_store, access=new_access(), role=ROLE, limit_bytes=LIMIT) as writer:
            await writer.write(noise(PART + 1))
            await writer.finish()
        bodies = proxy.matching(lambda seen: seen.method == "PUT")
        assert len(bodies) == 3
        for seen in bodies:
            digest = base64.b64encode(hashlib.md5(seen.body, usedforsecurity=False).digest()).decode()
            assert seen.headers["content-md5"] == digest
            assert "content-md5" in seen.query["X-Amz-SignedHeaders"]

    @pytest.mark.parametrize("parts", [1, 2])
    async def test_an_existing_object_is_never_overwritten(self, s3_store: ObjectStore, parts: int) -> None:
        name, body = a_name(), noise(6 << 20, seed=1)
        uploads = [await s3_store.create(name) for _ in range(2)]
        for seed, upload in enumerate(uploads):
            for part in range(parts):
                await upload.part(noise(6 << 20, seed=1 + seed + 2 * part))
        await uploads[0].complete()
        with pytest.raises(ObjectExists):
            await uploads[1].complete()
        await uploads[1].abort()
        stored = await s3_store.read(name, first_byte=0, last_byte=len(body) - 1)
        assert bytes(stored.data) == body

    async def test_without_conditional_writes_it_looks_first(
        self, proxy: FaultyProxy, bucket: S3Bucket
    ) -> None:
        store = make_store(f"s3://{bucket.name}?endpoint={proxy.endpoint}&conditional_writes=false")
        name = a_name()
        await put(store, name)
        with pytest.raises(ObjectExists):
            await store.create(name)
        assert not any("if-none-match" in seen.headers for seen in proxy.seen)
        await store.aclose()

    async def test_names_and_metadata_carry_nothing_about_the_patient(
        self, proxied_store: ObjectStore, proxy: FaultyProxy, bucket: S3Bucket
    ) -> None:
        """THREATS F10."""
        access = new_access(tenant="clinic-of-note", patient="patient-with-a-name")
        async with SealedWriter(proxied_store, access=access, role=ROLE, limit_bytes=LIMIT) as writer:
            await writer.write(noise(PART + 1))
            facts = await writer.finish()
        for seen in proxy.seen:
            # The host and the signature aside, a request is the bucket, two ids and the protocol's own words.
            assert seen.path == f"/{bucket.name}/{access.recording_id}/{facts.file_id}"
            said = f"{seen.path} {seen.query} {seen.headers}"
            assert not any(word in said for word in ("clinic-of-note", "patient-with-a-name", ROLE))

    @pytest.mark.parametrize("parts", [1, 3])
    async def test_abort_leaves_nothing(self, s3_store: ObjectStore, judge: Judge, parts: int) -> None:
        upload = await s3_store.create(a_name())
        for _ in range(parts):
            await upload.part(bytes(6 << 20))
        await upload.abort()
        await upload.abort()
        assert (judge.keys(), judge.unfinished()) == ([], 0)

    @pytest.mark.parametrize(("parts", "match"), [(1, is_put), (2, is_complete)])
    async def test_an_abort_after_a_cut_off_completion_removes_the_object(
        self, proxied_store: ObjectStore, proxy: FaultyProxy, judge: Judge, parts: int, match: faulty.Match
    ) -> None:
        go, took_effect = asyncio.Event(), asyncio.Event()
        proxy.fail(match, faulty.held(go, took_effect=took_effect))
        upload = await proxied_store.create(a_name())
        for _ in range(parts):
            await upload.part(noise(6 << 20))
        completing = asyncio.ensure_future(upload.complete())
        await asyncio.wait_for(took_effect.wait(), timeout=20)
        assert len(judge.keys()) == 1
        completing.cancel()
        await asyncio.gather(completing, return_exceptions=True)
        aborting = asyncio.ensure_future(upload.abort())
        await asyncio.sleep(0.05)
        go.set()
        await aborting
        assert (judge.keys(), judge.unfinished()) == ([], 0)

    async def test_an_upload_without_parts_is_an_empty_object(self, s3_store: ObjectStore) -> None:
        upload = await s3_store.create(a_name())
        await upload.complete()
        assert [info.size_bytes async for info in s3_store.list()] == [0]


FAULTS = {
    "500": faulty.status(500),
    "503": faulty.status(503, "SlowDown"),
    "429": faulty.status(429, "TooManyRequests"),
    "timeout": faulty.status(400, "RequestTimeout"),
    "digest": faulty.status(400, "BadDigest"),
    "conflict": faulty.status(409, "ConditionalRequestConflict"),
    "reset": faulty.reset,
    "lost": faulty.lost_reply,
}


class TestRetries:
    """A fault or three are nothing; each attempt sends the same ciphertext."""

    @pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
    @pytest.mark.parametrize(("size", "match"), [(100, is_put), (PART + 100, is_part)])
    async def test_an_upload_outlives_it(
        self, proxied_store: ObjectStore, proxy: FaultyProxy, fault: Fault, size: int, match: faulty.Match
    ) -> None:
        proxy.fail(match, fault, times=2)
        access, plain = new_access(), noise(size)
        async with SealedWriter(proxied_store, access=access, role=ROLE, limit_bytes=LIMIT) as writer:
            await writer.write(plain)
            facts = await writer.finish()
        bodies: dict[str, set[bytes]] = {}
        for seen in proxy.matching(match):
            bodies.setdefault(seen.query.get("partNumber", "all"), set()).add(
                hashlib.sha256(seen.body).digest()
            )
        assert all(len(versions) == 1 for versions in bodies.values())
        assert len(proxy.matching(match)) == len(bodies) + 2
        assert await SealedReader(proxied_store, facts, access=access).read_all() == plain

    # boto3 repeats these; a completion carries no body of ours whose digest could be wrong.
    @pytest.mark.parametrize("name", ["500", "503", "429", "timeout", "reset", "lost"])
    async def test_a_completion_outlives_it(
        self, proxied_store: ObjectStore, proxy: FaultyProxy, name: str
    ) -> None:
        fault = FAULTS[name]
        proxy.fail(is_complete, fault)
        access, plain = new_access(), noise(PART + 100)
        async with SealedWriter(proxied_store, access=access, role=ROLE, limit_bytes=LIMIT) as writer:
            await writer.write(plain)
            facts = await writer.finish()
        assert await SealedReader(proxied_store, facts, access=access).read_all() == plain

    async def test_a_completion_that_only_seemed_to_fail_is_recognised(
        self, proxied_store: ObjectStore, proxy: FaultyProxy
    ) -> None:
        """The answer is lost, and the service answers the repetition as if the object were somebody else's."""
        proxy.fail(is_complete, faulty.lost_reply)
        proxy.fail(is_complete, faulty.status(412, "PreconditionFailed"))
        async with SealedWriter(proxied_store, access=new_access(), role=ROLE, limit_bytes=LIMIT) as writer:
            await writer.write(noise(PART + 100))
            await writer.finish()
        proxy.fail(is_complete, faulty.lost_reply)
        proxy.fail(is_complete, faulty.status(404, "NoSuchUpload"))
        async with SealedWriter(proxied_store, access=new_access(), role=ROLE, limit_bytes=LIMIT) as writer:
            await writer.write(noise(PART + 100))
            await writer.finish()

    async def test_an_upload_that_was_swept_away_fails(
        self, proxied_store: ObjectStore, proxy: FaultyProxy
    ) -> None:
        proxy.fail(is_complete, faulty.status(404, "NoSuchUpload"))
        async with SealedWriter(proxied_store, access=new_access(), role=ROLE, limit_bytes=LIMIT) as writer:
            await writer.write(noise(PART + 100))
            with pytest.raises(UploadGone):
                await writer.finish()

    @pytest.mark.parametrize(
        "fault",
        [*FAULTS.values(), faulty.short, faulty.long, faulty.less, faulty.whole, faulty.elsewhere],
        ids=[*FAULTS.keys(), "short", "long", "less", "whole", "elsewhere"],
    )
    async def test_a_read_outlives_it(
        self, proxied_store: ObjectStore, proxy: FaultyProxy, fault: Fault
    ) -> None:
        name, body = a_name(), noise(300_000)
        await put(proxied_store, name, body)
        proxy.fail(is_get, fault, times=3)
        fetched = await proxied_store.read(name, first_byte=1000, last_byte=250_000)
        assert bytes(fetched.data) == body[1000:250_001]
        assert len(proxy.matching(is_get)) == 4

    async def test_altered_bytes_are_damage_and_not_repeated(
        self, proxied_store: ObjectStore, proxy: FaultyProxy
    ) -> None:
        access, plain = new_access(), noise(3 * C)
        async with SealedWriter(proxied_store, access=access, role=ROLE, limit_bytes=LIMIT) as writer:
            await writer.write(plain)
            facts = await writer.finish()
        reader = SealedReader(proxied_store, facts, access=access)
        proxy.fail(is_get, faulty.altered)
        with pytest.raises(DamagedObject):
            await reader.read(first_byte=0, last_byte=2 * C)
        assert len(proxy.matching(is_get)) == 1
        assert await reader.read(first_byte=0, last_byte=2 * C) == plain[: 2 * C + 1]

    @pytest.mark.parametrize("match", [is_get, is_put, is_part])
    async def test_retries_are_bounded(
        self, proxied_store: ObjectStore, proxy: FaultyProxy, match: faulty.Match
    ) -> None:
        name = a_name()
        await put(proxied_store, name)
        proxy.seen.clear()
        proxy.fail(match, faulty.status(503), times=100)
        with pytest.raises(StoreUnavailable) as caught:
            await self.use(proxied_store, name, match)
        assert type(caught.value) is StoreUnavailable
        numbers = [seen.query.get("partNumber", "") for seen in proxy.matching(match)]
        assert max(map(numbers.count, numbers)) == 1 + len(s3_carrier.RETRY_PAUSES_S)

    @pytest.mark.parametrize("match", [is_get, is_put, is_part])
    @pytest.mark.parametrize(
        "fault",
        [faulty.status(403, "AccessDenied"), faulty.status(501, "NotImplemented"), faulty.moved],
        ids=["denied", "unknown", "redirect"],
    )
    async def test_a_refusal_is_not_repeated(
        self, proxied_store: ObjectStore, proxy: FaultyProxy, match: faulty.Match, fault: Fault
    ) -> None:
        name = a_name()
        await put(proxied_store, name)
        proxy.seen.clear()
        proxy.fail(match, fault, times=2)
        with pytest.raises(StoreRefused):
            await self.use(proxied_store, name, match)
        assert len(proxy.matching(match)) <= (2 if match is is_part else 1)

    async def use(self, store: ObjectStore, name: ObjectName, match: faulty.Match) -> None:
        if match is is_get:
            await store.read(name, first_byte=0, last_byte=0)
            return
        async with SealedWriter(store, access=new_access(), role=ROLE, limit_bytes=LIMIT) as writer:
            await writer.write(bytes(10 if match is is_put else PART + 10))
            await writer.finish()

    async def test_a_part_that_fails_leaves_nothing(
        self, proxied_store: ObjectStore, proxy: FaultyProxy, judge: Judge
    ) -> None:
        proxy.fail(is_part, faulty.status(503), times=100)
        with pytest.raises(StoreUnavailable):
            await self.use(proxied_store, a_name(), is_part)
        assert (judge.keys(), judge.unfinished()) == ([], 0)

    async def test_a_service_that_hangs_is_given_up(
        self, proxied_store: ObjectStore, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name, never = a_name(), asyncio.Event()
        await put(proxied_store, name)
        monkeypatch.setattr(s3_carrier, "_IDLE_TIMEOUT_S", 0.1)
        proxy.fail(is_get, faulty.held(never), times=4)
        async with asyncio.timeout(5):
            with pytest.raises(StoreUnavailable, match="in time"):
                await proxied_store.read(name, first_byte=0, last_byte=0)
        never.set()

    async def test_a_service_that_is_not_there(
        self, bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(s3_carrier, "RETRY_PAUSES_S", (0.0,))
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            store = make_store(f"s3://{bucket.name}?endpoint=http://127.0.0.1:{closed.getsockname()[1]}")
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await store.read(a_name(), first_byte=0, last_byte=0)
            await store.aclose()

    async def test_no_error_holds_a_signed_url(self, proxied_store: ObjectStore, proxy: FaultyProxy) -> None:
        name = a_name()
        await put(proxied_store, name)
        refused = faulty.status(403, "AccessDenied")
        for fault in (faulty.reset, faulty.moved, refused, faulty.short, faulty.nonsense):
            proxy.heal()
            # aiohttp itself asks once more where a kept connection turns out to be closed.
            proxy.fail(is_get, fault, times=8)
            with pytest.raises(ObjectsError) as caught:
                await proxied_store.read(name, first_byte=0, last_byte=3)
            said = "".join(traceback.format_exception(caught.value))
            assert "Signature" not in said
            assert "AKIATEST" not in said


class TestReads:
    """Ranges, pins and what is not there."""

    async def test_a_range_is_exact_and_says_the_objects_size(self, s3_store: ObjectStore) -> None:
        name, body = a_name(), noise(1000)
        await put(s3_store, name, body)
        fetched = await s3_store.read(name, first_byte=10, last_byte=19)
        assert (bytes(fetched.data), fetched.object_size_bytes) == (body[10:20], 1000)

    @pytest.mark.parametrize(("first", "last"), [(0, 4), (3, 4), (4, 4), (100, 200)])
    async def test_a_range_beyond_the_end_is_damage(
        self, s3_store: ObjectStore, first: int, last: int
    ) -> None:
        name = a_name()
        await put(s3_store, name)
        with pytest.raises(DamagedObject):
            await s3_store.read(name, first_byte=first, last_byte=last)

    async def test_what_is_not_there(self, s3_store: ObjectStore, bucket: S3Bucket) -> None:
        with pytest.raises(ObjectMissing):
            await s3_store.read(a_name(), first_byte=0, last_byte=0)
        store = make_store(f"s3://no-such-bucket?endpoint={bucket.endpoint}")
        with pytest.raises(StoreRefused):
            await store.read(a_name(), first_byte=0, last_byte=0)
        with pytest.raises(StoreRefused):
            await store.probe()
        await store.aclose()

    async def test_a_pin_holds(self, s3_store: ObjectStore) -> None:
        name = a_name()
        await put(s3_store, name)
        fetched = await s3_store.read(name, first_byte=0, last_byte=0)
        await s3_store.read(name, first_byte=1, last_byte=1, pin=fetched.pin)
        await s3_store.delete([name])
        await put(s3_store, name, b"other")
        with pytest.raises(ObjectChanged):
            await s3_store.read(name, first_byte=1, last_byte=1, pin=fetched.pin)

    async def test_one_signature_serves_all_ranges_of_an_object_and_connections_are_kept(
        self, proxied_store: ObjectStore, proxy: FaultyProxy
    ) -> None:
        name = a_name()
        await put(proxied_store, name)
        for at in range(4):
            await proxied_store.read(name, first_byte=at, last_byte=at)
        assert len({seen.query["X-Amz-Signature"] for seen in proxy.matching(is_get)}) == 1

    async def test_signed_urls_are_renewed_and_bounded(
        self, s3_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from vault.objects import s3  # noqa: PLC0415 - the module's limits are lowered

        monkeypatch.setattr(s3, "_SIGNED_URLS", 3)
        names = [a_name() for _ in range(5)]
        for name in names:
            await put(s3_store, name)
            await s3_store.read(name, first_byte=0, last_byte=0)
        assert isinstance(s3_store, s3.S3Store)
        assert list(s3_store._urls) == names[2:]
        s3_store._urls[names[4]] = ("http://127.0.0.1:9/expired", 0.0)
        await s3_store.read(names[4], first_byte=0, last_byte=0)

    async def test_a_kept_url_that_is_refused_is_signed_anew_once(
        self, proxied_store: ObjectStore, proxy: FaultyProxy
    ) -> None:
        name = a_name()
        await put(proxied_store, name)
        await proxied_store.read(name, first_byte=0, last_byte=0)
        proxy.fail(is_get, faulty.status(403, "ExpiredToken"))
        await proxied_store.read(name, first_byte=1, last_byte=1)
        assert len(proxy.matching(is_get)) == 3
        proxy.fail(is_get, faulty.status(403, "ExpiredToken"), times=9)
        with pytest.raises(StoreRefused):
            await proxied_store.read(name, first_byte=1, last_byte=1)
        assert len(proxy.matching(is_get)) == 5

    async def test_without_credentials_the_sentence_says_so(
        self, s3_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(variable)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        with pytest.raises(StoreRefused, match="credentials"):
            await s3_store.read(a_name(), first_byte=0, last_byte=0)


class TestHousekeeping:
    """Listing, deleting, sweeping."""

    async def test_listing_goes_over_pages_and_passes_over_foreign_names(
        self, s3_store: ObjectStore, judge: Judge, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recording = new_recording_id()
        names = sorted(ObjectName(recording, new_file_id()) for _ in range(5))
        for name in (*names, a_name()):
            await put(s3_store, name)
        for key in ("some/prefix/notes.txt", f"some/prefix/{recording}/notes.txt", f"else/{a_name()}"):
            judge.client.put_object(Bucket=judge.bucket, Key=key, Body=b"mine")
        await s3_store.probe()
        bucket, _ = await s3_store.open()  # type: ignore[attr-defined]
        page = bucket._client.list_objects_v2
        monkeypatch.setattr(bucket._client, "list_objects_v2", lambda **words: page(**words, MaxKeys=2))
        assert [info.name async for info in s3_store.list(recording)] == names
        infos = [info async for info in s3_store.list()]
        assert len(infos) == 6
        assert {info.size_bytes for info in infos} == {4}
        assert all(info.modified_at.tzinfo is dt.UTC for info in infos)

    async def test_deleting(self, s3_store: ObjectStore) -> None:
        names = [a_name() for _ in range(3)]
        for name in names:
            await put(s3_store, name)
        await s3_store.delete([names[0], names[1], a_name()])
        assert [info.name async for info in s3_store.list()] == [names[2]]

    async def test_deleting_takes_every_version(self, s3_store: ObjectStore, judge: Judge) -> None:
        judge.client.put_bucket_versioning(Bucket=judge.bucket, VersioningConfiguration={"Status": "Enabled"})
        name, other = a_name(), a_name()
        for _ in range(2):
            await put(s3_store, name)
            judge.client.delete_object(Bucket=judge.bucket, Key=f"some/prefix/{name}")
        await put(s3_store, other)
        await s3_store.delete([name])
        assert judge.versions() == 1
        assert judge.keys() == [f"some/prefix/{other}"]

    async def test_sweeping_discards_unfinished_uploads_alone(
        self, s3_store: ObjectStore, judge: Judge
    ) -> None:
        kept = a_name()
        await put(s3_store, kept)
        upload = await s3_store.create(a_name())
        for _ in range(2):
            await upload.part(bytes(6 << 20))
        judge.client.create_multipart_upload(Bucket=judge.bucket, Key="some/prefix/foreign")
        assert await s3_store.sweep(before=PAST) == 0
        assert await s3_store.sweep(before=FUTURE) == 1
        assert (judge.keys(), judge.unfinished()) == ([f"some/prefix/{kept}"], 1)
        with pytest.raises(StoreUnavailable):
            await upload.complete()
        await upload.abort()

    async def test_probing(self, s3_store: ObjectStore) -> None:
        await s3_store.probe()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (200, "InternalError", StoreUnavailable),
        (400, "InvalidRequest", StoreRefused),
        (404, "NoSuchKey", ObjectMissing),
        (404, "", ObjectMissing),
        (404, "NoSuchBucket", StoreRefused),
        (412, "PreconditionFailed", ObjectExists),
        (416, "InvalidRange", DamagedObject),
        (500, "", StoreUnavailable),
        (501, "NotImplemented", StoreRefused),
        (507, "", StoreUnavailable),
    ],
)
def test_what_an_answer_means(status: int, code: str, kind: type[ObjectsError]) -> None:
    assert type(failure(status, code, precondition=ObjectExists)) is kind


def test_an_answer_is_quoted_as_far_as_it_is_a_code() -> None:
    said = str(failure(400, "<script>\n" * 50, precondition=ObjectExists))
    assert said == "the object store answers 400"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes 10-19/100", 100),
        ("bytes 10-19/20", 20),
        ("bytes 10-15/16", DamagedObject),
        ("bytes 10-19/*", StoreUnavailable),
        ("bytes 10-19/15", StoreUnavailable),
        ("bytes 10-18/100", StoreUnavailable),
        ("bytes 0-19/100", StoreUnavailable),
        ("bytes 10-25/26", StoreUnavailable),
        ("", StoreUnavailable),
        ("bytes 10-19/100, 1-2/3", StoreUnavailable),
    ],
)
def test_which_range_an_answer_holds(header: str, expected: int | type[ObjectsError]) -> None:
    if isinstance(expected, int):
        assert object_size(header, first_byte=10, last_byte=19) == expected
        return
    with pytest.raises(expected) as caught:
        object_size(header, first_byte=10, last_byte=19)
    assert type(caught.value) is expected
