"""Sessions and tickets: one form, one audience, and a time that begins and ends."""

from __future__ import annotations

import dataclasses
import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys import payload
from keys.errors import Expired, InvalidToken, Malformed
from keys.ids import Generation, KeyId, RecordingId, parse_patient, parse_tenant
from keys.records import Kind, RecordId, Token, seal_record
from keys.secret import PatientKey, RecordingKey, TierSecret
from keys.session import GrantedKey, Session, SessionScope, encode_session, open_session
from keys.ticket import Ticket, encode_ticket, open_ticket

TIER = TierSecret(bytes(32))
SESSION_TOKEN, TICKET_TOKEN = Token.generate(Kind.SESSION), Token.generate(Kind.TICKET)
TENANT, PATIENT = parse_tenant("clinic"), parse_patient("patient-1")
NOW = 1_780_000_000


def granted(number: int = 1) -> GrantedKey:
    return GrantedKey(KeyId(uuid.UUID(int=number)), Generation(number), PatientKey(bytes([number] * 32)))


SESSION = Session(
    audience="here",
    tenant=TENANT,
    patient=PATIENT,
    pseudonym="0f" * 16,
    epoch=3,
    issued_at=NOW,
    expires_at=NOW + 900,
    absolute_at=NOW + 28_800,
    idle_s=1800,
    scopes=frozenset({SessionScope.LIST, SessionScope.PLAY}),
    keys=(granted(1), granted(2)),
)
TICKET = Ticket(
    audience="here",
    tenant=TENANT,
    patient=PATIENT,
    pseudonym="0f" * 16,
    epoch=3,
    issued_at=NOW,
    expires_at=NOW + 600,
    recording_id=RecordingId(uuid.UUID(int=9)),
    key_id=KeyId(uuid.UUID(int=10)),
    key=RecordingKey(bytes(32)),
    roles=frozenset({"720p.mp4", "audio.mp4"}),
    purpose="casting",
    parent=RecordId(b"\7" * 32),
)


def opened_session(data: bytes, *, now_s: int = NOW, audience: str = "here") -> Session:
    record = seal_record(SESSION_TOKEN, TIER, data)
    return open_session(SESSION_TOKEN, record, [TIER], now_s=now_s, audience=audience)


def opened_ticket(data: bytes, *, now_s: int = NOW, audience: str = "here") -> Ticket:
    record = seal_record(TICKET_TOKEN, TIER, data)
    return open_ticket(TICKET_TOKEN, record, [TIER], now_s=now_s, audience=audience)


def plain(holder: Session | Ticket) -> dict[str, Any]:
    """Every field, secrets as bytes, so that two holders can be compared."""
    found = {each.name: getattr(holder, each.name) for each in dataclasses.fields(holder)}
    if isinstance(holder, Session):
        found["keys"] = [(key.key_id, key.generation, key.key.reveal(to="test")) for key in holder.keys]
    else:
        found["key"] = holder.key.reveal(to="test")
    return found


def test_what_was_sealed_is_opened() -> None:
    assert plain(opened_session(encode_session(SESSION))) == plain(SESSION)
    assert plain(opened_ticket(encode_ticket(TICKET))) == plain(TICKET)
    orphan = dataclasses.replace(TICKET, parent=None, roles=frozenset())
    assert plain(opened_ticket(encode_ticket(orphan))) == plain(orphan)


def test_a_key_is_found_by_its_id_alone() -> None:
    found = SESSION.key_for(KeyId(uuid.UUID(int=2)))
    assert found is SESSION.keys[1]
    assert SESSION.key_for(KeyId(uuid.UUID(int=3))) is None


def test_a_ticket_carries_no_patient_key() -> None:
    assert b"keys" not in encode_ticket(TICKET)
    assert not any(isinstance(getattr(TICKET, each.name), PatientKey) for each in dataclasses.fields(TICKET))


# Now, end and absolute end, all after the moment of issue, and whether it opens.
SESSION_TIMES = [
    (0, 900, 28_800, True),
    (899, 900, 28_800, True),
    (900, 900, 28_800, False),
    (10_000, 900, 28_800, False),
    (899, 28_800, 900, True),  # a refresh moved one limit beyond the other
    (900, 28_800, 900, False),
    (-30, 900, 28_800, True),  # the clock of another host
    (-31, 900, 28_800, False),
    (-100_000, 900, 28_800, False),
    (0, 0, 28_800, False),
    (0, 900, 0, False),
    (0, -1, -1, False),
]


@pytest.mark.parametrize(("age", "life", "limit", "opens"), SESSION_TIMES)
def test_the_times_of_a_session(*, age: int, life: int, limit: int, opens: bool) -> None:
    session = dataclasses.replace(SESSION, expires_at=NOW + life, absolute_at=NOW + limit)
    if opens:
        opened_session(encode_session(session), now_s=NOW + age)
        return
    with pytest.raises(Expired):
        opened_session(encode_session(session), now_s=NOW + age)


TICKET_TIMES = [
    (0, 600, True),
    (599, 600, True),
    (600, 600, False),
    (-30, 600, True),
    (-31, 600, False),
    (0, 0, False),
]


@pytest.mark.parametrize(("age", "life", "opens"), TICKET_TIMES)
def test_the_times_of_a_ticket(*, age: int, life: int, opens: bool) -> None:
    ticket = dataclasses.replace(TICKET, expires_at=NOW + life)
    if opens:
        opened_ticket(encode_ticket(ticket), now_s=NOW + age)
        return
    with pytest.raises(Expired):
        opened_ticket(encode_ticket(ticket), now_s=NOW + age)


def test_another_deployment_is_refused() -> None:
    with pytest.raises(InvalidToken):
        opened_session(encode_session(SESSION), audience="there")
    with pytest.raises(InvalidToken):
        opened_ticket(encode_ticket(TICKET), audience="there")


def test_a_ticket_is_no_session_and_the_reverse() -> None:
    with pytest.raises(Malformed):
        opened_session(encode_ticket(TICKET))
    with pytest.raises(Malformed):
        opened_ticket(encode_session(SESSION))
    with pytest.raises(InvalidToken):
        open_session(TICKET_TOKEN, b"", [TIER], now_s=NOW, audience="here")
    with pytest.raises(InvalidToken):
        open_ticket(SESSION_TOKEN, b"", [TIER], now_s=NOW, audience="here")


VALUES: list[Any] = [None, True, 1, 1.5, "", "x", [], [1], [None], {}, {"x": 1}, [{}], "\ud800", -1]


def _other_values(original: object) -> list[Any]:
    """Values of every other type than the field has."""
    return [each for each in VALUES if type(each) is not type(original)]


@pytest.mark.parametrize("name", json.loads(encode_session(SESSION)))
def test_a_session_field_has_one_type(name: str) -> None:
    fields = json.loads(encode_session(SESSION))
    for value in _other_values(fields[name]):
        with pytest.raises(Malformed):
            opened_session(payload_of({**fields, name: value}))
    without = {key: fields[key] for key in fields if key != name}
    with pytest.raises(Malformed):
        opened_session(payload_of(without))


@pytest.mark.parametrize("name", json.loads(encode_ticket(TICKET)))
def test_a_ticket_field_has_one_type(name: str) -> None:
    fields = json.loads(encode_ticket(TICKET))
    for value in _other_values(fields[name]):
        with pytest.raises(Malformed):
            opened_ticket(payload_of({**fields, name: value}))
    without = {key: fields[key] for key in fields if key != name}
    with pytest.raises(Malformed):
        opened_ticket(payload_of(without))


def payload_of(fields: Any) -> bytes:
    """Like `payload.encode`, which refuses lone surrogates by an error of Python's own."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="surrogatepass")


KEY_FIELDS = json.loads(encode_session(SESSION))["keys"][0]
BROKEN_KEYS: list[Any] = [
    None,
    "key",
    [],
    {},
    {**KEY_FIELDS, "more": 1},
    {**KEY_FIELDS, "id": 1},
    {**KEY_FIELDS, "id": KEY_FIELDS["id"].replace("-", "")},
    {**KEY_FIELDS, "generation": True},
    {**KEY_FIELDS, "generation": "1"},
    {**KEY_FIELDS, "key": 1},
    {**KEY_FIELDS, "key": KEY_FIELDS["key"] + "="},
    {**KEY_FIELDS, "key": KEY_FIELDS["key"][:-2]},
    {**KEY_FIELDS, "key": "\u00e4" * 43},
]


@pytest.mark.parametrize("key", BROKEN_KEYS, ids=repr)
def test_a_key_in_a_session_has_one_form(key: Any) -> None:
    fields = json.loads(encode_session(SESSION))
    with pytest.raises(Malformed):
        opened_session(payload_of({**fields, "keys": [key]}))


@pytest.mark.parametrize(
    "words", [["play", "list"], ["list", "list"], ["write"], [1], [[]], [None]], ids=repr
)
def test_a_set_has_one_form(words: list[Any]) -> None:
    with pytest.raises(Malformed):
        opened_session(payload_of({**json.loads(encode_session(SESSION)), "scopes": words}))
    if words != ["write"]:
        with pytest.raises(Malformed):
            opened_ticket(payload_of({**json.loads(encode_ticket(TICKET)), "roles": words}))


@pytest.mark.parametrize("name", ["tenant", "patient"])
def test_a_reference_in_a_record_is_one(name: str) -> None:
    for text in ("", "a/b", "a" * 129):
        with pytest.raises(Malformed):
            opened_session(payload_of({**json.loads(encode_session(SESSION)), name: text}))


class TestPayload:
    """Canonical JSON, exactly the fields that are due."""

    FIELDS = {"name": str, "size": int}  # noqa: RUF012 - read only

    @given(name=st.text(st.characters(exclude_categories=["Cs"])), size=st.integers())
    def test_it_reads_what_it_wrote(self, name: str, size: int) -> None:
        fields = {"name": name, "size": size}
        assert payload.decode(payload.encode(fields), fields=self.FIELDS) == fields

    @given(data=st.binary(max_size=60))
    def test_anything_else_is_malformed(self, data: bytes) -> None:
        with pytest.raises(Malformed):
            payload.decode(data, fields=self.FIELDS)

    @pytest.mark.parametrize(
        "data",
        [
            b'{"name":"x","size":1} ',
            b'{"name":"x", "size":1}',
            b'{"size":1,"name":"x"}',
            b'{"name":"x","size":1,"size":1}',
            b'{"name":"\\u0078","size":1}',
            b'{"name":"x","size":1.0}',
            b'{"name":"x","size":1e0}',
            b'{"name":"x","size":-0}',
            b'{"name":"x","size":true}',
            b'{"name":"x","size":NaN}',
            b'\xef\xbb\xbf{"name":"x","size":1}',
            '{"name":"x","size":1}'.encode("utf-16"),
            b'{"name":"\\ud800","size":1}',
            b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b',"size":1}',
            b'{"name":"x","size":' + b"9" * 5000 + b"}",
            b"null",
            b"[]",
            b"",
        ],
        ids=lambda data: repr(data[:30]),
    )
    def test_there_is_one_form(self, data: bytes) -> None:
        with pytest.raises(Malformed):
            payload.decode(data, fields=self.FIELDS)

    @given(data=st.binary(max_size=70))
    def test_bytes_have_one_text(self, data: bytes) -> None:
        assert payload.to_bytes(payload.to_text(data)) == data

    @given(text=st.text("ABCwxyz0189-_+/= \n", max_size=12))
    def test_another_text_is_malformed(self, text: str) -> None:
        try:
            data = payload.to_bytes(text)
        except Malformed:
            return
        assert payload.to_text(data) == text
