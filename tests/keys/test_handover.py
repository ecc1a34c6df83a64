"""A job opens for the workers that it was sealed for, and says nothing that was not sealed."""

from __future__ import annotations

import dataclasses
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from nacl.public import PrivateKey, PublicKey, SealedBox

from keys import payload
from keys.errors import KeyMismatch, Malformed, MasterUnusable
from keys.handover import (
    Handover,
    create_worker_files,
    load_worker_key,
    load_worker_public_key,
    open_handover,
    seal_handover,
)
from keys.ids import FileId, KeyId, RecordingId, parse_patient, parse_tenant
from keys.secret import RecordingKey, WorkerKey

WORKER = WorkerKey(bytes(range(32)))
PUBLIC = PrivateKey(bytes(range(32))).public_key
HANDOVER = Handover(
    tenant=parse_tenant("clinic"),
    patient=parse_patient("patient-1"),
    recording_id=RecordingId(uuid.UUID(int=1)),
    key_id=KeyId(uuid.UUID(int=2)),
    key=RecordingKey(bytes(32)),
    source_file_id=FileId(uuid.UUID(int=3)),
    source_size_bytes=5,
)


def plain(handover: Handover) -> dict[str, Any]:
    found = {each.name: getattr(handover, each.name) for each in dataclasses.fields(handover)}
    return {**found, "key": handover.key.reveal(to="test")}


def fields() -> dict[str, Any]:
    private = PrivateKey(WORKER.reveal(to="test"))
    found: dict[str, Any] = json.loads(SealedBox(private).decrypt(seal_handover(HANDOVER, PUBLIC)))
    return found


def test_it_opens() -> None:
    assert plain(open_handover(seal_handover(HANDOVER, PUBLIC), WORKER)) == plain(HANDOVER)


def test_two_boxes_of_one_job_differ() -> None:
    assert seal_handover(HANDOVER, PUBLIC) != seal_handover(HANDOVER, PUBLIC)


def test_another_worker_key_or_an_altered_box_is_a_mismatch() -> None:
    box = seal_handover(HANDOVER, PUBLIC)
    with pytest.raises(KeyMismatch):
        open_handover(box, WorkerKey.generate())
    for byte in range(0, len(box), 7):
        turned = bytearray(box)
        turned[byte] ^= 1
        with pytest.raises(KeyMismatch):
            open_handover(bytes(turned), WORKER)
    for size in (0, 1, 47, 48, len(box) - 1):
        with pytest.raises(KeyMismatch):
            open_handover(box[:size], WORKER)


@pytest.mark.parametrize("name", fields())
def test_each_field_is_due_and_has_one_type(name: str) -> None:
    whole = fields()
    without = {key: whole[key] for key in whole if key != name}
    for broken in (without, {**whole, name: None}, {**whole, name: [whole[name]]}):
        with pytest.raises(Malformed):
            open_handover(SealedBox(PUBLIC).encrypt(payload.encode(broken)), WORKER)


@pytest.mark.parametrize(
    "changed",
    [
        {"label": "replayvault/handover/v2"},
        {"tenant": "a/b"},
        {"patient": ""},
        {"recording": "1"},
        {"source": "{" + str(uuid.UUID(int=3)) + "}"},
        {"key": "AAAA"},
        {"more": 1},
    ],
    ids=repr,
)
def test_a_field_that_means_nothing_is_malformed(changed: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        open_handover(SealedBox(PUBLIC).encrypt(payload.encode({**fields(), **changed})), WORKER)


class TestFiles:
    """The key pair is made once and stays a pair."""

    def test_they_are_a_pair_and_stay(self, tmp_path: Path) -> None:
        private, public = tmp_path / "worker.key", tmp_path / "worker.pub"
        for _ in range(2):
            create_worker_files(private, public)
        box = seal_handover(HANDOVER, load_worker_public_key(public))
        assert plain(open_handover(box, load_worker_key(private))) == plain(HANDOVER)

    def test_a_lost_public_file_is_made_of_the_private_one(self, tmp_path: Path) -> None:
        private, public = tmp_path / "worker.key", tmp_path / "worker.pub"
        create_worker_files(private, public)
        before = public.read_bytes()
        public.unlink()
        create_worker_files(private, public)
        assert public.read_bytes() == before

    @pytest.mark.parametrize("content", [b"", b"x", b"\xff", b"A" * 44, b"A" * 43 + b"\n" + b"A" * 43])
    def test_anything_else_is_unusable(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "worker.key"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(MasterUnusable):
            load_worker_key(path)
        with pytest.raises(MasterUnusable):
            load_worker_public_key(path)

    def test_the_public_key_is_no_secret_type(self, tmp_path: Path) -> None:
        create_worker_files(tmp_path / "worker.key", tmp_path / "worker.pub")
        assert type(load_worker_public_key(tmp_path / "worker.pub")) is PublicKey
        assert type(load_worker_key(tmp_path / "worker.key")) is WorkerKey
