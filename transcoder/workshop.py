"""The workshop's counter: look at a source, decide, render. Everything between two loopback URLs.

    facts = await examine(source_url, tools=tools, sandbox=sandbox)
    plan_ = plan(facts)
    outcome = await render_tracks(plan_, source_url=…, output_url=…, tools=tools, sandbox=sandbox)
    judge(plan_, facts, Evidence(…, **what the gateway saw))      # on SourceDamaged: again, with plan_.salvaging()
    await render_stills(plan_, …)

Whoever runs the gateway drains its handlers before judging (ffmpeg can exit before its last body has been read), and
asks it after every step whether *it* failed to deliver the source: ffmpeg cannot tell that from a damaged file.

Invariants: nothing here touches a disk or knows what is behind the URLs; no run lacks a sandbox, a watchdog or a limit.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

from . import command
from .binaries import Tools, find_tools
from .errors import SourceEmpty, TranscodeFailed
from .facts import Facts
from .probe import probe
from .process import Outcome, ProgressCallback, run
from .profiles import Content, Output, OutputKind, Plan, Strictness, plan
from .sandbox import Sandbox, describe_sandbox, port_of
from .verdict import Evidence, Put, judge

__all__ = [
    "Content",
    "Evidence",
    "Facts",
    "Outcome",
    "Output",
    "OutputKind",
    "Plan",
    "Put",
    "Sandbox",
    "Strictness",
    "Tools",
    "describe_sandbox",
    "examine",
    "find_tools",
    "judge",
    "plan",
    "render_stills",
    "render_tracks",
]

FractionCallback = Callable[[float | None, float | None], None]

_STALL_TIMEOUT_S = 60.0
_BASE_LIMIT_S = 600.0
_LIMIT_PER_SOURCE_S = 10.0  # a tenth of real time is slower than any machine that is fit for this work


async def examine(
    source_url: str, *, tools: Tools, sandbox: Sandbox, source_size_bytes: int | None = None
) -> Facts:
    """Find out what a source is. Raises the SourceErrors, SourceUnreadable and the RunErrors of a stuck run."""
    if source_size_bytes == 0:
        raise SourceEmpty
    return await probe(source_url, tools=tools, sandbox=sandbox)


async def render_tracks(
    plan: Plan,
    *,
    source_url: str,
    output_url: str,
    tools: Tools,
    sandbox: Sandbox,
    on_progress: FractionCallback | None = None,
    stall_timeout_s: float = _STALL_TIMEOUT_S,
    limit_s: float | None = None,
) -> Outcome:
    """Render every track of the plan in one pass. `on_progress(fraction, speed)`: 0 to 1, multiples of real time.

    The outcome is no verdict; see `judge`. Raises TranscodeStalled, TranscodeTimedOut, SandboxUnavailable.
    """
    argv = command.tracks(tools, plan, source_url=source_url, output_url=output_url)
    return await run(
        argv,
        sandbox=_bounded(sandbox, plan, limit_s),
        connect_ports=_ports(source_url, output_url),
        on_progress=_as_fraction(plan, on_progress),
        stall_timeout_s=stall_timeout_s,
        limit_s=_limit_s(plan, limit_s),
    )


async def render_stills(
    plan: Plan,
    *,
    source_url: str,
    output_url: str,
    tools: Tools,
    sandbox: Sandbox,
    on_progress: FractionCallback | None = None,
    stall_timeout_s: float = _STALL_TIMEOUT_S,
    limit_s: float | None = None,
) -> None:
    """Render the poster and the scrub sheets; a plan without a picture has neither.

    Raises TranscodeFailed and what `render_tracks` raises. A recording is worth publishing without its stills:
    the caller decides.
    """
    commands = [command.poster] if plan.poster else []
    commands += [command.sprites] if plan.sprites else []
    for build in commands:
        argv = build(tools, plan, source_url=source_url, output_url=output_url)
        outcome = await run(
            argv,
            sandbox=_bounded(sandbox, plan, limit_s),
            connect_ports=_ports(source_url, output_url),
            on_progress=_as_fraction(plan, on_progress),
            stall_timeout_s=stall_timeout_s,
            limit_s=_limit_s(plan, limit_s),
        )
        if outcome.return_code != 0:
            raise TranscodeFailed


def _limit_s(plan: Plan, limit_s: float | None) -> float:
    return limit_s or _BASE_LIMIT_S + _LIMIT_PER_SOURCE_S * plan.duration_s


def _bounded(sandbox: Sandbox, plan: Plan, limit_s: float | None) -> Sandbox:
    """Let a run use every processor for its whole time, and not a second more."""
    cpu_s = int(_limit_s(plan, limit_s) * (os.cpu_count() or 1)) + 1
    return dataclasses.replace(sandbox, cpu_s=min(sandbox.cpu_s, cpu_s))


def _ports(*urls: str) -> tuple[int, ...]:
    return tuple(sorted({port_of(url) for url in urls}))


def _as_fraction(plan: Plan, on_progress: FractionCallback | None) -> ProgressCallback | None:
    if on_progress is None:
        return None
    return lambda progress: on_progress(progress.fraction_of(plan.duration_s), progress.speed)
