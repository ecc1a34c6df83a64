"""Kinds of words that options take, parsed once at the edge."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from typing import Any, Final

import click

_DURATION: Final = re.compile(r"(\d{1,6})([smhd]?)", re.ASCII)
_UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[dt.timedelta]):
    """`90s`, `15m`, `2h`, `30d`, or seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.timedelta:
        """A span of time."""
        if isinstance(value, dt.timedelta):
            return value
        found = _DURATION.fullmatch(value)
        if found is None:
            self.fail("a duration is written as 90s, 15m, 2h or 30d", param, ctx)
        return dt.timedelta(seconds=int(found[1]) * _UNITS_S[found[2]])


class Moment(click.ParamType[dt.datetime]):
    """A date and time with a time zone."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        """A moment (RFC 3339)."""
        if isinstance(value, dt.datetime):
            return value
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail("a moment has a date, a time and a time zone: 2026-03-01T09:30+01:00", param, ctx)
        return moment


class Identifier(click.ParamType[uuid.UUID]):
    """The id of a recording or token, in any form that a UUID is written in."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> uuid.UUID:
        """An id."""
        if isinstance(value, uuid.UUID):
            return value
        try:
            return uuid.UUID(value)
        except ValueError:
            self.fail("an id looks like 2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21", param, ctx)


DURATION: Final = Duration()
MOMENT: Final = Moment()
IDENTIFIER: Final = Identifier()
