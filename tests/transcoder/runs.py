"""One whole run as the worker makes it: examine, plan, render, drain, index, judge, stills."""

from __future__ import annotations

from dataclasses import dataclass

from transcoder.binaries import Tools
from transcoder.errors import SourceDamaged, TrackDamaged
from transcoder.fmp4 import TrackIndexer
from transcoder.process import Outcome
from transcoder.sandbox import Sandbox
from transcoder.track import TrackIndex
from transcoder.workshop import (
    Evidence,
    Facts,
    Plan,
    Put,
    Strictness,
    examine,
    judge,
    plan,
    render_stills,
    render_tracks,
)

from .gateway import Gateway


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a run made."""

    facts: Facts
    plan: Plan
    outcome: Outcome
    tracks: dict[str, TrackIndex]
    outputs: dict[str, bytes]
    progress: list[tuple[float | None, float | None]]


async def transcode(gateway: Gateway, tools: Tools, *, stills: bool = False) -> Rendered:
    """Do what a worker does, the second run for a damaged source included."""
    facts = await examine(
        gateway.source_url, tools=tools, sandbox=Sandbox(), source_size_bytes=len(gateway.source)
    )
    chosen = plan(facts)
    seen: list[tuple[float | None, float | None]] = []
    try:
        outcome, tracks = await attempt(gateway, tools, facts, chosen, seen=seen)
    except SourceDamaged:
        chosen = chosen.salvaging()
        outcome, tracks = await attempt(gateway, tools, facts, chosen, seen=seen)
    if stills:
        await render_stills(
            chosen,
            source_url=gateway.source_url,
            output_url=gateway.output_url,
            tools=tools,
            sandbox=Sandbox(),
        )
        await gateway.drained()
    outputs = {name: bytes(body) for name, body in gateway.outputs.items()}
    return Rendered(facts, chosen, outcome, tracks, outputs, seen)


async def attempt(
    gateway: Gateway,
    tools: Tools,
    facts: Facts,
    chosen: Plan,
    *,
    seen: list[tuple[float | None, float | None]] | None = None,
) -> tuple[Outcome, dict[str, TrackIndex]]:
    """Render the tracks once and judge them."""
    outcome = await render_tracks(
        chosen,
        source_url=gateway.source_url,
        output_url=gateway.output_url,
        tools=tools,
        sandbox=Sandbox(),
        on_progress=lambda fraction, speed: (seen if seen is not None else []).append((fraction, speed)),
    )
    await gateway.drained()
    tracks = {}
    for name in chosen.track_names:
        try:
            tracks[name] = indexed(bytes(gateway.outputs.get(name, b"")))
        except TrackDamaged:
            continue
    evidence = Evidence(
        return_code=outcome.return_code,
        used_xerror=chosen.strictness is Strictness.STRICT,
        source_errors=gateway.source_errors,
        puts={name: Put(len(body), name in gateway.finished) for name, body in gateway.outputs.items()},
        tracks=tracks,
        demuxed_duration_s=facts.duration_s or 0.0,
    )
    judge(chosen, facts, evidence)
    return outcome, tracks


def indexed(track: bytes, *, step: int = 65536) -> TrackIndex:
    """Index a track that is in memory, fed in pieces of `step` bytes."""
    indexer = TrackIndexer()
    for at in range(0, len(track), step):
        indexer.feed(track[at : at + step])
    return indexer.finish()
