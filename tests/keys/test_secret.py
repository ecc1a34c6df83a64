"""Secrets, and whatever holds them, do not slip out."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import pickle
import pprint
import traceback
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from keys import secret as secrets_module
from keys.errors import KeysError, Malformed
from keys.handover import Handover
from keys.ids import FileId, Generation, KeyId, RecordingId, parse_patient, parse_tenant
from keys.master.local import LocalMaster
from keys.opening import open_recording_key, wrap_recording_key
from keys.records import Kind, Token, open_record, seal_record
from keys.seal import seal, unseal
from keys.secret import MasterKey, PatientKey, RecordingKey, Secret, TierSecret, WorkerKey
from keys.session import GrantedKey, Session, SessionScope, encode_session, open_session
from keys.strongroom import OpenedPatient
from keys.ticket import Ticket
from vault.objects.access import RecordingAccess
from vault.sessions.minting import Minted

KINDS = [
    each
    for each in vars(secrets_module).values()
    if isinstance(each, type) and issubclass(each, Secret) and each is not Secret
]
RAW = b"not to be seen by anybody, ever!"
SPELLINGS = (RAW, RAW.hex().encode(), repr(RAW)[2:-1].encode(), b"bm90IHRvIGJlIHNlZW4gYnkgYW55Ym9keSwgZXZlci")
TENANT, PATIENT = parse_tenant("clinic"), parse_patient("patient-1")


def test_every_kind_is_tested() -> None:
    assert len(KINDS) == 9
    assert len({kind.purpose for kind in KINDS}) == 9


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def secret(request: pytest.FixtureRequest) -> Secret:
    kind: type[Secret] = request.param
    return kind(RAW)


def shows(text: str | bytes) -> bool:
    data = text.encode() if isinstance(text, str) else text
    return any(each in data for each in SPELLINGS)


PRINTERS: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "str": str,
    "format": lambda each: f"{each}",
    "format with a width": lambda each: f"{each:>80}",
    "format of the repr": lambda each: f"{each!r:>80}",
    "percent": lambda each: "%s %r" % (each, each),  # noqa: UP031 - this is what logging does
    "pprint": pprint.pformat,
    "in a tuple": lambda each: repr((each,)),
    "json with a fallback": lambda each: json.dumps(each, default=str),
}


@pytest.mark.parametrize("name", PRINTERS)
def test_it_does_not_print(secret: Secret, name: str) -> None:
    printed = PRINTERS[name](secret)
    assert not shows(printed)
    assert secret.purpose in printed


SMUGGLERS: dict[str, Callable[[Any], object]] = {
    "pickle": pickle.dumps,
    "pickle, first protocol": lambda each: pickle.dumps(each, protocol=0),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "state": lambda each: each.__getstate__(),
    "reduce": lambda each: each.__reduce__(),
    "hash": hash,
    "equal": lambda each: each == each,  # noqa: PLR0124 - the question itself is refused
    "unequal": lambda each: each != each,  # noqa: PLR0124
    "equal to its bytes": lambda each: each == RAW,
    "in a set": lambda each: {each},
    "order": lambda each: each < each,  # noqa: PLR0124
    "bytes": bytes,
    "memoryview": memoryview,
    "iterate": list,
    "vars": vars,
    "length": len,
}


@pytest.mark.parametrize("name", SMUGGLERS)
def test_it_refuses(secret: Secret, name: str) -> None:
    with pytest.raises(TypeError) as refusal:
        SMUGGLERS[name](secret)
    assert not shows(str(refusal.value))


def test_it_says_what_it_was_revealed_to() -> None:
    key = RecordingKey(RAW)
    assert key.reveal(to="test") == RAW
    with pytest.raises(ValueError, match="name what needs"):
        key.reveal(to="")


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_it_has_one_size(size: int) -> None:
    with pytest.raises(Malformed):
        RecordingKey(bytes(size))


def test_it_keeps_bytes_of_its_own() -> None:
    raw = bytearray(RAW)
    key = RecordingKey(bytes(raw))
    raw[:] = bytes(32)
    assert key.reveal(to="test") == RAW


def test_fresh_ones_differ() -> None:
    assert len({RecordingKey.generate().reveal(to="test") for _ in range(100)}) == 100


def granted() -> GrantedKey:
    return GrantedKey(KeyId(uuid.uuid4()), Generation(1), PatientKey(RAW))


def a_session() -> Session:
    return Session(
        audience="here",
        tenant=TENANT,
        patient=PATIENT,
        pseudonym="0f" * 16,
        epoch=1,
        issued_at=0,
        expires_at=900,
        absolute_at=900,
        idle_s=900,
        scopes=frozenset(SessionScope),
        keys=(granted(),),
    )


def a_ticket() -> Ticket:
    return Ticket(
        audience="here",
        tenant=TENANT,
        patient=PATIENT,
        pseudonym="0f" * 16,
        epoch=1,
        issued_at=0,
        expires_at=900,
        recording_id=RecordingId(uuid.uuid4()),
        key_id=KeyId(uuid.uuid4()),
        key=RecordingKey(RAW),
        roles=frozenset(),
        purpose="",
        parent=None,
    )


def a_handover() -> Handover:
    return Handover(
        tenant=TENANT,
        patient=PATIENT,
        recording_id=RecordingId(uuid.uuid4()),
        key_id=KeyId(uuid.uuid4()),
        key=RecordingKey(RAW),
        source_file_id=FileId(uuid.uuid4()),
        source_size_bytes=1,
    )


def an_access() -> RecordingAccess:
    return RecordingAccess(
        tenant=TENANT,
        patient=PATIENT,
        recording_id=RecordingId(uuid.uuid4()),
        key_id=KeyId(uuid.uuid4()),
        key=RecordingKey(RAW),
    )


HOLDERS: dict[str, Callable[[], Any]] = {
    "granted key": granted,
    "session": a_session,
    "ticket": a_ticket,
    "handover": a_handover,
    "access": an_access,
    "opened patient": lambda: OpenedPatient(TENANT, PATIENT, "0f" * 16, granted(), (granted(),)),
    "local master": lambda: LocalMaster("local", {1: MasterKey(RAW)}),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_a_holder_does_not_print_its_secret(name: str) -> None:
    holder = HOLDERS[name]()
    printed = [printer(holder) for name, printer in PRINTERS.items() if name != "format with a width"]
    assert not any(shows(each) for each in printed)


@pytest.mark.parametrize("name", HOLDERS)
@pytest.mark.parametrize("smuggler", [dataclasses.asdict, dataclasses.astuple, copy.deepcopy, pickle.dumps])
def test_a_holder_is_not_taken_apart(name: str, smuggler: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        smuggler(HOLDERS[name]())


def test_two_holders_are_never_the_same() -> None:
    one = granted()
    assert one == one  # noqa: PLR0124 - by identity, and without comparing keys
    assert one != GrantedKey(one.key_id, one.generation, one.key)


TOKEN_TEXT = "rvs_bm90IHRvIGJlIHNlZW4gYnkgYW55Ym9keSwgZXZlci_"


@pytest.mark.parametrize("name", sorted(PRINTERS.keys() - {"format with a width"}))
def test_a_token_does_not_print(name: str) -> None:
    printed = PRINTERS[name](Token.parse(TOKEN_TEXT, kind=Kind.SESSION))
    assert "session token, not shown" in printed
    assert not shows(printed)


@pytest.mark.parametrize("name", ["pickle", "copy", "deepcopy", "state", "bytes", "vars"])
def test_a_token_refuses(name: str) -> None:
    with pytest.raises(TypeError):
        SMUGGLERS[name](Token.parse(TOKEN_TEXT, kind=Kind.SESSION))


def test_what_was_minted_is_not_taken_apart() -> None:
    token = Token.parse(TOKEN_TEXT, kind=Kind.SESSION)
    minted: Any = Minted(token, token.record_id, "0f" * 16, None, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        dataclasses.asdict(minted)
    assert not any(shows(each) for each in (repr(minted), str(minted), pprint.pformat(minted)))


def _wrong_seal() -> None:
    unseal(
        seal(RAW, RecordingKey(RAW), person=b"p" * 16, context=b""),
        RecordingKey(RAW),
        person=b"q" * 16,
        context=b"",
    )


def _damaged_seal() -> None:
    sealed = bytearray(seal(RAW, RecordingKey(RAW), person=b"p" * 16, context=b""))
    sealed[-1] ^= 1
    unseal(bytes(sealed), RecordingKey(RAW), person=b"p" * 16, context=b"")


def _wrong_wrap() -> None:
    place: dict[str, Any] = {
        "tenant": TENANT,
        "patient": PATIENT,
        "recording_id": RecordingId(uuid.uuid4()),
        "recording_key_id": KeyId(uuid.uuid4()),
    }
    wrap = wrap_recording_key(RecordingKey(RAW), granted(), **place)
    open_recording_key([wrap], [granted()], **place)


def _wrong_token() -> None:
    Token.parse(TOKEN_TEXT + "x", kind=Kind.SESSION)


def _wrong_kind() -> None:
    Token.parse(TOKEN_TEXT, kind=Kind.TICKET)


def _wrong_tier() -> None:
    token = Token.parse(TOKEN_TEXT, kind=Kind.SESSION)
    open_record(token, seal_record(token, TierSecret(RAW), RAW), [TierSecret.generate()])


def _ended() -> None:
    token, tier = Token.parse(TOKEN_TEXT, kind=Kind.SESSION), TierSecret(RAW)
    record = seal_record(token, tier, encode_session(a_session()))
    open_session(token, record, [tier], now_s=10_000, audience="here")


@pytest.mark.parametrize(
    "failing", [_wrong_seal, _damaged_seal, _wrong_wrap, _wrong_token, _wrong_kind, _wrong_tier, _ended]
)
def test_no_error_tells_a_secret(failing: Callable[[], None]) -> None:
    """What a log would write of a failure: the message, the chain of causes and the notes."""
    stream = io.StringIO()
    logger = logging.Logger("test")  # noqa: LOG001 - one of its own, that nobody else listens to
    logger.addHandler(logging.StreamHandler(stream))
    with pytest.raises(KeysError) as failure:
        failing()
    try:
        raise failure.value
    except KeysError:
        logger.exception("it failed: %s", failure.value)
    logged = stream.getvalue() + "".join(traceback.format_exception(failure.value))
    assert type(failure.value).__name__ in logged
    assert not shows(logged)
    assert TOKEN_TEXT not in logged
    assert failure.value.__cause__ is None
    assert failure.value.__context__ is None or failure.value.__suppress_context__


def test_a_worker_key_does_not_print_as_pynacl_prints_its_own() -> None:
    assert not shows(f"{WorkerKey(RAW)}")
