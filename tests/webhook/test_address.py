"""Where alarms may go: the settings that are refused, and that neither URL nor secret is shown."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from keys.errors import MasterUnusable
from vault.app.alarms import _secret
from vault.settings import AllSettings, SettingsError, StreamSettings, WorkerSettings, load
from vault.webhook.address import UnusableWebhook, WebhookSecret, origin, parse_secret

URL = "REPLAYVAULT_ALARM_WEBHOOK_URL"


def set_up(monkeypatch: pytest.MonkeyPatch, **values: str) -> AllSettings:
    for name, value in values.items():
        monkeypatch.setenv(f"REPLAYVAULT_{name}", value)
    return load(AllSettings)


@pytest.mark.parametrize(
    "url",
    [
        "https://alarm.example.org/hook/7f3a?team=1",
        "https://alarm.example.org:8443",
        "http://127.0.0.1:9000/hook",
        "http://[::1]:9000/",
        "http://localhost/",
    ],
)
def test_urls_that_are_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set_up(monkeypatch, ALARM_WEBHOOK_URL=url).alarm_webhook_url == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://alarm.example.org/s3cret", "use https"),
        ("http://10.0.0.7/s3cret", "use https"),
        ("http://localhost.example.org/s3cret", "use https"),
        ("https://user:s3cret@alarm.example.org/", "credentials"),
        ("https://s3cret@alarm.example.org/", "credentials"),
        ("https://alarm.example.org/#s3cret", "credentials or a #"),
        ("ftp://alarm.example.org/s3cret", "starts with https"),
        ("alarm.example.org/s3cret", "starts with https"),
        ("https://", "starts with https"),
        ("https://[::1/s3cret", "not a URL"),
        ("https://alarm.example.org:port/s3cret", "not a URL"),
        ("https://alarm.example.org/s3 cret", "encode"),
        ("https://alarm.example.org/s3cret\n", "encode"),
        ("https://ålarm.example.org/s3cret", "encode"),
    ],
)
def test_urls_that_are_refused_with_a_sentence(url: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=f"^{URL} .*{why}") as refused:
        set_up(monkeypatch, ALARM_WEBHOOK_URL=url)
    assert "s3" not in str(refused.value)


def test_a_secret_without_a_url_signs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="set the URL"):
        set_up(monkeypatch, ALARM_WEBHOOK_SECRET_FILE=str(tmp_path / "secret"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BREAKER_THRESHOLD", "0"),
        ("BREAKER_THRESHOLD", "-1"),
        ("BREAKER_THRESHOLD", "1001"),
        ("BREAKER_THRESHOLD", "off"),
        ("BREAKER_WINDOW_S", "0"),
        ("BREAKER_WINDOW_S", "9"),
        ("BREAKER_WINDOW_S", "3601"),
    ],
)
def test_no_value_switches_the_breaker_off(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=f"REPLAYVAULT_{name}"):
        set_up(monkeypatch, **{name: value})


def test_every_role_has_the_alarm(tmp_path: Path) -> None:
    for kind in (AllSettings, StreamSettings, WorkerSettings):
        settings = load(kind, {}, data_dir=tmp_path)
        assert (settings.breaker_threshold, settings.breaker_window_s) == (5, 60)


def test_a_secret_is_read_from_a_file_of_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    raw = bytes(range(32))
    file.write_text(f"whsec_{base64.b64encode(raw).decode()}\n")
    file.chmod(0o640)
    with pytest.raises(MasterUnusable, match="chmod 600"):
        _secret(file)
    file.chmod(0o600)
    found = _secret(file)
    assert found is not None
    assert found.bytes_to_sign_with() == raw
    file.write_text("hunter2hunter2hunter2hunter2hunter2\n")
    with pytest.raises(SettingsError, match="whsec_") as refused:
        _secret(file)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!!!", "whsec_c2hvcnQ=", "whsec_" + "QUFB" * 30])
def test_secrets_that_nothing_could_verify_are_refused(text: str) -> None:
    with pytest.raises(UnusableWebhook):
        parse_secret(text)


def test_neither_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = set_up(monkeypatch, ALARM_WEBHOOK_URL="https://alarm.example.org/s3cret?k=s3cret")
    assert "s3cret" not in repr(settings)
    assert origin("https://alarm.example.org:8443/s3cret?k=s3cret") == "https://alarm.example.org:8443"
    assert "s3cret" not in f"{WebhookSecret(b's3cret')!r}"
