"""Vectors of sessions, tickets, service tokens and worker handovers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import nacl.bindings

from keys import contexts, payload
from keys.digest import blake2b
from keys.handover import open_handover
from keys.records import Kind, Token, open_record, seal_record_with_nonce, tier_id
from keys.secret import TierSecret, WorkerKey
from keys.service_token import hash_service_token
from keys.session import open_session
from keys.ticket import open_ticket
from vectors.judging import (
    PATIENT,
    PATIENT_KEY_ID,
    RECORDING,
    RECORDING_KEY_ID,
    TENANT,
    Changes,
    Inputs,
    Page,
    fixed,
    flip,
)

NONCE: Final = fixed("nonce ", size_bytes=24)
TIER: Final = TierSecret(fixed("tier secret "))
OLD_TIER: Final = TierSecret(fixed("old tier secret "))
SESSION_TOKEN: Final = "rvs_" + payload.to_text(fixed("session token "))
TICKET_TOKEN: Final = "rvt_" + payload.to_text(fixed("ticket token "))
SERVICE_TOKEN: Final = "rvk_" + payload.to_text(fixed("service token "))
WORKER: Final = WorkerKey(fixed("worker key "))
AUDIENCE: Final = "vault.example"
NOW_S: Final = 1_780_000_000

SESSION: Final[dict[str, Any]] = {
    "absolute_at": NOW_S + 28_800,
    "audience": AUDIENCE,
    "epoch": 3,
    "expires_at": NOW_S + 900,
    "idle_s": 1800,
    "issued_at": NOW_S,
    "keys": [
        {"generation": 1, "id": str(PATIENT_KEY_ID), "key": payload.to_text(fixed("patient key "))},
        {"generation": 2, "id": str(RECORDING_KEY_ID), "key": payload.to_text(fixed("patient key two "))},
    ],
    "patient": PATIENT,
    "pseudonym": "0f" * 16,
    "scopes": ["list", "play"],
    "tenant": TENANT,
}
TICKET: Final[dict[str, Any]] = {
    "audience": AUDIENCE,
    "epoch": 3,
    "expires_at": NOW_S + 600,
    "issued_at": NOW_S,
    "key": payload.to_text(fixed("recording key ")),
    "key_id": str(RECORDING_KEY_ID),
    "parent": "",
    "patient": PATIENT,
    "pseudonym": "0f" * 16,
    "purpose": "casting",
    "recording": str(RECORDING),
    "roles": ["720p.mp4", "audio.mp4"],
    "tenant": TENANT,
}
HANDOVER: Final[dict[str, Any]] = {
    "key": payload.to_text(fixed("recording key ")),
    "key_id": str(RECORDING_KEY_ID),
    "label": contexts.HANDOVER,
    "patient": PATIENT,
    "recording": str(RECORDING),
    "source": "00000000-0000-4000-8000-000000000001",
    "source_size_bytes": 123_456_789,
    "tenant": TENANT,
}


def pages() -> Iterator[Page]:
    """The pages of this module."""
    yield _record_page(Kind.SESSION, SESSION_TOKEN, SESSION)
    yield _record_page(Kind.TICKET, TICKET_TOKEN, TICKET)
    yield _handover_page()
    yield _service_token_page()


def _tiers(inputs: Inputs) -> tuple[TierSecret, ...]:
    return tuple(TierSecret(bytes.fromhex(each)) for each in inputs["tier_secrets"])


def _judge_record(inputs: Inputs) -> dict[str, Any]:
    kind = Kind[inputs["kind"].upper()]
    token = Token.parse(inputs["token"], kind=kind)
    record, tiers = bytes.fromhex(inputs["record"]), _tiers(inputs)
    if kind is Kind.SESSION:
        open_session(token, record, tiers, now_s=inputs["now_s"], audience=inputs["audience"])
    else:
        open_ticket(token, record, tiers, now_s=inputs["now_s"], audience=inputs["audience"])
    return {
        "record_id": token.record_id.hex(),
        "tier_ids": [tier_id(each).hex() for each in tiers],
        "payload": open_record(token, record, tiers).decode(),
    }


def _record_page(kind: Kind, text: str, content: dict[str, Any]) -> Page:
    name = kind.name.lower()
    page = Page(name, "9", _judge_record)
    token = Token.parse(text, kind=kind)

    def sealed(plain: bytes) -> bytes:
        return seal_record_with_nonce(token, TIER, plain, nonce=NONCE)

    record = sealed(payload.encode(content))
    inputs = {
        "kind": name,
        "token": text,
        "tier_secrets": [TIER.reveal(to="vector").hex(), OLD_TIER.reveal(to="vector").hex()],
        "record": record.hex(),
        "now_s": NOW_S + 1,
        "audience": AUDIENCE,
    }
    page.opens(f"a {name}", inputs, also={"nonce": NONCE.hex()})
    old = [OLD_TIER.reveal(to="vector").hex(), TIER.reveal(to="vector").hex()]
    page.opens("sealed by the other of two tier secrets", {**inputs, "tier_secrets": old})
    page.opens("from a clock 30 s ahead", {**inputs, "now_s": NOW_S - 30})
    _refuse_locks(page, inputs, record=record, old=old)
    for reason, at in {"past": content["expires_at"], "future": NOW_S - 31}.items():
        page.refuses(f"in the {reason}", "Expired", inputs, now_s=at)
    page.refuses("another deployment", "InvalidToken", inputs, audience="other.example")
    words = "scopes" if kind is Kind.SESSION else "roles"
    for reason, plain in {
        "white space": json.dumps(content, sort_keys=True).encode(),
        "a member that is not known": payload.encode({**content, "x": 1}),
        "a member missing": payload.encode({key: content[key] for key in content if key != "epoch"}),
        "true for a number": payload.encode({**content, "epoch": True}),
        "a patient that is no reference": payload.encode({**content, "patient": "a/b"}),
        f"{words} not sorted": payload.encode({**content, words: content[words][::-1]}),
        "a set with a number": payload.encode({**content, words: [1]}),
        "no JSON": b"\xff",
    }.items():
        page.refuses(reason, "Malformed", inputs, record=sealed(plain).hex())
    if kind is Kind.SESSION:
        _refuse_keys(page, inputs, sealed=lambda fields: sealed(payload.encode({**content, **fields})).hex())
    return page


def _refuse_keys(page: Page, inputs: Inputs, *, sealed: Any) -> None:
    key = SESSION["keys"][0]
    page.refuses("a scope that is not known", "Malformed", inputs, record=sealed({"scopes": ["write"]}))
    changes: Changes = {
        "a key with a member more": {**key, "x": 1},
        "a key with an upper-case id": {**key, "id": key["id"].upper().replace("1", "A")},
        "a key of 31 bytes": {**key, "key": payload.to_text(bytes(31))},
        "a padded key": {**key, "key": key["key"] + "="},
        "a generation as text": {**key, "generation": "1"},
    }
    for reason, changed in changes.items():
        page.refuses(reason, "Malformed", inputs, record=sealed({"keys": [changed]}))
    late = sealed({"expires_at": SESSION["absolute_at"] + 1})
    page.refuses("past its absolute end", "Expired", inputs, record=late, now_s=SESSION["absolute_at"])


def _refuse_locks(page: Page, inputs: Inputs, *, record: bytes, old: list[str]) -> None:
    text = inputs["token"]
    page.refuses("another tier secret", "NoSuchKey", inputs, tier_secrets=old[:1])
    page.refuses("another token", "Damaged", inputs, token=text[:4] + payload.to_text(fixed("other ")))
    swapped = ("rvt_" if text.startswith("rvs_") else "rvs_") + text[4:]
    page.refuses("a token of the other kind", "WrongKind", inputs, token=swapped)
    page.refuses("a token too short", "InvalidToken", inputs, token=text[:-1])
    page.refuses("a token with a line break", "InvalidToken", inputs, token=text + "\n")
    page.refuses("another version", "Malformed", inputs, record=flip(record, byte=0, mask=3).hex())
    page.refuses("cut", "Malformed", inputs, record=record[:48].hex())
    page.refuses("a flipped bit of the tier id", "NoSuchKey", inputs, record=flip(record, byte=1).hex())
    page.refuses("a flipped bit of the nonce", "Damaged", inputs, record=flip(record, byte=9).hex())
    page.refuses("a flipped bit of the payload", "Damaged", inputs, record=flip(record, byte=40).hex())
    page.refuses("a flipped bit of the tag", "Damaged", inputs, record=flip(record, byte=-1).hex())


def _box(plain: bytes, *, to: bytes) -> bytes:
    """A sealed box whose one-time key pair is given, so that it comes out the same each time."""
    public, private = nacl.bindings.crypto_box_seed_keypair(fixed("one-time seed "))
    nonce = blake2b(public + to, person=b"", size_bytes=24)
    return public + nacl.bindings.crypto_box(plain, nonce, to, private)


def _judge_handover(inputs: Inputs) -> dict[str, Any]:
    opened = open_handover(bytes.fromhex(inputs["box"]), WorkerKey(bytes.fromhex(inputs["worker_key"])))
    return {
        "tenant": opened.tenant,
        "patient": opened.patient,
        "recording_id": str(opened.recording_id),
        "recording_key_id": str(opened.key_id),
        "recording_key": opened.key.reveal(to="vector").hex(),
        "source_file_id": str(opened.source_file_id),
        "source_size_bytes": opened.source_size_bytes,
    }


def _handover_page() -> Page:
    page = Page("handover", "10", _judge_handover)
    raw = WORKER.reveal(to="vector")
    public = nacl.bindings.crypto_scalarmult_base(raw)
    box = _box(payload.encode(HANDOVER), to=public)
    inputs = {"worker_key": raw.hex(), "box": box.hex()}
    also = {"public_key": public.hex(), "payload": payload.encode(HANDOVER).decode()}
    page.opens("a job", inputs, also=also)
    page.refuses("another worker key", "KeyMismatch", inputs, worker_key=fixed("another key ").hex())
    for byte, name in ((0, "one-time key"), (40, "tag"), (-1, "ciphertext")):
        page.refuses(f"a flipped bit of the {name}", "KeyMismatch", inputs, box=flip(box, byte=byte).hex())
    page.refuses("cut", "KeyMismatch", inputs, box=box[:47].hex())
    changes: Changes = {
        "another label": {"label": "replayvault/handover/v2"},
        "a member more": {"x": 1},
        "a size as text": {"source_size_bytes": "1"},
        "a patient that is no reference": {"patient": ""},
        "a key of 31 bytes": {"key": payload.to_text(bytes(31))},
    }
    for name, changed in changes.items():
        broken = _box(payload.encode({**HANDOVER, **changed}), to=public)
        page.refuses(name, "Malformed", inputs, box=broken.hex())
    return page


def _judge_service_token(inputs: Inputs) -> dict[str, Any]:
    return {"hash": hash_service_token(inputs["token"]).hex()}


def _service_token_page() -> Page:
    page = Page("service-token", "11", _judge_service_token)
    page.opens("a service token", {"token": SERVICE_TOKEN})
    for name, text in {
        "a session token": SESSION_TOKEN,
        "too short": SERVICE_TOKEN[:-1],
        "too long": SERVICE_TOKEN + "A",
        "padded": SERVICE_TOKEN[:-1] + "=",
        "with a line break": SERVICE_TOKEN + "\n",
        "nothing": "",
    }.items():
        page.refuses(name, "InvalidToken", {"token": text})
    return page
