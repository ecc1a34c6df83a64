"""Addresses of object stores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vault.objects.errors import StoreMisconfigured
from vault.objects.folder import FolderStore
from vault.objects.location import FolderLocation, S3Location, make_store, parse_location
from vault.objects.s3 import S3Store


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("/srv/objects", FolderLocation(path=Path("/srv/objects"))),
        ("file:///srv/objects", FolderLocation(path=Path("/srv/objects"))),
        ("file://localhost/srv/my%20objects", FolderLocation(path=Path("/srv/my objects"))),
        ("s3://bucket", S3Location(bucket="bucket")),
        ("s3://bucket/a/b/", S3Location(bucket="bucket", prefix="a/b")),
        ("s3://bucket?region=eu-west-1", S3Location(bucket="bucket", region="eu-west-1")),
        (
            "s3://bucket?endpoint=https://s3.example.org",
            S3Location(bucket="bucket", endpoint="https://s3.example.org", path_style=True),
        ),
        (
            "s3://bucket?endpoint=http://127.0.0.1:9000&path_style=false&conditional_writes=false",
            S3Location(bucket="bucket", endpoint="http://127.0.0.1:9000", conditional_writes=False),
        ),
        (
            "s3://bucket?endpoint=http://[::1]:9000",
            S3Location(bucket="bucket", endpoint="http://[::1]:9000", path_style=True),
        ),
        (
            "s3://bucket?endpoint=http://localhost:9000",
            S3Location(bucket="bucket", endpoint="http://localhost:9000", path_style=True),
        ),
    ],
)
def test_an_address_is_understood(text: str, location: FolderLocation | S3Location) -> None:
    assert parse_location(text) == location


@pytest.mark.parametrize(
    "text",
    [
        "",
        "relative/path",
        "file://relative/path",
        "file:///path?x=1",
        "ftp://host/path",
        "s3://",
        "s3:///prefix",
        "s3://Bucket_With_Capitals",
        "s3://bucket/../other",
        "s3://bucket/a/./b",
        "s3://bucket/..",
        "s3://bucket/a//b",
        "s3://key:secret@bucket",
        "s3://bucket#fragment",
        "s3://bucket?unknown=1",
        "s3://bucket?region=a&region=b",
        "s3://bucket?region=",
        "s3://bucket?region",
        "s3://bucket?path_style=yes",
        "s3://bucket?endpoint=ftp://host",
        "s3://bucket?endpoint=host",
        "s3://bucket?endpoint=https://",
        "s3://bucket?endpoint=https://key:secret@host",
        "s3://bucket?endpoint=https://host:port",
        "s3://[bucket",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(StoreMisconfigured) as caught:
        parse_location(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    ["http://s3.example.org", "http://10.0.0.1:9000", "http://127.0.0.1.example.org", "http://0.0.0.0:9000"],
)
def test_plain_http_stays_on_this_machine(endpoint: str) -> None:
    with pytest.raises(StoreMisconfigured, match="use https"):
        parse_location(f"s3://bucket?endpoint={endpoint}")


async def test_plain_http_is_refused_from_botos_own_configuration_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://s3.example.org")
    # With credentials at hand boto3 looks for none on the network.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    store = make_store("s3://bucket?region=us-east-1")
    with pytest.raises(StoreMisconfigured, match="use https"):
        await store.probe()
    await store.aclose()


def test_make_store_chooses() -> None:
    assert isinstance(make_store("/srv/objects"), FolderStore)
    assert isinstance(make_store("s3://bucket"), S3Store)


def test_a_folder_needs_no_boto3() -> None:
    program = (
        "import sys; from vault.objects.location import make_store; make_store('/tmp/x');"
        "sys.exit(any(name.split('.')[0] in ('boto3', 'botocore') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
