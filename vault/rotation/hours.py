"""The part of the day in which a job may work. Pure; times are UTC."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final, Self

from vault.rotation.errors import MalformedHours

_FORM: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Hours:
    """From `opens` to `closes`, over midnight where that is earlier; the same time twice is the whole day."""

    opens: dt.time
    closes: dt.time

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `22:00-06:00`; raises `MalformedHours`."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise MalformedHours("hours are written as 22:00-06:00, in UTC")
        first, second, third, fourth = (int(each) for each in found.groups())
        return cls(dt.time(first, second), dt.time(third, fourth))

    def __str__(self) -> str:
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"

    def wait(self, now: dt.datetime) -> dt.timedelta:
        """How long until the hours begin; zero within them."""
        utc = now.astimezone(dt.UTC)
        since = _after(self.opens, utc)
        is_open = self.opens == self.closes or since < _after(
            self.opens, utc.replace(hour=self.closes.hour, minute=self.closes.minute, second=0, microsecond=0)
        )
        return dt.timedelta() if is_open else _DAY - since


def _after(opens: dt.time, moment: dt.datetime) -> dt.timedelta:
    """How long ago the hours last began."""
    since = dt.timedelta(
        hours=moment.hour - opens.hour,
        minutes=moment.minute - opens.minute,
        seconds=moment.second,
        microseconds=moment.microsecond,
    )
    return since % _DAY
