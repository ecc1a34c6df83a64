"""`python -m tests.media`: make the test recordings that aren't cached yet."""

from __future__ import annotations

import sys

import pytest

from tests.media.catalogue import CACHE, Media


def main() -> None:
    """Make them all; say which program is missing, and in CI exit with 1 then."""
    try:
        Media().make_all()
    except pytest.skip.Exception as skipped:
        print(f"not all test recordings can be made: {skipped}")
    except pytest.fail.Exception as failed:
        sys.exit(str(failed))
    else:
        print(f"test recordings: {CACHE}")


if __name__ == "__main__":
    main()
