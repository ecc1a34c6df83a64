"""What a test does when a real part is not installed: skip with the command to run; in CI, fail."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(part: str, *, command: str) -> NoReturn:
    """End the running test because `part` is not installed, naming the `command` that installs it.

    With the environment variable `CI` set this is a failure: a suite without its real parts proves nothing.
    """
    sentence = f"{part} is missing: run `{command}`"
    if os.environ.get("CI"):
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)
