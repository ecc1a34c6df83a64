"""`replayvault get`: what a patient may take home."""

from __future__ import annotations

import fcntl
import os
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Desk
from tests.media import demuxed_s
from vault.cli.exits import Exit


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.mp4"


def test_a_recording_comes_home_and_plays(desk: Desk, recording: str, target: Path) -> None:
    done = desk.run("get", recording, "-o", target, "--json", token=desk.session)
    assert done.code == Exit.OK
    assert done.json["size_bytes"] == target.stat().st_size
    assert demuxed_s(target, stream="a:0") == pytest.approx(8, abs=1)
    assert target.stat().st_mode & 0o777 == 0o600
    again = desk.invoke("get", recording, "-o", target, token=desk.session)
    assert again.code == Exit.USAGE
    assert "exists already" in again.err
    assert desk.invoke("get", recording, "-o", target, "--force", token=desk.session).code == Exit.OK


def test_it_takes_its_own_name(desk: Desk, recording: str) -> None:
    done = desk.run("get", recording, "audio.mp4", token=desk.session)
    assert done.code == Exit.OK
    assert (desk.folder / "audio.mp4").stat().st_size > 1000


def test_it_goes_to_a_pipe_whole(desk: Desk, recording: str, target: Path) -> None:
    assert desk.run("get", recording, "-o", target, token=desk.session).code == Exit.OK
    words = [COMMAND, "get", recording, "-o", "-"]
    done = subprocess.run(
        words, env=desk.environment(desk.session), capture_output=True, timeout=60, check=True
    )
    assert done.stdout == target.read_bytes()


def test_a_reader_that_has_enough_ends_it_quietly(desk: Desk, recording: str) -> None:
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(
        [COMMAND, "get", recording, "-o", "-"],
        env=desk.environment(desk.session),
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    assert len(os.read(ours, 10)) == 10
    os.close(ours)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (Exit.FAILED, b"")


def test_it_goes_on_with_the_part_that_was_left(desk: Desk, recording: str, target: Path) -> None:
    assert desk.run("get", recording, "-o", target, token=desk.session).code == Exit.OK
    whole = target.read_bytes()
    target.unlink()
    part = target.with_name(f".{target.name}.{uuid.uuid4()}.part")
    part.write_bytes(whole[:1000])
    assert desk.run("get", recording, "-o", target, token=desk.session).code == Exit.OK
    assert target.read_bytes() == whole
    assert not part.exists()


@pytest.mark.parametrize("file", ["original", "manifest", "2160p.mp4"])
def test_inner_files_are_not_there(desk: Desk, recording: str, target: Path, file: str) -> None:
    done = desk.invoke("get", recording, file, "-o", target, token=desk.session)
    assert done.code == Exit.FAILED
    assert list(target.parent.iterdir()) == []


def test_a_backend_gets_no_film(desk: Desk, recording: str, target: Path) -> None:
    done = desk.invoke("get", recording, "-o", target)
    assert done.code == Exit.USAGE
    assert "session token" in done.err


def test_another_patient_gets_nothing(desk: Desk, recording: str, target: Path) -> None:
    notes = desk.folder / "n.webm"
    notes.write_text("x")
    words = ("--consultation", f"c-{uuid.uuid4()}", "--title", "x", "--no-wait")
    assert desk.invoke("put", notes, "--patient", "p-4", *words).code == Exit.IN_PROGRESS
    other = desk.folder / "p-4.token"
    assert desk.invoke("sessions", "open", "--patient", "p-4", "--save", other).code == Exit.OK
    done = desk.run("get", recording, "-o", target, token=other)
    assert done.code == Exit.FAILED
    assert "nothing here for you" in done.err
