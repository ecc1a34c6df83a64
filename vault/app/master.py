"""The keepers of the master key that the settings name.

Invariant: a token goes to a keeper by https, or to this machine.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from keys.master.aws import AwsMaster, KmsKey
from keys.master.local import load_master_file
from keys.master.openbao import OpenBaoMaster, Transit
from keys.master.protocol import Master
from keys.master.several import Masters
from vault.settings import ControlSettings, SettingsError

LOCAL: Final = "local"
_SCHEMES: Final = {"openbao+https": "https", "openbao+http": "http"}
_PATH: Final = re.compile(r"/((?:[A-Za-z0-9._-]+/)*[A-Za-z0-9._-]+)/([A-Za-z0-9._-]+)", re.ASCII)

_KMS_PATH: Final = re.compile(r"/(?:(alias/[A-Za-z0-9/_-]{1,90})|key/([A-Za-z0-9-]{1,90}))", re.ASCII)
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]{2,12}){1,3}-\d", re.ASCII)
_KMS_FORM: Final = (
    "a key of AWS KMS is given as aws:///alias/NAME?region=REGION or aws:///key/ID?region=REGION"
)


def open_master(settings: ControlSettings) -> Master:
    """The current keeper, and the former one beside it; raises `MasterUnusable` or `SettingsError`."""
    current, *former = open_keepers(settings)
    return Masters(current, tuple(former)) if former else current


def open_keepers(settings: ControlSettings) -> tuple[Master, ...]:
    """The current keeper, and the former one where there is one; raises as `open_master` does."""
    current = _opened(settings, settings.master_url, settings.master_token_file, name="MASTER")
    if settings.former_master_url is None:
        return (current,)
    former = _opened(
        settings, settings.former_master_url, settings.former_master_token_file, name="FORMER_MASTER"
    )
    return current, former


def uses_local_master(settings: ControlSettings) -> bool:
    """Whether the local key file is one of the keepers."""
    return LOCAL in {settings.master_url or LOCAL, settings.former_master_url}


def read_passphrase(path: Path | None) -> str | None:
    """The passphrase in a file, its last line break left out."""
    return None if path is None else path.read_text(encoding="utf-8").rstrip("\n")


def parse_transit(url: str) -> tuple[str, str, str]:
    """Address, mount and key of `openbao+https://host:8200/transit/key`; raises `SettingsError`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    path = _PATH.fullmatch(parts.path) if host else None
    if path is None or host is None or parts.scheme not in _SCHEMES or parts.query or parts.username:
        raise SettingsError(
            "a master key is `local`, or stands in OpenBao or Vault, openbao+https://HOST:8200/transit/KEY, or in "
            "AWS KMS, aws:///alias/NAME?region=REGION"
        )
    if _SCHEMES[parts.scheme] == "http" and not _is_loopback(host):
        raise SettingsError("the keeper of the master key is reached by https, except on this machine")
    place = f"[{host}]" if ":" in host else host
    return f"{_SCHEMES[parts.scheme]}://{place}:{port or 8200}", path[1], path[2]


def parse_kms(url: str) -> KmsKey:
    """The place of `aws:///alias/NAME?region=REGION`, or `aws:///key/ID?…`; raises `SettingsError`."""
    try:
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query, strict_parsing=True))
        endpoint = urlsplit(given.get("endpoint", ""))
        host, _ = endpoint.hostname, endpoint.port
    except ValueError:
        raise SettingsError(_KMS_FORM) from None
    path = _KMS_PATH.fullmatch(parts.path)
    is_known = given.keys() <= {"region", "endpoint"} and _REGION.fullmatch(given.get("region", ""))
    if path is None or not is_known or parts.netloc or parts.fragment:
        raise SettingsError(_KMS_FORM)
    if "endpoint" in given:
        if endpoint.username or endpoint.query or not host or endpoint.scheme not in {"http", "https"}:
            raise SettingsError(_KMS_FORM)
        if endpoint.scheme == "http" and not _is_loopback(host):
            raise SettingsError("the keeper of the master key is reached by https, except on this machine")
    key = path[1] if path[1] is not None else path[2]
    return KmsKey(key=key, region=given["region"], endpoint=given.get("endpoint"))


def _opened(settings: ControlSettings, url: str | None, token: Path | None, *, name: str) -> Master:
    if url in {None, LOCAL}:
        passphrase = read_passphrase(settings.master_passphrase_file)
        return load_master_file(settings.master_file, passphrase=passphrase)
    if (url or "").startswith("aws:"):
        return AwsMaster(parse_kms(url or ""))
    address, mount, key = parse_transit(url or "")
    if token is None:
        raise SettingsError(
            f"REPLAYVAULT_{name}_URL needs REPLAYVAULT_{name}_TOKEN_FILE, a file of mode 0600"
        )
    return OpenBaoMaster(
        Transit(
            address=address,
            mount=mount,
            key=key,
            token_file=token,
            rotator_token_file=settings.rotator_token_file,
            retirer_token_file=settings.retirer_token_file,
            ca_file=settings.master_ca_file,
        )
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
