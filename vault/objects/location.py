"""Where the objects stand, as one setting: a folder, or a bucket of any S3-compatible service.

- `/var/lib/replayvault/objects` or `file:///var/lib/replayvault/objects`
- `s3://bucket/prefix?endpoint=https://s3.example.org&region=eu-west-1&path_style=true&conditional_writes=true`

Invariants: an address holds no credentials (they come from the environment or boto's own chain), a word that is
not understood is refused, and plain HTTP goes to loopback only.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vault.objects.errors import StoreMisconfigured
from vault.objects.folder import FolderStore
from vault.objects.store import ObjectStore

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", re.ASCII)
_WORDS: Final = {"true": True, "false": False}
_PARAMETERS: Final = frozenset({"endpoint", "region", "path_style", "conditional_writes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderLocation:
    """A folder on this machine."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Location:
    """A bucket, and how to speak to its service.

    `path_style` puts the bucket into the path instead of the host name; by default it does so where an endpoint is
    given. `conditional_writes` is for services that do not know `If-None-Match` on uploads: set to false, existing
    objects are looked for before an upload begins.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    path_style: bool = False
    conditional_writes: bool = True


def parse_location(text: str) -> FolderLocation | S3Location:
    """The location that `text` names; raises `StoreMisconfigured` with a sentence that says what to do."""
    if text.startswith("/"):
        return FolderLocation(path=Path(text))
    url = _split(text)
    if url.scheme == "file":
        if url.netloc not in ("", "localhost") or not url.path.startswith("/") or url.query or url.fragment:
            raise StoreMisconfigured("a folder is given as file:///absolute/path")
        return FolderLocation(path=Path(urllib.parse.unquote(url.path)))
    if url.scheme == "s3":
        return _s3(url)
    raise StoreMisconfigured(
        "objects stand in a folder (/path or file:///path) or a bucket (s3://bucket?endpoint=…)"
    )


def make_store(location: FolderLocation | S3Location | str) -> ObjectStore:
    """The store at `location`; does no I/O yet. boto3 is loaded for buckets only."""
    if isinstance(location, str):
        location = parse_location(location)
    if isinstance(location, FolderLocation):
        return FolderStore(location.path)
    from vault.objects.s3 import S3Store  # noqa: PLC0415 - a folder needs no boto3, which takes long to load

    return S3Store(location)


def require_private(endpoint: str) -> None:
    """Raise `StoreMisconfigured` unless `endpoint` is https, or http on loopback, and is nothing but an address."""
    url = _split(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise StoreMisconfigured("an endpoint is https://host, or http://127.0.0.1:port on this machine")
    if url.username is not None or url.password is not None or url.query or url.fragment:
        raise StoreMisconfigured("an endpoint holds an address alone: give credentials by the environment")
    if url.scheme == "http" and not _is_loopback(url.hostname):
        raise StoreMisconfigured(
            "the object store's endpoint is plain http and not on this machine: use https, because requests "
            "carry signatures that let anyone on the way read and write"
        )


def _split(text: str) -> urllib.parse.SplitResult:
    try:
        url = urllib.parse.urlsplit(text)
        _ = url.port
    except ValueError:
        raise StoreMisconfigured("the object store's address is not a URL") from None
    return url


def _s3(url: urllib.parse.SplitResult) -> S3Location:
    if url.username is not None or url.password is not None or url.fragment:
        raise StoreMisconfigured("credentials do not belong into the address: give them by the environment")
    prefix = url.path.strip("/")
    if not _BUCKET.fullmatch(url.netloc) or (prefix and not _PREFIX.fullmatch(prefix)):
        raise StoreMisconfigured("a bucket is given as s3://bucket or s3://bucket/prefix")
    parameters = _parameters(url.query)
    endpoint = parameters.get("endpoint")
    if endpoint is not None:
        require_private(endpoint)
    return S3Location(
        bucket=url.netloc,
        prefix=prefix,
        endpoint=endpoint,
        region=parameters.get("region"),
        path_style=_flag(parameters, "path_style", default=endpoint is not None),
        conditional_writes=_flag(parameters, "conditional_writes", default=True),
    )


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise StoreMisconfigured(
            "what follows the question mark has the form name=value&name=value"
        ) from None
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names) or not _PARAMETERS.issuperset(names) or not all(map(all, pairs)):
        raise StoreMisconfigured(f"a bucket's parameters are {', '.join(sorted(_PARAMETERS))}, each once")
    return dict(pairs)


def _flag(parameters: dict[str, str], name: str, *, default: bool) -> bool:
    word = parameters.get(name)
    if word is None:
        return default
    if word not in _WORDS:
        raise StoreMisconfigured(f"{name} is true or false")
    return _WORDS[word]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
