"""Session records opened and made by someone who has all three locks: what tests of times and audiences need."""

from __future__ import annotations

import asyncio

from keys.records import Kind, Token, open_record, seal_record
from keys.session import Session, _decode_session, encode_session
from keys.ticket import Ticket, _decode_ticket, encode_ticket
from keys.tier import load_tier_file
from tests.adversary.conftest import Scene
from tests.adversary.vandal import redis_of

PREFIX = b"rv:record:"
Record = Session | Ticket | bytes


def parsed(text: str) -> Token:
    """A token of either kind."""
    return Token.parse(text, kind=Kind.TICKET if text.startswith("rvt_") else Kind.SESSION)


async def session_of(scene: Scene, text: str) -> Session:
    """What the record behind a session's token says."""
    return _decode_session(await _opened(scene, text))


async def ticket_of(scene: Scene, text: str) -> Ticket:
    """What the record behind a ticket says."""
    return _decode_ticket(await _opened(scene, text))


async def sealed_of(scene: Scene, text: str) -> bytes:
    """The record behind a token, as it stands in Redis."""
    async with redis_of(scene.world) as redis:
        record: bytes = await redis.get(PREFIX + parsed(text).record_id)
        return record


async def forge(scene: Scene, text: str, record: Record) -> None:
    """Put this behind a token: sealed as the product does, or the bytes of a sealed record as they are."""
    token = parsed(text)
    if isinstance(record, Session | Ticket):
        (tier,) = await asyncio.to_thread(load_tier_file, scene.world.settings.tier_file)
        plain = encode_session(record) if isinstance(record, Session) else encode_ticket(record)
        record = seal_record(token, tier, plain)
    async with redis_of(scene.world) as redis:
        await redis.set(PREFIX + token.record_id, record, ex=600)


async def _opened(scene: Scene, text: str) -> bytes:
    tiers = await asyncio.to_thread(load_tier_file, scene.world.settings.tier_file)
    return open_record(parsed(text), await sealed_of(scene, text), tiers)
