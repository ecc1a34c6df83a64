"""An S3 service: moto's server process, spoken to by HTTP only, as any S3-compatible service would be."""

from __future__ import annotations

import dataclasses
import http.client
import importlib.util
import sys
import uuid

import boto3
from botocore.config import Config

from tests.servers.child import ChildServer
from tests.servers.missing import missing

_REGION = "us-east-1"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class S3Bucket:
    """An empty bucket, and what a client needs to reach it. The credentials are made up; moto accepts any."""

    name: str
    endpoint: str
    access_key: str = "AKIATESTTESTTESTTEST"
    secret_key: str = "not-a-secret"
    region: str = _REGION

    @property
    def url(self) -> str:
        """The object store as a setting: `s3://BUCKET?endpoint=http://127.0.0.1:PORT`."""
        return f"s3://{self.name}?endpoint={self.endpoint}"

    @property
    def environment(self) -> dict[str, str]:
        """The credentials as the environment variables that AWS's libraries read."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }


class S3Server(ChildServer):
    """An S3 service of one's own; `create_bucket` gives an empty bucket for each test."""

    name = "s3"

    def __init__(self) -> None:
        if importlib.util.find_spec("moto") is None:
            missing("moto", command="pip install -e '.[test]'")
        super().__init__()

    @property
    def endpoint(self) -> str:
        """The service's address: `http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    def create_bucket(self) -> S3Bucket:
        """Create an empty bucket with a fresh name."""
        bucket = S3Bucket(name=f"test-{uuid.uuid4().hex[:16]}", endpoint=self.endpoint)
        client = boto3.client(
            "s3",
            endpoint_url=bucket.endpoint,
            aws_access_key_id=bucket.access_key,
            aws_secret_access_key=bucket.secret_key,
            region_name=bucket.region,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )
        try:
            client.create_bucket(Bucket=bucket.name)
        finally:
            client.close()
        return bucket

    def _command(self) -> list[str]:
        return [sys.executable, "-I", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
