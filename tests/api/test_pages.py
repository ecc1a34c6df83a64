"""The plain page is served whole, under a policy that its own files obey."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from importlib import resources

import pytest

from tests.api.house import House, running
from vault.web.pages import POLICY, page_routes

FILES = resources.files("vault.web")
INDEX = FILES.joinpath("index.html").read_text()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running(page_routes()) as started:
        yield started


@pytest.mark.parametrize(
    ("path", "kind", "contains"),
    [
        ("/", "text/html", b"<!doctype html>"),
        ("/web/app.js", "text/javascript", b"isSupported"),
        ("/web/style.css", "text/css", b"color-scheme"),
        ("/web/icon.svg", "image/svg+xml", b"<svg"),
        ("/web/hls.min.js", "text/javascript", b"Hls"),
    ],
)
async def test_each_file_comes_with_type_and_policy(
    house: House, path: str, kind: str, contains: bytes
) -> None:
    async with house.client.get(path) as answer:
        assert (answer.status, answer.content_type, answer.charset) == (200, kind, "utf-8")
        assert contains in await answer.read()
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
    async with house.client.head(path) as answer:
        assert answer.status == 200


async def test_every_address_in_the_page_is_served(house: House) -> None:
    addresses = re.findall(r'(?:src|href)="([^"]+)"', INDEX)
    assert len(addresses) == 4
    for address in addresses:
        async with house.client.get(address) as answer:
            assert answer.status == 200, address


def test_the_page_has_nothing_inline_and_nothing_foreign() -> None:
    assert not re.search(r"<style|\son\w+=|\sstyle=|javascript:|https?://", INDEX)
    assert re.findall(r"<script(?![^>]*\ssrc=)", INDEX) == []
    script = FILES.joinpath("app.js").read_text()
    assert not re.search(
        r"innerHTML|insertAdjacentHTML|document\.write|localStorage|sessionStorage|https?://", script
    )


def test_the_policy_names_this_origin_only_and_blobs_for_media_only() -> None:
    directives = dict(each.split(" ", 1) for each in POLICY.split("; "))
    media = directives.pop("media-src")
    trusted = directives.pop("require-trusted-types-for")
    assert (media, trusted) == ("'self' blob:", "'script'")
    assert set(directives.values()) == {"'none'", "'self'"}
    assert directives["default-src"] == directives["form-action"] == directives["frame-ancestors"] == "'none'"
    assert directives["worker-src"] == directives["base-uri"] == "'none'"


def test_the_session_field_has_no_name_so_that_no_form_can_send_it() -> None:
    field = re.search(r"<input[^>]*>", INDEX)
    assert field is not None
    assert 'id="session"' in field[0]
    assert "name=" not in field[0]


def test_the_vendored_player_is_the_one_that_its_record_and_the_page_name() -> None:
    record = json.loads(FILES.joinpath("vendor/VENDOR.json").read_text())
    player = FILES.joinpath("vendor", record["file"]).read_bytes()
    integrity = "sha384-" + base64.b64encode(hashlib.sha384(player).digest()).decode()
    assert hashlib.sha256(player).hexdigest() == record["sha256"]
    assert record["integrity"] == integrity
    assert f'hls.min.js" integrity="{integrity}"' in INDEX
    assert "Apache License" in FILES.joinpath("vendor/LICENSE").read_text()
