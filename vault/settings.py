"""Settings of each role, from the environment (`REPLAYVAULT_…`); with none of them set, one machine just works.

Invariants:
- a role can be configured only with what it may hold: the stream role has no setting for a master key, a share store
  or a worker key, and refuses to start when one is present in its environment or lies readable in its data folder;
- no setting stores, serves or logs plaintext, or weakens a check; an unknown `REPLAYVAULT_…` name is refused;
- secrets are named by file, never by value.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from vault.webhook.address import UnusableWebhook, require_usable

PREFIX: Final = "REPLAYVAULT_"
# What the command line reads as a client; a server that finds it in its environment passes it over.
CLIENT_NAMES: Final = frozenset({"REPLAYVAULT_URL", "REPLAYVAULT_TOKEN_FILE"})
# What KMS clients read from the environment. Their presence in the stream role is a mistake in the deployment.
_KMS_NAMES: Final = ("VAULT_ADDR", "VAULT_TOKEN", "BAO_ADDR", "BAO_TOKEN")


class SettingsError(Exception):
    """A configuration that cannot be used; the message says what to change."""


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "replayvault"


class CommonSettings(BaseSettings):
    """What every role may be told."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    data_dir: Path = Field(default_factory=_default_data_dir)
    catalog_url: str | None = None
    objects_url: str | None = None
    redis_url: str | None = None
    audit_dir: Path | None = None
    audit_key_file: Path | None = None
    audit_anchor_dir: Path | None = None
    audience: str = Field(default="replayvault", min_length=1, max_length=128)
    release: str = Field(default_factory=lambda: version("replayvault"), min_length=1, max_length=64)
    # Bounded on both sides: no value switches the listing breaker off.
    breaker_threshold: Annotated[int, Field(ge=1, le=1000)] = 5
    breaker_window_s: Annotated[int, Field(ge=10, le=3600)] = 60
    alarm_webhook_url: str | None = Field(default=None, repr=False)
    alarm_webhook_secret_file: Path | None = None

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.expanduser().resolve()

    @property
    def catalog(self) -> str:
        """Database URL of the catalog."""
        return self.catalog_url or f"sqlite+aiosqlite:///{self.data_dir / 'catalog.sqlite'}"

    @property
    def objects(self) -> str:
        """Address of the object store."""
        return self.objects_url or str(self.data_dir / "objects")

    @property
    def audit_folder(self) -> Path:
        """Where this process writes its audit file."""
        return self.audit_dir or self.data_dir / "audit"

    @property
    def audit_key(self) -> Path:
        """The key that signs this process's checkpoints."""
        return self.audit_key_file or self.data_dir / "audit.key"

    @property
    def audit_public(self) -> Path:
        """The public keys of whoever signed here."""
        return self.data_dir / "audit.pub"

    @property
    def embedded_redis(self) -> bool:
        """Whether the embedded Valkey serves sessions and the queue."""
        return self.redis_url is None

    @property
    def redis(self) -> str:
        """Address of Redis or Valkey."""
        return self.redis_url or f"unix://{self.data_dir / 'valkey' / 'valkey.sock'}"


class ServeSettings(CommonSettings):
    """What a role that answers HTTP may be told."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    https: bool = Field(default=False, description="The service is reached by https: send HSTS.")
    cors_origins: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(), description="Origins of browser apps, separated by spaces."
    )
    tier_secret_file: Path | None = None

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _origins(cls, given: object) -> frozenset[str]:
        origins = frozenset(given.split()) if isinstance(given, str) else frozenset()
        if not all(_is_origin(each) for each in origins):
            raise ValueError("an origin is https://host or https://host:port")
        return origins

    @property
    def tier_file(self) -> Path:
        """The file with the tier secret."""
        return self.tier_secret_file or self.data_dir / "tier.secret"


class StreamSettings(ServeSettings):
    """The stream role: lists and plays."""


class ControlSettings(ServeSettings):
    """The control role: ingest, sessions, tickets."""

    shares_url: str | None = None
    master_key_file: Path | None = None
    master_passphrase_file: Path | None = None
    master_url: str | None = Field(
        default=None, description="The keeper of the master key; a local file if none."
    )
    master_token_file: Path | None = None
    rotator_token_file: Path | None = None
    retirer_token_file: Path | None = None
    master_ca_file: Path | None = None
    former_master_url: str | None = Field(
        default=None, description="Opens what is not moved yet; `local` too."
    )
    former_master_token_file: Path | None = None
    worker_public_key_file: Path | None = None
    two_persons: bool = Field(
        default=False, description="What destroys keys waits until a second person approves it."
    )
    upload_limit_bytes: Annotated[int, Field(ge=1)] = 64 * 1024**3
    share_backup_days: Annotated[int, Field(ge=1, le=366)] = Field(
        default=7, description="How long backups of the share store are kept; certificates wait for it."
    )

    @property
    def shares(self) -> str:
        """Database URL of the share store."""
        return self.shares_url or f"sqlite+aiosqlite:///{self.data_dir / 'shares.sqlite'}"

    @property
    def master_file(self) -> Path:
        """The local master key."""
        return self.master_key_file or self.data_dir / "master.key"

    @property
    def worker_public_file(self) -> Path:
        """The workers' public key."""
        return self.worker_public_key_file or self.data_dir / "worker.pub"


class WorkerSettings(CommonSettings):
    """The worker: transcodes what is queued for it."""

    worker_key_file: Path | None = None
    worker_jobs: Annotated[int, Field(ge=1, le=64)] = 1
    ffmpeg_path: str | None = Field(default=None, description="Folders to search for ffmpeg and ffprobe.")

    @property
    def worker_file(self) -> Path:
        """The workers' private key."""
        return self.worker_key_file or self.data_dir / "worker.key"


class AllSettings(ControlSettings, WorkerSettings):
    """Every role in one process: the default on one machine."""


S = TypeVar("S", bound=CommonSettings)


def load(kind: type[S], environment: Mapping[str, str] | None = None, **given: object) -> S:
    """Settings of one role; raises `SettingsError`. `given` comes from the command line and wins."""
    names = os.environ if environment is None else environment
    _refuse_foreign(kind, names)
    try:
        settings = kind(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as refused:
        wrong = ", ".join(f"{PREFIX}{'_'.join(map(str, e['loc'])).upper()}" for e in refused.errors())
        raise SettingsError(f"these settings have values that cannot be used: {wrong}") from None
    _refuse_open_http(settings)
    _refuse_webhook(settings)
    if not issubclass(kind, ControlSettings):
        _refuse_lying_about(kind, settings.data_dir)
    return settings


def _is_origin(text: str) -> bool:
    """A serialised origin: scheme, host and port, nothing else (RFC 6454, section 6.2)."""
    url = urlsplit(text)
    return url.scheme in {"http", "https"} and bool(url.hostname) and text == f"{url.scheme}://{url.netloc}"


def _refuse_foreign(kind: type[CommonSettings], names: Iterable[str]) -> None:
    known = {PREFIX + field.upper() for field in AllSettings.model_fields}
    own = {PREFIX + field.upper() for field in kind.model_fields}
    role = kind.__name__.removesuffix("Settings").lower()
    for name in sorted(set(names) - CLIENT_NAMES):
        if name.startswith(PREFIX) and name not in known:
            raise SettingsError(f"{name} is not a setting; see: replayvault serve --help")
        if name in known - own or (name in _KMS_NAMES and not issubclass(kind, ControlSettings)):
            raise SettingsError(
                f"the {role} role must not have {name}: it would let this process open more than it is for; "
                "remove it from this role's environment",
            )


def _refuse_open_http(settings: CommonSettings) -> None:
    redis = urlsplit(settings.redis)
    if redis.scheme not in {"redis", "rediss", "unix"}:
        raise SettingsError("REPLAYVAULT_REDIS_URL starts with redis://, rediss:// or unix://")


def _refuse_webhook(settings: CommonSettings) -> None:
    if settings.alarm_webhook_url is None:
        if settings.alarm_webhook_secret_file is not None:
            raise SettingsError("REPLAYVAULT_ALARM_WEBHOOK_SECRET_FILE signs nothing: set the URL as well")
        return
    try:
        require_usable(settings.alarm_webhook_url)
    except UnusableWebhook as refused:
        raise SettingsError(f"REPLAYVAULT_ALARM_WEBHOOK_URL {refused}") from None


def _refuse_lying_about(kind: type[CommonSettings], folder: Path) -> None:
    role = kind.__name__.removesuffix("Settings").lower()
    forbidden = ["master.key", "shares.sqlite"]
    forbidden += ["worker.key"] if kind is StreamSettings else ["tier.secret"]
    for name in forbidden:
        if os.access(folder / name, os.R_OK):
            raise SettingsError(
                f"the {role} role can read {folder / name}, and must not: "
                "give it a data folder of its own (REPLAYVAULT_DATA_DIR)",
            )
