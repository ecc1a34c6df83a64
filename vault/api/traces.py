"""Describes an exception for the log without its message: messages, arguments and locals may hold input.

Invariants:
- only class names and places in the code (file, line, function) leave this module;
- the chain of causes is followed, and both lists are bounded.
"""

from __future__ import annotations

import traceback
from pathlib import PurePath
from typing import Final

_MAX_PLACES: Final = 12  # the innermost frames say most
_MAX_CAUSES: Final = 5


def describe(failure: BaseException) -> dict[str, object]:
    """The exception's class, the classes that caused it, and where it came from, innermost place last."""
    return {
        "exception": _name(failure),
        "causes": [_name(each) for each in _causes(failure)],
        "places": [
            f"{_place(frame.f_code.co_filename)}:{line} {frame.f_code.co_name}"
            for frame, line in traceback.walk_tb(failure.__traceback__)
        ][-_MAX_PLACES:],
    }


def _causes(failure: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    here = failure.__cause__ or failure.__context__
    while here is not None and len(found) < _MAX_CAUSES:
        found.append(here)
        here = here.__cause__ or here.__context__
    return found


def _name(failure: BaseException) -> str:
    return f"{type(failure).__module__}.{type(failure).__qualname__}"


def _place(filename: str) -> str:
    """Package and file: where the installation lies is nobody's business."""
    return "/".join(PurePath(filename).parts[-2:])
