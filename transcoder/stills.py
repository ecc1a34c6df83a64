"""The WebVTT file that tells a player which part of which sheet to show above its scrub bar.

Cues are as in the W3C's WebVTT with media fragments (`#xywh=`, Media Fragments URI 1.0 section 4.2.2), the form that
video.js, Plyr, shaka-player and JW Player read. Invariant: cues cover the recording without gap or overlap.
"""

from __future__ import annotations

from .profiles import Plan, Sprites


def thumbs_vtt(plan: Plan, *, duration_s: float, sheets: int) -> str:
    """Write the cues for the sheets that arrived; an empty file of cues where the plan has no sprites.

    The URIs are relative, so that the same text serves under a session and under a ticket.
    """
    cues = [] if plan.sprites is None else _cues(plan.sprites, duration_s=duration_s, sheets=sheets)
    return "\n\n".join(["WEBVTT", *cues]) + "\n"


def _cues(sprites: Sprites, *, duration_s: float, sheets: int) -> list[str]:
    per_sheet = sprites.columns * sprites.rows
    frames = min(sprites.frames, sheets * per_sheet)
    cues = []
    for frame in range(frames):
        start_s = frame * sprites.interval_s
        end_s = duration_s if frame == frames - 1 else min(start_s + sprites.interval_s, duration_s)
        if end_s > start_s:
            cues.append(f"{timestamp(start_s)} --> {timestamp(end_s)}\n{_place(sprites, frame, per_sheet)}")
    return cues


def _place(sprites: Sprites, frame: int, per_sheet: int) -> str:
    sheet, at = divmod(frame, per_sheet)
    row, column = divmod(at, sprites.columns)
    width, height = sprites.canvas.width, sprites.canvas.height
    return f"thumbs-{sheet + 1:03d}.jpg#xywh={column * width},{row * height},{width},{height}"


def timestamp(seconds: float) -> str:
    """Write `HH:MM:SS.mmm`."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
