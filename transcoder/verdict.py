"""Whether what a run left behind may be published.

ffmpeg's exit code is not a verdict: it is 0 when a PUT was refused, and 0 when reading the source failed half-way.
So the verdict is a conjunction over what was seen on the wire and in the bytes:

    no error while reading the source
    ∧ exit status 0
    ∧ `-xerror` was given, unless the source is known to be damaged
    ∧ every expected body arrived to its terminator, within its limit
    ∧ every expected track parsed to its last byte and is what the plan says
    ∧ |track - source as demuxed| < max(1 s, 2 %)
    ∧ picture and sound end within 1 s of each other

Of a damaged source (`Strictness.SALVAGE`) what can be played is published: a track may then be shorter than what
could be demuxed, and picture and sound may end apart; nothing else is relaxed, and never a fault of our own side.

Invariants: pure; returns None or raises; evidence that is missing is a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import (
    OutputIncomplete,
    OutputOutOfStep,
    OutputTooShort,
    SourceDamaged,
    SourceUnreadable,
    TranscodeFailed,
    VerdictRefused,
)
from .facts import Facts
from .profiles import OutputKind, Plan, Strictness
from .track import TrackIndex

_END_TOLERANCE_S = 1.0
_LENGTH_TOLERANCE_S = 1.0
_LENGTH_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Put:
    """One body as the gateway saw it; `finished` only when it ended with its terminator."""

    size_bytes: int
    finished: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of one run of `render_tracks`.

    `source_errors` counts failures to read, open or verify the source, on our side; `puts` has every body that was
    begun, by name; `tracks` every track that parsed; `demuxed_duration_s` is the measured length of the source.
    """

    return_code: int
    used_xerror: bool
    source_errors: int
    puts: Mapping[str, Put]
    tracks: Mapping[str, TrackIndex]
    demuxed_duration_s: float


def judge(plan: Plan, facts: Facts, evidence: Evidence) -> None:
    """Raise unless the run may be published.

    SourceUnreadable, SourceDamaged (run `plan.salvaging()` next), TranscodeFailed, OutputIncomplete, OutputTooShort,
    OutputOutOfStep, or VerdictRefused.
    """
    _judge_run(plan, facts, evidence)
    _judge_bodies(plan, evidence)
    for name in plan.track_names:
        _judge_length(evidence.tracks[name], plan, evidence.demuxed_duration_s)
    _judge_step(plan, evidence)


def _judge_run(plan: Plan, facts: Facts, evidence: Evidence) -> None:
    strict = plan.strictness is Strictness.STRICT
    if evidence.source_errors:
        raise SourceUnreadable
    if evidence.return_code != 0:
        raise SourceDamaged if strict else TranscodeFailed
    if strict != evidence.used_xerror or (strict and facts.damaged):
        raise VerdictRefused


def _judge_bodies(plan: Plan, evidence: Evidence) -> None:
    for output in plan.outputs:
        if output.kind not in (OutputKind.TRACK, OutputKind.PLAYLIST):
            continue
        put = evidence.puts.get(output.name)
        if put is None or not put.finished or not 0 < put.size_bytes <= output.max_size_bytes:
            raise OutputIncomplete
    for name in plan.track_names:
        index = evidence.tracks.get(name)
        if index is None or index.size_bytes != evidence.puts[name].size_bytes:
            raise OutputIncomplete
    for rendition in plan.renditions:
        index, canvas = evidence.tracks[f"{rendition.name}.mp4"], rendition.canvas
        if (index.kind, index.width, index.height) != ("video", canvas.width, canvas.height):
            raise VerdictRefused
    if plan.audio is not None and evidence.tracks[f"{plan.audio.name}.mp4"].kind != "audio":
        raise VerdictRefused


def _judge_length(index: TrackIndex, plan: Plan, demuxed_duration_s: float) -> None:
    missing_s = demuxed_duration_s - index.duration_s
    tolerance_s = max(_LENGTH_TOLERANCE_S, _LENGTH_TOLERANCE * demuxed_duration_s)
    if plan.strictness is Strictness.SALVAGE:
        missing_s = min(missing_s, 0.0)
    if abs(missing_s) >= tolerance_s:
        raise OutputTooShort


def _judge_step(plan: Plan, evidence: Evidence) -> None:
    if plan.strictness is Strictness.SALVAGE:
        return
    ends_s = [evidence.tracks[name].duration_s for name in plan.track_names]
    if max(ends_s) - min(ends_s) >= _END_TOLERANCE_S:
        raise OutputOutOfStep
