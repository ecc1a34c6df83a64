"""Clients of Redis or Valkey with the waits that each use wants."""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis

TIMEOUT_S: Final = 2.0
_HEALTH_CHECK_S: Final = 15


def connect_redis(url: str) -> Redis:
    """A client whose every wait is bounded; connects when first used."""
    return Redis.from_url(
        url,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        health_check_interval=_HEALTH_CHECK_S,
        driver_info=None,  # asking for its own version reads the disk on the event loop at each connection
    )


def connect_waiting_redis(url: str) -> Redis:
    """A client for blocking reads, which may take for ever; one of its own, so that it holds nobody up."""
    return Redis.from_url(
        url,
        socket_timeout=None,
        socket_connect_timeout=TIMEOUT_S,
        health_check_interval=_HEALTH_CHECK_S,
        driver_info=None,
    )
