"""Cursors of keyset pages, as opaque text. They hold a time and an id, and grant nothing."""

from __future__ import annotations

import datetime as dt
from typing import Final

from keys import payload
from keys.errors import Malformed, MalformedId
from keys.ids import parse_recording_id
from vault.catalog.errors import UnknownCursor
from vault.catalog.recordings import Cursor
from vault.catalog.rows import RecordingRow

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def format_cursor(row: RecordingRow) -> str:
    """The cursor of the page that follows `row`."""
    micros = (row.created_at - _EPOCH) // dt.timedelta(microseconds=1)
    return payload.to_text(f"{micros}.{row.recording_id}".encode())


def parse_cursor(text: str) -> Cursor:
    """The place that a cursor names; raises `UnknownCursor`."""
    try:
        micros, _, recording_id = payload.to_bytes(text).decode("ascii").partition(".")
        moment = _EPOCH + dt.timedelta(microseconds=int(micros))
        return Cursor(moment, parse_recording_id(recording_id))
    except (ValueError, OverflowError, Malformed, MalformedId):
        raise UnknownCursor("not a cursor of this list") from None
