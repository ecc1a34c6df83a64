"""A process that writes an audit log until it is killed: `python -m tests.audit.writer FOLDER [LIMIT]`.

Prints a number for each entry once it is durable. With LIMIT, no file of the process grows beyond so many bytes: the
writer then says `refused` for each entry that did not fit, lifts the limit and writes one more.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

from tests.audit.entries import NOW, event
from vault.audit.errors import AuditUnavailable
from vault.audit.log import AuditLog

CROWD = 16


async def write(log: AuditLog, number: int) -> None:
    await log.write(event(number))
    print(number, flush=True)


async def endlessly(folder: Path) -> None:
    log = await AuditLog.open(folder, role="stream", release="test", clock=lambda: NOW)
    for start in range(0, 1_000_000, CROWD):
        await asyncio.gather(*(write(log, number) for number in range(start, start + CROWD)))


async def within(folder: Path, limit: int) -> None:
    log = await AuditLog.open(folder, role="stream", release="test", clock=lambda: NOW)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    for number in range(1, 30):
        try:
            await write(log, number)
        except AuditUnavailable:
            print("refused", flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await write(log, 1000)
    await log.aclose()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    asyncio.run(endlessly(target) if len(sys.argv) == 2 else within(target, int(sys.argv[2])))
