"""The decisions about one bucket, taken through boto3: signatures, multipart uploads, listing and deletion.

Every method blocks and belongs into a thread. No media byte passes here.

Invariants: a key is the prefix and an object's name; requests are signed with SigV4; where the service can, an
existing object is never overwritten; no foreign exception and no URL leaves in an error.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import boto3
import botocore.exceptions
from botocore.config import Config

from keys.ids import RecordingId
from vault.objects.anchors import MAX_ANCHOR_BYTES, N, SmallName
from vault.objects.errors import MalformedObject, ObjectExists, ObjectMissing, StoreRefused, StoreUnavailable
from vault.objects.location import S3Location, require_private
from vault.objects.s3_replies import UploadGone, failure
from vault.objects.store import ObjectInfo, ObjectName

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# Longer than all attempts at one part together; a URL that leaks shows ciphertext, and that for so long.
URL_LIFETIME_S: Final = 900
_CONNECT_TIMEOUT_S: Final = 5
_READ_TIMEOUT_S: Final = 20
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A presigned request: its URL, and the headers that were signed with it."""

    url: str
    headers: dict[str, str]

    def __repr__(self) -> str:
        return "<Signed, not shown>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a listing; `following` asks for the next one."""

    infos: tuple[ObjectInfo, ...]
    following: str | None


class Bucket:
    """One bucket and prefix of one service. May be used by several threads."""

    def __init__(self, location: S3Location, *, connections: int) -> None:
        """Raises `StoreMisconfigured` where boto's own configuration leads to plain http off this machine."""
        with _mapped():
            self._client: S3Client = boto3.session.Session().client(
                "s3",
                endpoint_url=location.endpoint,
                region_name=location.region,
                config=Config(
                    signature_version="s3v4",
                    s3={"addressing_style": "path" if location.path_style else "virtual"},
                    # Checksums in trailers are newer than many services; parts carry Content-MD5 instead.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    connect_timeout=_CONNECT_TIMEOUT_S,
                    read_timeout=_READ_TIMEOUT_S,
                    retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                    max_pool_connections=connections,
                ),
            )
        require_private(self._client.meta.endpoint_url)
        self._bucket = location.bucket
        self._prefix = f"{location.prefix}/" if location.prefix else ""
        # Sent with whatever makes an object visible (RFC 9110, section 13.1.2).
        self._if_new: dict[str, Any] = {"IfNoneMatch": "*"} if location.conditional_writes else {}

    @property
    def needs_look_before_upload(self) -> bool:
        """Whether nothing but a look beforehand protects an existing object."""
        return not self._if_new

    def sign_get(self, name: ObjectName) -> str:
        """A URL to read any range of the object."""
        return self._sign("get_object", {"Key": self._key(name)})

    def sign_put(self, name: ObjectName, body: bytes | bytearray | memoryview) -> Signed:
        """A request to store the whole object `body` where none stands."""
        digest = _md5(body)
        url = self._sign("put_object", {"Key": self._key(name), "ContentMD5": digest, **self._if_new})
        return Signed(
            url=url, headers={"Content-MD5": digest} | ({"If-None-Match": "*"} if self._if_new else {})
        )

    def sign_part(
        self, name: ObjectName, body: bytes | bytearray | memoryview, *, upload_id: str, number: int
    ) -> Signed:
        """A request to store part `number`, counted from one."""
        digest = _md5(body)
        params = {"Key": self._key(name), "UploadId": upload_id, "PartNumber": number, "ContentMD5": digest}
        return Signed(url=self._sign("upload_part", params), headers={"Content-MD5": digest})

    def begin(self, name: ObjectName) -> str:
        """Begin a multipart upload; returns its id."""
        with _mapped():
            made = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=self._key(name), ContentType="application/octet-stream"
            )
        return made["UploadId"]

    def complete(self, name: ObjectName, *, upload_id: str, etags: tuple[str, ...]) -> None:
        """Make the uploaded parts one visible object; raises `ObjectExists`, `UploadGone` or `StoreUnavailable`."""
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
        with _mapped():
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key(name),
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]
                **self._if_new,
            )

    def abort(self, name: ObjectName, *, upload_id: str) -> None:
        """Discard a multipart upload; one that is gone is no error."""
        with contextlib.suppress(UploadGone), _mapped():
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key(name), UploadId=upload_id)

    def exists(self, name: ObjectName | SmallName) -> bool:
        """Whether an object of that name stands."""
        try:
            with _mapped():
                self._client.head_object(Bucket=self._bucket, Key=self._key(name))
        except ObjectMissing:
            return False
        return True

    def delete(self, name: ObjectName) -> None:
        """Remove the object; in a bucket with versions, every version and delete marker of it."""
        key = self._key(name)
        with _mapped():
            answer = self._client.delete_object(Bucket=self._bucket, Key=key)
            if not (answer.get("DeleteMarker") or answer.get("VersionId")):
                return
            pages = self._client.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self._bucket, Prefix=key):
                for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                    if version["Key"] == key:
                        self._client.delete_object(
                            Bucket=self._bucket, Key=key, VersionId=version["VersionId"]
                        )

    def purge(self, recording_id: RecordingId) -> None:
        """Remove whatever stands under a recording: unfinished uploads, objects, and every version of them."""
        where: dict[str, Any] = {"Bucket": self._bucket, "Prefix": f"{self._prefix}{recording_id}/"}
        with _mapped():
            for page in self._client.get_paginator("list_multipart_uploads").paginate(**where):
                for upload in page.get("Uploads", ()):
                    with contextlib.suppress(UploadGone), _mapped():
                        self._client.abort_multipart_upload(
                            Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
            for listed in self._client.get_paginator("list_objects_v2").paginate(**where):
                for entry in listed.get("Contents", ()):
                    self._client.delete_object(Bucket=self._bucket, Key=entry["Key"])
            for versions in self._client.get_paginator("list_object_versions").paginate(**where):
                for each in (*versions.get("Versions", ()), *versions.get("DeleteMarkers", ())):
                    self._client.delete_object(
                        Bucket=self._bucket, Key=each["Key"], VersionId=each["VersionId"]
                    )

    def page(self, recording_id: RecordingId | None, *, following: str | None) -> Page:
        """The next objects, in the order of their names; foreign names are passed over."""
        prefix = self._prefix + (f"{recording_id}/" if recording_id is not None else "")
        more: dict[str, Any] = {} if following is None else {"ContinuationToken": following}
        with _mapped():
            answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **more)
        infos = []
        for entry in answer.get("Contents", ()):
            with contextlib.suppress(MalformedObject):
                name = ObjectName.parse(entry["Key"].removeprefix(self._prefix))
                infos.append(
                    ObjectInfo(
                        name=name,
                        size_bytes=entry["Size"],
                        modified_at=entry["LastModified"].astimezone(dt.UTC),
                    )
                )
        return Page(infos=tuple(infos), following=answer.get("NextContinuationToken"))

    def sweep(self, *, before: dt.datetime) -> int:
        """Discard multipart uploads begun before `before`; returns how many."""
        swept = 0
        with _mapped():
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for upload in page.get("Uploads", ()):
                    with contextlib.suppress(MalformedObject, UploadGone):
                        name = ObjectName.parse(upload["Key"].removeprefix(self._prefix))
                        if upload["Initiated"] < before:
                            self.abort(name, upload_id=upload["UploadId"])
                            swept += 1
        return swept

    def put_anchor(self, name: SmallName, data: bytes) -> None:
        """Store a small text where nothing stands; raises `ObjectExists` or `StoreUnavailable`."""
        if self.needs_look_before_upload and self.exists(name):
            raise ObjectExists("an anchor of that name stands already")
        with _mapped():
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._key(name),
                Body=data,
                ContentType="text/plain; charset=utf-8",
                ContentMD5=_md5(data),
                **self._if_new,
            )

    def get_anchor(self, name: SmallName) -> bytes:
        """Its content, no more than an anchor can hold; raises `ObjectMissing` or `StoreUnavailable`."""
        with (
            _mapped(),
            contextlib.closing(
                self._client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"]
            ) as body,
        ):
            return body.read(MAX_ANCHOR_BYTES + 1)

    def anchor_page(self, kind: type[N], *, following: str | None) -> tuple[tuple[N, ...], str | None]:
        """The next anchors of a kind, in the order of names, and what asks for those after them."""
        more: dict[str, Any] = {} if following is None else {"ContinuationToken": following}
        with _mapped():
            prefix = f"{self._prefix}{kind.prefix}/"
            answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **more)
        names: list[N] = []
        for entry in answer.get("Contents", ()):
            with contextlib.suppress(MalformedObject):
                names.append(kind.parse(entry["Key"].removeprefix(self._prefix)))
        return tuple(names), answer.get("NextContinuationToken")

    def probe(self) -> None:
        """Ask for the bucket; raises `StoreUnavailable`."""
        try:
            with _mapped():
                self._client.head_bucket(Bucket=self._bucket)
        except ObjectMissing:
            raise StoreRefused("the object store has no such bucket") from None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _key(self, name: ObjectName | SmallName) -> str:
        return f"{self._prefix}{name}"

    def _sign(self, operation: str, params: dict[str, Any]) -> str:
        with _mapped():
            return self._client.generate_presigned_url(
                operation, Params={"Bucket": self._bucket, **params}, ExpiresIn=URL_LIFETIME_S
            )


@contextlib.contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except botocore.exceptions.ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", HTTPStatus.BAD_GATEWAY)
        code = error.response.get("Error", {}).get("Code", "")
        raise failure(status, code, precondition=ObjectExists) from None
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError):
        raise StoreRefused(
            "no credentials for the object store: set AWS_ACCESS_KEY_ID and its secret"
        ) from None
    except (botocore.exceptions.BotoCoreError, OSError) as error:
        raise StoreUnavailable(f"the object store cannot be reached ({type(error).__name__})") from None


def _md5(body: bytes | bytearray | memoryview) -> str:
    """Content-MD5 (RFC 1864): lets the service refuse a part that was altered on its way. Not a security measure."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
