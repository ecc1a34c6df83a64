"""Facts → plan: which renditions, in which size, under which names. A table and arithmetic.

Invariants: never upscaled; at least one rendition where there is a picture; every canvas has even sides and keeps
the source's shape (a portrait source swaps the sides by itself); sound is always a rendition of its own; all
renditions share one grid of keyframes; `Plan.outputs` names everything ffmpeg may PUT and nothing else.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import re
from dataclasses import dataclass

from .errors import SourceTooLarge
from .facts import Facts, VideoFacts

MAX_DURATION_S = 12 * 3600
SEGMENT_S = 4
KEYFRAME_S = 2
_MIN_SIDE = 16  # one macroblock
_FREEZE_FROM_S = 0.25  # a shorter difference between the ends of sound and picture is normal
_PLAYLIST_MAX_BYTES = 8 << 20
_IMAGE_MAX_BYTES = 4 << 20
_MAX_SPRITE_FRAMES = 900
_AUDIO_KBPS = 64


class Content(enum.Enum):
    """What the picture shows. Small print needs 1080 lines; a face does not."""

    CAMERA = "camera"
    SCREEN = "screen"


class Strictness(enum.Enum):
    """STRICT ends at the first damage (`-xerror`); SALVAGE plays on and keeps what can be decoded."""

    STRICT = "strict"
    SALVAGE = "salvage"


class OutputKind(enum.Enum):
    """What a PUT holds."""

    TRACK = "track"
    PLAYLIST = "playlist"
    POSTER = "poster"
    SPRITES = "sprites"


@dataclass(frozen=True, slots=True)
class Canvas:
    """Size of the encoded picture in pixels, both even."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Rung:
    """One line of the ladder; `short` is the shorter side of its 16:9 box."""

    short: int
    profile: str
    level: str
    max_bitrate_kbps: int

    @property
    def long(self) -> int:
        """The longer side of the box, even."""
        return _even(self.short * 16 / 9)


# 480 lines of 16:9 at 30 fps are 48 600 macroblocks a second: over level 3.0's 40 500, so level 3.1 it is.
_LADDER = (
    Rung(1080, "high", "4.0", 3500),
    Rung(720, "main", "3.1", 1800),
    Rung(480, "main", "3.1", 900),
    Rung(360, "main", "3.0", 600),
)


@dataclass(frozen=True, slots=True)
class Rendition:
    """One video track. `freeze_s` is how long its last frame stands so that it ends with the sound."""

    name: str
    stream_index: int
    canvas: Canvas
    fps: int
    keyframe_s: int
    profile: str
    level: str
    max_bitrate_kbps: int
    freeze_s: float = 0.0


@dataclass(frozen=True, slots=True)
class AudioPlan:
    """The sound track, mono AAC. `extend_to_s` pads with silence up to the picture's end; 0 for not at all."""

    stream_index: int
    bitrate_kbps: int = _AUDIO_KBPS
    extend_to_s: float = 0.0
    name: str = "audio"


@dataclass(frozen=True, slots=True)
class Poster:
    """One still picture, searched for from `at_s` on."""

    stream_index: int
    canvas: Canvas
    at_s: float


@dataclass(frozen=True, slots=True)
class Sprites:
    """Scrub pictures: one of `canvas` size every `interval_s`, `columns` by `rows` on a sheet."""

    stream_index: int
    canvas: Canvas
    interval_s: int
    columns: int
    rows: int
    frames: int

    @property
    def sheets(self) -> int:
        """How many files there will be."""
        return math.ceil(self.frames / (self.columns * self.rows))


@dataclass(frozen=True, slots=True)
class Output:
    """One name that ffmpeg may PUT; a `%03d` in it stands for 1 to `count`, three digits."""

    name: str
    kind: OutputKind
    max_size_bytes: int
    count: int = 1

    def matches(self, name: str) -> bool:
        """Tell whether a PUT of `name` is this output. Exact: no other spelling of a number is accepted."""
        if "%03d" not in self.name:
            return name == self.name
        pattern = re.escape(self.name).replace("%03d", "([0-9]{3})")
        found = re.fullmatch(pattern, name)
        return found is not None and 1 <= int(found[1]) <= self.count


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make of one source."""

    duration_s: float
    renditions: tuple[Rendition, ...]
    audio: AudioPlan | None
    poster: Poster | None
    sprites: Sprites | None
    strictness: Strictness
    segment_s: int = SEGMENT_S

    @property
    def track_names(self) -> tuple[str, ...]:
        """File names of all tracks, largest picture first, sound last."""
        names = [rendition.name for rendition in self.renditions]
        return tuple(f"{name}.mp4" for name in [*names, *([self.audio.name] if self.audio else [])])

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Everything the gateway may accept, each with its ceiling."""
        video = {f"{each.name}.mp4": _track_limit(self, each.max_bitrate_kbps) for each in self.renditions}
        sound = {f"{self.audio.name}.mp4": _track_limit(self, self.audio.bitrate_kbps)} if self.audio else {}
        sizes = video | sound
        made = [Output(name, OutputKind.TRACK, size) for name, size in sizes.items()]
        lists = [name.removesuffix(".mp4") + ".m3u8" for name in sizes]
        made += [Output(name, OutputKind.PLAYLIST, _PLAYLIST_MAX_BYTES) for name in lists]
        if self.poster is not None:
            made.append(Output("poster.jpg", OutputKind.POSTER, _IMAGE_MAX_BYTES))
        if self.sprites is not None:
            sheets = self.sprites.sheets + 1  # a source may turn out a frame longer than measured
            made.append(Output("thumbs-%03d.jpg", OutputKind.SPRITES, _IMAGE_MAX_BYTES, sheets))
        return tuple(made)

    def output_for(self, name: str) -> Output | None:
        """Find the output that a PUT of `name` would be; None for a name that must be refused."""
        return next((output for output in self.outputs if output.matches(name)), None)

    def salvaging(self) -> Plan:
        """Return the same plan for a damaged source: decode on after errors and keep what there is."""
        return dataclasses.replace(self, strictness=Strictness.SALVAGE)


def plan(facts: Facts, *, content: Content = Content.CAMERA) -> Plan:
    """Decide what to make. Raises SourceTooLarge for a recording of more than 12 hours."""
    if facts.duration_s is None or not 0 <= facts.duration_s <= MAX_DURATION_S:
        raise SourceTooLarge
    return Plan(
        duration_s=facts.duration_s,
        renditions=() if facts.video is None else _renditions(facts, facts.video, content),
        audio=_audio(facts),
        poster=None if facts.video is None else _poster(facts.video, facts.duration_s),
        sprites=None if facts.video is None else _sprites(facts.video, facts.duration_s),
        strictness=Strictness.SALVAGE if facts.damaged else Strictness.STRICT,
    )


def _renditions(facts: Facts, video: VideoFacts, content: Content) -> tuple[Rendition, ...]:
    ladder = _LADDER if content is Content.SCREEN else _LADDER[1:]
    rungs = [rung for rung in ladder if _earns(video, rung)] or [ladder[-1]]
    fps = _frame_rate(video.fps)
    freeze_s = _shortfall(video.duration_s, facts.duration_s)
    return tuple(
        Rendition(
            name=f"{rung.short}p",
            stream_index=video.index,
            canvas=fit(video.width, video.height, long=rung.long, short=rung.short),
            fps=fps,
            keyframe_s=KEYFRAME_S,
            profile=rung.profile,
            level=rung.level,
            max_bitrate_kbps=rung.max_bitrate_kbps,
            freeze_s=freeze_s,
        )
        for rung in rungs
    )


def _earns(video: VideoFacts, rung: Rung) -> bool:
    """A source within a tenth of a rung gets it, at its own size: 704 lines deserve better than 480."""
    short, long = sorted((video.width, video.height))
    return 10 * short >= 9 * rung.short or 10 * long >= 9 * rung.long


def fit(width: int, height: int, *, long: int, short: int) -> Canvas:
    """Shrink to a box that turns with the source; never enlarge; even sides of at least one macroblock."""
    box_width, box_height = (long, short) if width >= height else (short, long)
    ratio = min(1.0, box_width / width, box_height / height)
    return Canvas(max(_even(width * ratio), _MIN_SIDE), max(_even(height * ratio), _MIN_SIDE))


def _even(value: float) -> int:
    return 2 * round(value / 2)


def _frame_rate(fps: float | None) -> int:
    """Film and European rates stay as they are; everything else, unknown rates included, goes on a 30 Hz grid."""
    for rate, kept in ((24.0, 24), (25.0, 25), (50.0, 25)):
        if fps is not None and abs(fps - rate) < 0.1:  # noqa: PLR2004  # 23.976 is 24, 29.97 is 30
            return kept
    return 30


def _audio(facts: Facts) -> AudioPlan | None:
    if facts.audio is None:
        return None
    short = facts.video is not None and _shortfall(facts.audio.duration_s, facts.duration_s) > 0
    return AudioPlan(facts.audio.index, extend_to_s=facts.duration_s or 0.0 if short else 0.0)


def _shortfall(part_s: float | None, whole_s: float | None) -> float:
    if part_s is None or whole_s is None or whole_s - part_s < _FREEZE_FROM_S:
        return 0.0
    return whole_s - part_s


def _poster(video: VideoFacts, duration_s: float) -> Poster:
    canvas = fit(video.width, video.height, long=640, short=360)
    return Poster(video.index, canvas, at_s=5.0 if (video.duration_s or duration_s) > 10 else 0.0)  # noqa: PLR2004


def _sprites(video: VideoFacts, duration_s: float) -> Sprites:
    """Every 2 s, or so seldom that an hours-long recording still has 900 pictures at most."""
    interval_s = max(2, math.ceil(duration_s / _MAX_SPRITE_FRAMES))
    frames = max(1, math.ceil((video.duration_s or duration_s) / interval_s))
    columns, rows = (3, 2) if frames <= 24 else (5, 5)  # noqa: PLR2004  # small sheets for short recordings
    return Sprites(
        video.index, fit(video.width, video.height, long=160, short=90), interval_s, columns, rows, frames
    )


def _track_limit(plan: Plan, kbps: int) -> int:
    """Twice the capped bit rate over the planned time, and room for headers: an encoder cannot miss that."""
    return int((plan.duration_s + 60) * kbps * 1000 / 8 * 2) + (1 << 20)
