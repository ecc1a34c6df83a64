"""`python -m bench [memory|seek …]`: all of them unless some are named; exits with 1 when a limit did not hold."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from bench import audit, memory, reencrypt, rotation, seek

_BENCHMARKS: Final[dict[str, Callable[[], Awaitable[bool]]]] = {
    "audit": audit.measure,
    "memory": memory.measure,
    "reencrypt": reencrypt.measure,
    "rotation": rotation.measure,
    "seek": seek.measure,
}


def main() -> None:
    """Run what was asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", choices=[*_BENCHMARKS, []], help=", ".join(_BENCHMARKS)
    )
    names = parser.parse_args().names or list(_BENCHMARKS)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    failed = [name for name in names if not asyncio.run(_run(name))]
    for name in failed:
        print(f"{name}: the limit did not hold", file=sys.stderr)
    sys.exit(1 if failed else 0)


async def _run(name: str) -> bool:
    return await _BENCHMARKS[name]()


if __name__ == "__main__":
    main()
