"""Real servers as child processes of a test worker: Valkey, PostgreSQL, OpenBao and an S3 service.

Each class is a context manager with a temporary folder, a socket and a loopback port of its own, so any
number of test workers run side by side. The shared ones are the session fixtures `valkey_server`,
`postgres_server` and `s3_server` in tests/conftest.py. A test that kills, pauses or restarts a server starts one
of its own:

    with ValkeyServer() as server:
        ...
        server.kill()      # like kill -9
        server.start()     # the same data, socket and port again
"""

from __future__ import annotations

from tests.servers.bao import BaoServer
from tests.servers.child import ChildServer, ServerFailedError
from tests.servers.missing import missing
from tests.servers.postgres import PostgresServer
from tests.servers.s3 import S3Bucket, S3Server
from tests.servers.valkey import RestoredValkey, ValkeyServer

__all__ = [
    "BaoServer",
    "ChildServer",
    "PostgresServer",
    "RestoredValkey",
    "S3Bucket",
    "S3Server",
    "ServerFailedError",
    "ValkeyServer",
    "missing",
]
