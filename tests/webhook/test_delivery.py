"""Delivery to a real receiver: signed, repeated, coalesced, bounded, and never waited for."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter

from tests.webhook.receiver import SECRET, Received, Receiver, receiving
from vault.webhook.address import WebhookSecret, parse_secret
from vault.webhook.delivery import DRAIN_S, QUEUE_MESSAGES, Undelivered, Webhook
from vault.webhook.message import MAX_RECORDINGS, Kind, Message, Tally, headers

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
PATH = "/hook/s3cret-path?key=s3cret-query"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as started:
        yield started


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    lines = io.StringIO()
    structlog.reset_defaults()  # a command that ran in this process before may have silenced it
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(lines), cache_logger_on_first_use=False)
    yield lines
    structlog.reset_defaults()


def webhook(url: str, **changed: Any) -> Webhook:
    outcomes = Counter("told", "-", ["outcome"], registry=CollectorRegistry())
    secret = parse_secret(SECRET)
    given: dict[str, Any] = {"waits_s": (0.01, 0.02, 0.04), "calm_s": 0.3, **changed}
    return Webhook(
        url=url + PATH,
        secret=secret,
        release="1.4.2",
        audit="/srv/audit/x.jsonl",
        outcomes=outcomes,
        clock=lambda: NOON,
        **given,
    )


def told(sender: Webhook, outcome: str) -> float:
    return sum(
        sample.value
        for family in sender.outcomes.collect()
        for sample in family.samples
        if sample.name == "told_total" and sample.labels["outcome"] == outcome
    )


def open_it(sender: Webhook) -> None:
    sender.tell(Kind.BREAKER_OPENED, place="view.open", count=6, release="1.4.2", opening="aa")


def mismatch(sender: Webhook, number: int = 0) -> None:
    sender.count(Kind.KEY_MISMATCH, place="view.open", recording=f"recording-{number}")


async def test_a_message_says_what_happened_and_is_signed(receiver: Receiver) -> None:
    sender = webhook(receiver.url)
    async with sender.delivering():
        open_it(sender)
        got = await receiver.next("breaker.opened")
    assert got.json == {
        "type": "breaker.opened",
        "timestamp": "2026-03-01T12:00:00.000+00:00",
        "data": {
            "release": "1.4.2",
            "count": 6,
            "places": {"view.open": 6},
            "audit": "/srv/audit/x.jsonl",
            "opening": "aa",
        },
    }
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["webhook-timestamp"] == str(int(NOON.timestamp()))
    assert got.is_signed()
    assert not got.is_signed("whsec_" + base64.b64encode(b"another secret of some length").decode())
    assert told(sender, "delivered") == 1


async def test_without_a_secret_there_is_no_signature(receiver: Receiver) -> None:
    sender = webhook(receiver.url)
    sender.secret = None
    async with sender.delivering():
        open_it(sender)
        got = await receiver.next("breaker.opened")
    assert "webhook-signature" not in got.headers
    assert got.headers["webhook-id"].startswith("msg_")


def test_the_signature_is_that_of_the_specification_s_example() -> None:
    """The vector that the libraries of Standard Webhooks share."""
    secret = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = dt.datetime.fromtimestamp(1614265330, tz=dt.UTC)
    found = headers(b'{"test": 2432232314}', message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", at=at, secret=secret)
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_receiver_that_stumbles_gets_the_same_message_again(receiver: Receiver) -> None:
    receiver.answers = [500, 429, 503]
    sender = webhook(receiver.url)
    async with sender.delivering():
        open_it(sender)
        await receiver.next("breaker.opened", count=4)
    assert len({each.headers["webhook-id"] for each in receiver.received}) == 1
    assert len({each.body for each in receiver.received}) == 1
    assert (told(sender, "delivered"), told(sender, "failed")) == (1, 0)


@pytest.mark.parametrize("status", [302, 307, 404, 500])
async def test_it_gives_up_in_time_and_says_so_without_path_or_query(
    receiver: Receiver, log: io.StringIO, status: int
) -> None:
    receiver.answers = [status] * 4
    sender = webhook(receiver.url)
    async with sender.delivering():
        open_it(sender)
        await receiver.next("breaker.opened", count=4)
    assert len(receiver.received) == 4  # no redirect was followed
    assert (told(sender, "delivered"), told(sender, "failed")) == (0, 1)
    assert f"status {status}" in log.getvalue()
    assert receiver.url in log.getvalue()
    assert "s3cret" not in log.getvalue()


async def test_nobody_there(log: io.StringIO) -> None:
    async with receiving() as receiver:
        url = receiver.url
    sender = webhook(url)
    with pytest.raises(Undelivered):
        await sender.deliver(Message(kind=Kind.BREAKER_CLOSED, at=NOON, release="1", places={}, audit=""))
    assert told(sender, "failed") == 1
    assert "s3cret" not in log.getvalue()


async def test_a_storm_becomes_one_message_each_while(receiver: Receiver) -> None:
    sender = webhook(receiver.url)
    async with sender.delivering():
        mismatch(sender)
        first = await receiver.next("key_mismatch")
        for number in range(500):
            mismatch(sender, number)
        sender.count(Kind.CONSULTATION_TAKEN, place="recording.create", recording="")
        await receiver.next("consultation_taken")
        assert len(receiver.of("key_mismatch")) == 1
        second = await receiver.next("key_mismatch", count=2)
    assert first.json["data"]["count"] == 1
    assert second.json["data"]["count"] == 500
    assert len(second.json["data"]["recordings"]) == MAX_RECORDINGS
    assert len(receiver.received) == 3


async def test_a_slow_receiver_holds_nobody_up_and_the_queue_is_bounded(
    receiver: Receiver, log: io.StringIO
) -> None:
    receiver.delay_s = 30
    sender = webhook(receiver.url)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    async with sender.delivering():
        open_it(sender)
        await receiver.next("breaker.opened")
        for number in range(10_000):
            open_it(sender)
            mismatch(sender, number)
        assert loop.time() - began_s < 2.0
        assert len(sender._queue) == QUEUE_MESSAGES
        assert told(sender, "dropped") == 10_000 - QUEUE_MESSAGES
    assert loop.time() - began_s < DRAIN_S + 2.0
    assert told(sender, "failed") == 1
    assert told(sender, "dropped") == 10_000 + 1  # with the mismatches' one message
    assert "the process ended first" in log.getvalue()


async def test_what_is_left_is_delivered_at_the_end(receiver: Receiver) -> None:
    sender = webhook(receiver.url, calm_s=60.0)
    async with sender.delivering():
        mismatch(sender)
        await receiver.next("key_mismatch")
        mismatch(sender)
        open_it(sender)
    assert [each.json["type"] for each in receiver.received] == [
        "key_mismatch",
        "breaker.opened",
        "key_mismatch",
    ]


@given(secret=st.binary(min_size=24, max_size=64), word=st.text(max_size=40))
def test_every_signature_verifies_and_every_body_is_json(secret: bytes, word: str) -> None:
    tally = Tally()
    tally.add(word, word)
    message = Message(kind=Kind.KEY_MISMATCH, at=NOON, release=word, places=tally.places, audit=word)
    body = message.body()
    found = headers(body, message_id="msg_1", at=NOON, secret=WebhookSecret(secret))
    assert Received(found, body).is_signed("whsec_" + base64.b64encode(secret).decode())
    with contextlib.suppress(UnicodeEncodeError):
        assert json.loads(body)["data"]["release"] == word
