"""Where alarms may be sent, and the secret that signs them. Pure.

Invariants: https, or http to this machine alone; no credentials in the URL, whose path may be a secret by itself and
is never shown; the secret is of a form that every receiver's library can read.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from typing import Final
from urllib.parse import urlsplit

# Standard Webhooks 1.0, "Signature scheme": a symmetric secret has 24 to 64 bytes, in base64 after this prefix.
_PREFIX: Final = "whsec_"
_MIN_BYTES: Final = 24
_MAX_BYTES: Final = 64


class UnusableWebhook(ValueError):
    """The URL or the secret cannot be used; the message says what to change, and shows neither."""


class WebhookSecret:
    """The bytes that sign; not shown by accident."""

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def __repr__(self) -> str:
        return "<webhook secret, not shown>"

    def bytes_to_sign_with(self) -> bytes:
        """The raw bytes, for HMAC."""
        return self._raw


def require_usable(url: str) -> None:
    """Raise `UnusableWebhook` unless alarms may be sent there."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise UnusableWebhook("has characters that a URL does not have: encode them")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UnusableWebhook("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise UnusableWebhook("starts with https://, or with http:// to this machine")
    if parts.scheme == "http" and not _is_loopback(host):
        raise UnusableWebhook("goes over the network without encryption: use https://")
    if "@" in parts.netloc or parts.fragment:
        raise UnusableWebhook("has credentials or a #: sign the messages with a secret file instead")


def origin(url: str) -> str:
    """What may be shown of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def parse_secret(text: str) -> WebhookSecret:
    """The secret of a file's text; raises `UnusableWebhook`."""
    word = text.strip()
    try:
        raw = base64.b64decode(word.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not word.startswith(_PREFIX) or not _MIN_BYTES <= len(raw) <= _MAX_BYTES:
        raise UnusableWebhook("holds whsec_ and 24 to 64 bytes in base64, on one line")
    return WebhookSecret(raw)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
