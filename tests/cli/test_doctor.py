"""`replayvault doctor` on houses that are well, and on houses that are not."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from keys.database import open_database
from tests.cli.conftest import Desk, Done
from tests.servers import PostgresServer, S3Server, ValkeyServer
from tests.servers.child import free_port
from vault.catalog.migrate import Schema, migrate
from vault.cli.exits import Exit
from vault.cli.findings import Verdict, down, exit_of, note, ok, wrong
from vault.cli.local_checks import folder_finding, key_file_finding, swap_finding
from vault.cli.remote_checks import clock_finding

_NOWHERE = "endpoint=http://127.0.0.1:{port}"


def findings(done: Done) -> dict[str, Any]:
    """Findings by their names."""
    return {each["name"]: each for each in done.json["findings"]}


def troubles(done: Done) -> set[str]:
    """What is wrong or down."""
    return {name for name, each in findings(done).items() if each["verdict"] in {"wrong", "down"}}


@pytest.fixture
def copy(desk: Desk, tmp_path: Path) -> Path:
    """A data folder like the house's, to be spoiled."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    for name in ("master.key", "tier.secret", "worker.key", "worker.pub", "catalog.sqlite", "shares.sqlite"):
        shutil.copy2(desk.server.data / name, data / name)
    for name in ("audit", "objects"):
        (data / name).mkdir(mode=0o700)
    for name in ("catalog.sqlite", "shares.sqlite"):
        with sqlite3.connect(desk.server.data / name) as source, sqlite3.connect(data / name) as target:
            source.backup(target)
        source.close()
        target.close()
    return data


def test_a_house_that_runs_is_well(desk: Desk) -> None:
    done = desk.run("doctor", "--json")
    assert done.code == Exit.OK, done.out
    assert {each["verdict"] for each in findings(done).values()} <= {"ok", "note"}
    expected = {
        "data folder",
        "master key",
        "catalog",
        "share store",
        "Redis",
        "clock",
        "object store",
        "ffmpeg",
    }
    assert expected | {"object store writes", "sandbox", "core dumps", "swap", "tier secret"} <= set(
        findings(done)
    )
    people = desk.invoke("doctor")
    assert people.code == Exit.OK
    assert "catalog" in people.out


def test_a_house_that_is_not_there_yet_is_well_and_stays_away(desk: Desk, tmp_path: Path) -> None:
    done = desk.invoke("doctor", "--json", "--data-dir", tmp_path / "none")
    assert done.code == Exit.OK
    assert findings(done)["catalog"]["verdict"] == "note"
    assert not (tmp_path / "none").exists()


def test_it_leaves_no_object_behind(desk: Desk, copy: Path) -> None:
    assert desk.invoke("doctor", "--data-dir", copy).code == Exit.OK
    assert [path for path in (copy / "objects").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["master.key", "tier.secret", "worker.key"])
def test_a_key_that_others_can_read_is_wrong(desk: Desk, copy: Path, name: str) -> None:
    (copy / name).chmod(0o640)
    done = desk.invoke("doctor", "--data-dir", copy, "--json")
    assert done.code == Exit.PARTLY_FAILED
    assert len(troubles(done)) == 1
    assert "chmod 600" in findings(done)[troubles(done).pop()]["todo"]


def test_a_folder_that_others_can_look_into_is_wrong(desk: Desk, copy: Path) -> None:
    copy.chmod(0o755)
    done = desk.invoke("doctor", "--data-dir", copy, "--json")
    assert (done.code, troubles(done)) == (Exit.PARTLY_FAILED, {"data folder"})


def test_a_schema_of_another_release_is_wrong(desk: Desk, copy: Path) -> None:
    with sqlite3.connect(copy / "catalog.sqlite") as catalog:
        catalog.execute("update alembic_version set version_num = '9999'")
    catalog.close()
    done = desk.invoke("doctor", "--data-dir", copy, "--json")
    assert (done.code, troubles(done)) == (Exit.PARTLY_FAILED, {"catalog"})


@pytest.mark.parametrize(
    ("setting", "value", "trouble", "code"),
    [
        ("REPLAYVAULT_REDIS_URL", "redis://127.0.0.1:{port}", "Redis", Exit.DEPENDENCY_DOWN),
        (
            "REPLAYVAULT_CATALOG_URL",
            "postgresql+asyncpg://x@127.0.0.1:{port}/x",
            "catalog",
            Exit.DEPENDENCY_DOWN,
        ),
        (
            "REPLAYVAULT_SHARES_URL",
            "postgresql+asyncpg://x@127.0.0.1:{port}/x",
            "share store",
            Exit.DEPENDENCY_DOWN,
        ),
        (
            "REPLAYVAULT_OBJECTS_URL",
            f"s3://bucket?{_NOWHERE}",
            "object store",
            Exit.DEPENDENCY_DOWN,
        ),
        ("REPLAYVAULT_OBJECTS_URL", "bucket", "object store", Exit.PARTLY_FAILED),
        ("REPLAYVAULT_CATALOG_URL", "the catalog", "catalog", Exit.PARTLY_FAILED),
        ("REPLAYVAULT_MASTER_KEY_FILE", "/none/master.key", "master key", Exit.PARTLY_FAILED),
        ("REPLAYVAULT_MASTER_KEY", "x", "settings", Exit.PARTLY_FAILED),
    ],
)
def test_each_trouble_has_its_finding(desk: Desk, setting: str, value: str, trouble: str, code: Exit) -> None:
    more = {setting: value.format(port=free_port()), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    done = desk.invoke("doctor", "--json", more={"AWS_DEFAULT_REGION": "us-east-1", **more})
    assert (done.code, troubles(done)) == (code, {trouble})
    assert findings(done)[trouble]["todo"]


def test_a_stream_role_that_could_read_the_master_key_is_wrong(desk: Desk, tmp_path: Path) -> None:
    done = desk.invoke("doctor", "--role", "stream", "--json")
    assert (done.code, troubles(done)) == (Exit.PARTLY_FAILED, {"settings"})
    apart = desk.invoke("doctor", "--role", "stream", "--json", "--data-dir", tmp_path / "stream")
    assert apart.code == Exit.OK
    assert "master key" not in findings(apart)
    assert "ffmpeg" not in findings(apart)


def test_production_engines_are_asked_too(
    desk: Desk,
    copy: Path,
    valkey_server: ValkeyServer,
    postgres_server: PostgresServer,
    s3_server: S3Server,
) -> None:
    bucket = s3_server.create_bucket()
    urls = {"CATALOG": postgres_server.create_database(), "SHARES": postgres_server.create_database()}
    for schema in Schema:
        asyncio.run(_migrate(urls[schema.name], schema))
    settings = {
        "REPLAYVAULT_CATALOG_URL": urls["CATALOG"],
        "REPLAYVAULT_SHARES_URL": urls["SHARES"],
        "REPLAYVAULT_REDIS_URL": valkey_server.tcp_url,
        "REPLAYVAULT_OBJECTS_URL": bucket.url,
        **bucket.environment,
    }
    done = desk.run("doctor", "--json", "--data-dir", copy, more=settings)
    assert done.code == Exit.OK, done.out
    assert {findings(done)[name]["verdict"] for name in ("catalog", "share store", "Redis", "clock")} == {
        "ok"
    }
    assert findings(done)["object store writes"]["verdict"] == "ok"
    missing = {**settings, "REPLAYVAULT_OBJECTS_URL": bucket.url.replace("s3://", "s3://no-")}
    assert troubles(desk.invoke("doctor", "--json", "--data-dir", copy, more=missing)) == {"object store"}


async def _migrate(url: str, schema: Schema) -> None:
    database = open_database(url)
    await migrate(database, schema)
    await database.aclose()


@pytest.mark.parametrize(
    ("skew_s", "verdict"),
    [(0.0, "ok"), (1.9, "ok"), (-2.5, "note"), (29.0, "note"), (31.0, "wrong"), (-31.0, "wrong")],
)
def test_clocks(skew_s: float, verdict: str) -> None:
    assert clock_finding(skew_s).verdict.value == verdict


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        ("", Verdict.OK),
        ("/dev/zram0 partition 1 0 100", Verdict.OK),
        ("/swapfile file 1 0 -2", Verdict.NOTE),
    ],
)
def test_swap(tmp_path: Path, lines: str, verdict: Verdict) -> None:
    table = tmp_path / "swaps"
    table.write_text(f"Filename Type Size Used Priority\n{lines}\n")
    assert swap_finding(table).verdict is verdict


def test_what_is_no_folder_or_no_plain_file_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(mode=0o600)
    (tmp_path / "link").symlink_to(file)
    assert folder_finding("x", file).verdict is Verdict.WRONG
    assert key_file_finding("x", tmp_path / "link", named=False).verdict is Verdict.WRONG
    assert key_file_finding("x", file, named=False).verdict is Verdict.OK
    assert key_file_finding("x", tmp_path / "none", named=False).verdict is Verdict.NOTE
    assert key_file_finding("x", tmp_path / "none", named=True).verdict is Verdict.WRONG


def test_the_worst_finding_decides() -> None:
    fine, known, bad, away = ok("a", "b"), note("a", "b", "c"), wrong("a", "b", "c"), down("a", "b", "c")
    assert exit_of([fine, known]) is Exit.OK
    assert exit_of([fine, bad]) is Exit.PARTLY_FAILED
    assert exit_of([bad, away, fine]) is Exit.DEPENDENCY_DOWN
