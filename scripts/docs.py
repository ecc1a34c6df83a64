#!/usr/bin/env python3
"""Write the generated pages of docs/ anew: `docs.py [--vectors] [--into FOLDER]`.

So far these are the test vectors of docs/format.md, which `--vectors` chooses alone.

Invariant: two runs write the same bytes; nothing here is random or reads a clock.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from vectors import audit_checkpoints, audit_log, key_files, key_wraps, sealed_files, tokens

ROOM: Final = Path(__file__).parent.parent / "docs"


def write_vectors(folder: Path) -> None:
    """Write one file for each structure into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for room in (sealed_files, key_wraps, tokens, key_files, audit_log, audit_checkpoints):
        for page in room.pages():
            (folder / f"{page.structure}.json").write_text(page.text(), encoding="utf-8")


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/ anew.")
    parser.add_argument("--vectors", action="store_true", help="the test vectors alone")
    parser.add_argument("--into", type=Path, default=ROOM, metavar="FOLDER", help="default: docs/")
    chosen = parser.parse_args()
    write_vectors(chosen.into / "vectors")


if __name__ == "__main__":
    main()
