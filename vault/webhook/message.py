"""What an alarm says, and its signature. Pure.

Invariant: a message holds words of ours, counts, and random ids; no patient, title, token or note can enter one.
"""

from __future__ import annotations

import base64
import datetime as dt
import enum
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vault.webhook.address import WebhookSecret

# Enough to begin with; the audit log has them all.
MAX_RECORDINGS: Final = 10


class Kind(enum.StrEnum):
    """Types of messages; receivers branch on these, so a value never changes its meaning."""

    KEY_MISMATCH = "key_mismatch"
    CONSULTATION_TAKEN = "consultation_taken"
    BREAKER_OPENED = "breaker.opened"
    BREAKER_CLOSED = "breaker.closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. `audit` is the file of the audit log that has more."""

    kind: Kind
    at: dt.datetime
    release: str
    places: Mapping[str, int]
    audit: str
    recordings: tuple[str, ...] = ()
    opening: str = ""

    def document(self) -> dict[str, Any]:
        """As Standard Webhooks recommends: `type`, `timestamp`, `data`."""
        data: dict[str, Any] = {
            "release": self.release,
            "count": sum(self.places.values()),
            "places": dict(self.places),
            "audit": self.audit,
        }
        if self.recordings:
            data["recordings"] = list(self.recordings)
        if self.opening:
            data["opening"] = self.opening
        timestamp = self.at.astimezone(dt.UTC).isoformat(timespec="milliseconds")
        return {"type": self.kind.value, "timestamp": timestamp, "data": data}

    def body(self) -> bytes:
        """The bytes that are signed and sent."""
        return json.dumps(self.document(), separators=(",", ":")).encode()


@dataclass(slots=True)
class Tally:
    """What happened since the last message of a kind: a storm becomes one message with a count."""

    places: Counter[str] = field(default_factory=Counter)
    recordings: dict[str, None] = field(default_factory=dict)  # a set that keeps its order

    def add(self, place: str, recording: str) -> None:
        """Count one."""
        self.places[place] += 1
        if recording and len(self.recordings) < MAX_RECORDINGS:
            self.recordings[recording] = None


def headers(body: bytes, *, message_id: str, at: dt.datetime, secret: WebhookSecret | None) -> dict[str, str]:
    """The headers of one attempt (Standard Webhooks 1.0): the id stays, the time is the attempt's."""
    timestamp = str(int(at.timestamp()))
    found = {"Content-Type": "application/json", "webhook-id": message_id, "webhook-timestamp": timestamp}
    if secret is not None:
        signed = b".".join((message_id.encode(), timestamp.encode(), body))
        digest = hmac.new(secret.bytes_to_sign_with(), signed, hashlib.sha256).digest()
        found["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return found
