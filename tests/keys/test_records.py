"""Tokens and sealed records: three locks, each of which is needed."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keys.errors import Damaged, InvalidToken, KeysError, Malformed, MalformedId, NoSuchKey, WrongKind
from keys.records import Kind, Token, open_record, parse_record_id, seal_record, tier_id
from keys.secret import TierSecret
from keys.service_token import hash_service_token, new_service_token

TIER, OTHER = TierSecret(bytes(32)), TierSecret(b"\1" * 32)
SESSION = Token.parse("rvs_" + "A" * 43, kind=Kind.SESSION)


def refusal_of(token: Token, record: bytes, *tiers: TierSecret) -> type[KeysError]:
    with pytest.raises(KeysError) as refusal:
        open_record(token, record, tiers or (TIER,))
    return type(refusal.value)


class TestToken:
    """Its text says its kind, and nothing but its text opens its record."""

    @pytest.mark.parametrize("kind", Kind)
    def test_a_fresh_one_parses(self, kind: Kind) -> None:
        text = Token.generate(kind).reveal(to="test")
        assert len(text) == 47
        assert Token.parse(text, kind=kind).reveal(to="test") == text

    def test_fresh_ones_differ(self) -> None:
        assert len({Token.generate(Kind.SESSION).reveal(to="test") for _ in range(500)}) == 500

    def test_the_other_kind_is_told(self) -> None:
        with pytest.raises(WrongKind):
            Token.parse("rvt_" + "A" * 43, kind=Kind.SESSION)
        with pytest.raises(WrongKind):
            Token.parse("rvs_" + "A" * 43, kind=Kind.TICKET)

    @given(text=st.text(max_size=60))
    @example("")
    @example("rvs_" + "A" * 42)
    @example("rvs_" + "A" * 44)
    @example("rvs_" + "A" * 43 + "\n")
    @example("RVS_" + "A" * 43)
    @example("rvk_" + "A" * 43)
    @example("rvs_" + "\u00c4" * 43)
    @example("rvs_" + "A" * 42 + "=")
    def test_nothing_else_is_a_token(self, text: str) -> None:
        with pytest.raises(InvalidToken) as refusal:
            Token.parse(text, kind=Kind.SESSION)
        assert str(refusal.value) == "not a token"

    def test_session_and_ticket_of_the_same_bits_share_nothing(self) -> None:
        ticket = Token.parse("rvt_" + "A" * 43, kind=Kind.TICKET)
        assert ticket.record_id != SESSION.record_id
        assert ticket.seal_key(TIER) != SESSION.seal_key(TIER)

    def test_id_and_key_are_apart(self) -> None:
        assert SESSION.record_id != SESSION.seal_key(TIER)
        assert SESSION.seal_key(TIER) != SESSION.seal_key(OTHER)

    def test_it_names_who_receives_it(self) -> None:
        with pytest.raises(ValueError, match="name who receives"):
            SESSION.reveal(to="")

    def test_its_record_has_a_name_in_hexadecimal_alone(self) -> None:
        assert parse_record_id(SESSION.record_id.hex()) == SESSION.record_id
        for text in (
            "",
            "-" * 64,
            SESSION.record_id.hex().upper(),
            SESSION.record_id.hex()[2:],
            "\u0661" * 64,
        ):
            with pytest.raises(MalformedId):
                parse_record_id(text)


class TestRecord:
    """Token, record and tier secret: with any two of them nothing opens."""

    @given(plain=st.binary(max_size=500))
    def test_it_opens(self, plain: bytes) -> None:
        assert open_record(SESSION, seal_record(SESSION, TIER, plain), [TIER]) == plain

    def test_without_its_token_it_is_damaged(self) -> None:
        record = seal_record(SESSION, TIER, b"payload")
        assert refusal_of(Token.generate(Kind.SESSION), record) is Damaged
        assert refusal_of(Token.parse("rvt_" + "A" * 43, kind=Kind.TICKET), record) is Damaged

    def test_without_its_tier_secret_no_key_is_tried(self) -> None:
        assert refusal_of(SESSION, seal_record(SESSION, TIER, b"payload"), OTHER) is NoSuchKey
        with pytest.raises(NoSuchKey):
            open_record(SESSION, seal_record(SESSION, TIER, b"payload"), [])

    def test_two_tier_secrets_are_current_while_one_replaces_the_other(self) -> None:
        for sealing in (TIER, OTHER):
            record = seal_record(SESSION, sealing, b"payload")
            assert open_record(SESSION, record, [TIER, OTHER]) == b"payload"
            assert open_record(SESSION, record, [OTHER, TIER]) == b"payload"

    def test_a_tier_id_says_which_and_nothing_else(self) -> None:
        ids = {tier_id(TierSecret(bytes([n] * 32))) for n in range(100)}
        assert len(ids) == 100
        assert {len(each) for each in ids} == {8}

    @pytest.mark.parametrize("bit", [0, 3, 7])
    def test_every_flipped_bit_has_its_name(self, bit: int) -> None:
        record = seal_record(SESSION, TIER, b"payload")
        for byte in range(len(record)):
            turned = bytearray(record)
            turned[byte] ^= 1 << bit
            expected = Malformed if byte == 0 else NoSuchKey if byte < 9 else Damaged
            assert refusal_of(SESSION, bytes(turned)) is expected, byte

    def test_every_length_has_its_name(self) -> None:
        record = seal_record(SESSION, TIER, b"payload")
        for size in range(len(record)):
            assert refusal_of(SESSION, record[:size]) is (Malformed if size < 49 else Damaged), size
        assert refusal_of(SESSION, record + b"\0") is Damaged

    def test_a_tier_id_put_over_anothers_record_opens_nothing(self) -> None:
        record = seal_record(SESSION, OTHER, b"payload")
        forged = record[:1] + tier_id(TIER) + record[9:]
        assert refusal_of(SESSION, forged, TIER, OTHER) is Damaged


class TestServiceToken:
    """Hashed at rest; no other token's text has a hash here."""

    def test_a_fresh_one_has_a_hash(self) -> None:
        texts = {new_service_token() for _ in range(200)}
        assert len(texts) == 200
        hashes = {hash_service_token(each) for each in texts}
        assert len(hashes) == 200
        assert {len(each) for each in hashes} == {32}

    @given(text=st.text(max_size=60))
    @example("rvs_" + "A" * 43)
    @example("rvk_" + "A" * 43 + "\n")
    @example("rvk_" + "A" * 42 + "\u0661")
    def test_nothing_else_has_one(self, text: str) -> None:
        with pytest.raises(InvalidToken):
            hash_service_token(text)
