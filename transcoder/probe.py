"""What a source really is: ffprobe's word for its streams, and a measurement for their lengths.

Recordings of browsers carry no duration and cut-off uploads a wrong one, so every stream that will be used is
demuxed to its end once, without decoding (tens of times faster than real time). The same pass finds damage in the
container, and streams that are announced and hold nothing.

Invariants: both programs run in the sandbox, behind the allow-lists of `command`; a `Facts` that leaves this module
has measured durations only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from . import command
from .binaries import Tools
from .errors import (
    SourceHasNothingPlayable,
    SourceNotMedia,
    SourceTooLarge,
    SourceTruncated,
    SourceUnreadable,
)
from .facts import AudioFacts, Facts, VideoFacts, parse_probe
from .process import Complaint, Outcome, run
from .profiles import Strictness
from .sandbox import Sandbox, port_of

__all__ = ["AudioFacts", "Facts", "VideoFacts", "measure", "parse_probe", "probe"]

_PROBE_LIMIT_S = 60.0
_MEASURE_LIMIT_S = 1800.0
_STALL_TIMEOUT_S = 60.0

_Stream = TypeVar("_Stream", VideoFacts, AudioFacts)


async def probe(source_url: str, *, tools: Tools, sandbox: Sandbox) -> Facts:
    """Ask ffprobe and measure. Raises the SourceErrors, SourceUnreadable and what `process.run` raises."""
    outcome = await run(
        command.probe(tools, source_url),
        sandbox=sandbox,
        connect_ports=(port_of(source_url),),
        stall_timeout_s=None,
        limit_s=_PROBE_LIMIT_S,
    )
    return await measure(_judged(outcome), source_url, tools=tools, sandbox=sandbox)


async def measure(facts: Facts, source_url: str, *, tools: Tools, sandbox: Sandbox) -> Facts:
    """Replace what the header says of lengths by what is there; drop streams that hold nothing.

    Raises SourceHasNothingPlayable when no stream is left, SourceUnreadable when the gateway failed.
    """
    video, video_damaged = await _measured(facts.video, source_url, tools, sandbox)
    audio, audio_damaged = await _measured(facts.audio, source_url, tools, sandbox)
    lengths = [stream.duration_s or 0.0 for stream in (video, audio) if stream is not None]
    if not lengths:
        raise SourceHasNothingPlayable
    damaged = video_damaged or audio_damaged
    return replace(facts, duration_s=max(lengths), video=video, audio=audio, damaged=damaged)


def _judged(outcome: Outcome) -> Facts:
    """Turn what ffprobe said into facts, preferring a complaint it made to its generic error."""
    if outcome.complaints & {Complaint.TOO_MANY_PIXELS, Complaint.TOO_MANY_STREAMS}:
        raise SourceTooLarge
    try:
        return parse_probe(outcome.stdout)
    except SourceNotMedia:
        if Complaint.INDEX_MISSING in outcome.complaints:
            raise SourceTruncated from None
        raise


async def _measured(
    stream: _Stream | None, source_url: str, tools: Tools, sandbox: Sandbox
) -> tuple[_Stream | None, bool]:
    """Demux one stream; on damage a second time, to learn how far it can be read. (None, …) if it holds nothing."""
    if stream is None:
        return None, False
    outcome = await _demux(stream.index, Strictness.STRICT, source_url, tools, sandbox)
    damaged = outcome.return_code != 0 or Complaint.INPUT_CUT in outcome.complaints
    if outcome.return_code != 0:
        outcome = await _demux(stream.index, Strictness.SALVAGE, source_url, tools, sandbox)
    seconds = outcome.progress.out_time_s
    if not seconds and not outcome.progress.frame:
        return None, damaged
    return replace(stream, duration_s=seconds or 0.0), damaged


async def _demux(
    stream_index: int, strictness: Strictness, source_url: str, tools: Tools, sandbox: Sandbox
) -> Outcome:
    outcome = await run(
        command.measure(tools, source_url, stream_index=stream_index, strictness=strictness),
        sandbox=sandbox,
        connect_ports=(port_of(source_url),),
        stall_timeout_s=_STALL_TIMEOUT_S,
        limit_s=_MEASURE_LIMIT_S,
    )
    if Complaint.HTTP_FAILED in outcome.complaints:
        raise SourceUnreadable
    return outcome
