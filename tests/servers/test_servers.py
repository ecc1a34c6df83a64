"""The servers keep their promises: they answer, survive their tests, and never outlive their worker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import boto3
import pytest
import redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.servers import PostgresServer, S3Server, ServerFailedError, ValkeyServer, missing
from tests.servers.child import ChildServer

_ROOT = Path(__file__).parents[2]


def _gone(pid: int) -> bool:
    """Wait up to five seconds for a process to end; a zombie that nobody reaps yet has ended."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def _plain(url: str) -> str:
    return url.replace("postgresql+asyncpg", "postgresql")


def test_valkey_answers_on_its_socket_and_on_loopback(valkey_server: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey_server.url) as one, redis.Redis.from_url(valkey_server.tcp_url) as other:
        one.set("word", "here")
        assert other.get("word") == b"here"
        valkey_server.flush()
        assert other.get("word") is None


def test_valkey_keeps_acknowledged_writes_over_kill_9() -> None:
    with ValkeyServer() as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("word", "kept")
        first = server.pid
        server.kill()
        server.start()
        assert server.pid != first
        with redis.Redis.from_url(server.url) as client:
            assert client.get("word") == b"kept"


def test_paused_valkey_holds_the_connection_and_answers_after_resume() -> None:
    with ValkeyServer() as server, redis.Redis.from_url(server.url, socket_timeout=0.3) as client:
        assert client.ping()
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
        assert client.ping()


def test_two_valkeys_share_nothing() -> None:
    with ValkeyServer() as one, ValkeyServer() as other:
        assert one.port != other.port
        with redis.Redis.from_url(one.url) as first, redis.Redis.from_url(other.url) as second:
            first.set("word", "mine")
            assert second.get("word") is None


async def test_postgres_gives_each_test_a_database_of_its_own(postgres_server: PostgresServer) -> None:
    one, other = postgres_server.create_database(), postgres_server.create_database()
    await _ask(one, "CREATE TABLE only_here AS SELECT 1 AS one")
    copy = postgres_server.create_database(like=one)
    question = "SELECT count(*) FROM pg_tables WHERE tablename = 'only_here'"
    assert [await _ask(url, question) for url in (one, other, copy)] == [[1], [0], [1]]


async def _ask(url: str, statement: str) -> list[object]:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return list(result.scalars()) if result.returns_rows else []
    finally:
        await engine.dispose()


def test_postgres_refuses_a_wrong_password(postgres_server: PostgresServer) -> None:
    url = _plain(postgres_server.create_database()).replace("not-a-secret", "wrong")
    done = subprocess.run(
        [str(postgres_server._programs / "psql"), url, "-c", "SELECT 1"],
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert b"password authentication failed" in done.stderr


def test_a_dropped_database_is_gone(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    postgres_server.drop_database(url)
    with pytest.raises(ServerFailedError, match="does not exist"):
        postgres_server.execute("SELECT 1", database=url.rsplit("/", 1)[-1])


def test_postgres_starts_again_on_its_data_after_kill_9() -> None:
    with PostgresServer() as server:
        server.execute("CREATE TABLE kept AS SELECT 7 AS seven")
        server.kill()
        with pytest.raises(ServerFailedError):
            server.execute("SELECT 1")
        server.start()
        assert server.execute("SELECT seven FROM kept").strip() == "7"


def test_s3_keeps_an_object_and_serves_a_range(s3_server: S3Server) -> None:
    bucket = s3_server.create_bucket()
    client = boto3.client(
        "s3",
        endpoint_url=bucket.endpoint,
        aws_access_key_id=bucket.access_key,
        aws_secret_access_key=bucket.secret_key,
        region_name=bucket.region,
    )
    try:
        client.put_object(Bucket=bucket.name, Key="a", Body=b"0123456789")
        answer = client.get_object(Bucket=bucket.name, Key="a", Range="bytes=2-4")
        with answer["Body"] as body:
            assert body.read() == b"234"
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    finally:
        client.close()


def test_buckets_are_separate(s3_server: S3Server) -> None:
    assert s3_server.create_bucket().name != s3_server.create_bucket().name


def test_closing_ends_the_process_and_removes_the_folder() -> None:
    with ValkeyServer() as server:
        pid, folder = server.pid, server.folder
        assert folder.is_dir()
    assert _gone(pid)
    assert not folder.exists()


_ORPHAN = """
import sys, time
from tests.servers import ValkeyServer
server = ValkeyServer()
server.start()
print(server.pid, server.folder, flush=True)
time.sleep(60)
"""


def test_a_server_dies_with_a_worker_that_was_killed() -> None:
    worker = subprocess.Popen([sys.executable, "-c", _ORPHAN], cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert worker.stdout is not None
        pid, folder = worker.stdout.readline().split()
    finally:
        worker.kill()
        worker.communicate(timeout=10)
    assert _gone(int(pid))
    shutil.rmtree(folder)


def test_a_server_outlives_the_thread_that_started_it() -> None:
    with ValkeyServer() as server:
        server.stop()
        _in_a_short_lived_thread(server)
        time.sleep(0.1)
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()


def _in_a_short_lived_thread(server: ChildServer) -> None:
    thread = Thread(target=server.start)
    thread.start()
    thread.join(20)


def test_a_server_that_can_not_start_says_why() -> None:
    with ValkeyServer() as holder:
        server = ValkeyServer()
        server.port = holder.port
        with pytest.raises(ServerFailedError, match="Address already in use"):
            server.__enter__()
        assert not server.folder.exists()


def test_a_stopped_server_has_no_pid() -> None:
    with ValkeyServer() as server:
        os.kill(server.pid, signal.SIGTERM)
        server.stop()
        with pytest.raises(ServerFailedError, match="not running"):
            _ = server.pid


def test_a_missing_part_skips_outside_ci_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="run `make it`"):
        missing("It", command="make it")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="run `make it`"):
        missing("It", command="make it")
