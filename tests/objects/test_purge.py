"""Purging takes whatever stands under one recording: unknown objects, old versions, unfinished uploads; no more."""

from __future__ import annotations

import asyncio
from typing import Any

import boto3

from keys.ids import RecordingId, new_file_id, new_recording_id
from tests.servers import S3Bucket
from vault.objects.store import ObjectName, ObjectStore


async def put(store: ObjectStore, recording_id: RecordingId) -> None:
    upload = await store.create(ObjectName(recording_id, new_file_id()))
    await upload.part(b"sealed")
    await upload.complete()


async def test_everything_of_a_recording_goes_and_nothing_else(store: ObjectStore) -> None:
    gone, kept = new_recording_id(), new_recording_id()
    for recording_id in (gone, gone, kept):
        await put(store, recording_id)
    await store.purge(gone)
    await store.purge(gone)
    assert [info.name.recording_id async for info in store.list()] == [kept]


async def test_old_versions_and_unfinished_uploads_go_too(s3_store: ObjectStore, bucket: S3Bucket) -> None:
    client: Any = await asyncio.to_thread(
        boto3.client, "s3", endpoint_url=bucket.endpoint, region_name="us-east-1"
    )
    await asyncio.to_thread(
        client.put_bucket_versioning, Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"}
    )
    recording_id = new_recording_id()
    await put(s3_store, recording_id)
    (name,) = [info.name async for info in s3_store.list()]
    key = f"some/prefix/{name}"
    # Somebody else's tool hid the object, and another one was cut off.
    await asyncio.to_thread(client.delete_object, Bucket=bucket.name, Key=key)
    await asyncio.to_thread(client.create_multipart_upload, Bucket=bucket.name, Key=key)
    await s3_store.purge(recording_id)
    versions = await asyncio.to_thread(client.list_object_versions, Bucket=bucket.name)
    assert not (*versions.get("Versions", ()), *versions.get("DeleteMarkers", ()))
    uploads = await asyncio.to_thread(client.list_multipart_uploads, Bucket=bucket.name)
    assert not uploads.get("Uploads")
