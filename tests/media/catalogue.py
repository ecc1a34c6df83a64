"""Every recording the tests can ask for by name: what it is, what should become of it, and its cache.

Files are made once for each version of their maker's source and kept below `.cache/media/`. Makers run under a file
lock and a finished set appears by one rename, so any number of test workers share them. `python -m tests.media`
makes them all before the tests start.
"""

from __future__ import annotations

import dataclasses
import enum
import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.media import browser, speech, synthetic, watermark
from vault.demo import scene

CACHE = Path(__file__).parents[2] / ".cache" / "media"


class Fate(enum.Enum):
    """What becomes of a recording after its upload."""

    PUBLISHED = "published and playable to its end"
    EITHER = "published as far as it goes, or failed with a reason"
    FAILED = "failed with a reason; the sealed original is kept"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One file of the catalogue. Codecs are ffprobe's names, None where the file has no such track."""

    name: str
    video: str | None = None
    audio: str | None = None
    length_s: float | None = None
    """How long it plays; None where nothing plays."""
    states_duration: bool = True
    """Whether its container says how long it is; MediaRecorder's WebM doesn't."""
    shown: tuple[int, int] | None = None
    """Width and height as shown, after rotation; of the first picture where the size changes."""
    fate: Fate = Fate.PUBLISHED


_SMALL = (640, 360)
_RECORDINGS = (
    Recording(name="talk.wav", audio="pcm_s16le", length_s=37),
    Recording(name="vp8.webm", video="vp8", audio="opus", length_s=8, states_duration=False, shown=_SMALL),
    Recording(name="vp9.webm", video="vp9", audio="opus", length_s=8, states_duration=False, shown=_SMALL),
    Recording(name="h264.webm", video="h264", audio="opus", length_s=8, states_duration=False, shown=_SMALL),
    Recording(name="fragmented.mp4", video="h264", audio="opus", length_s=8, shown=_SMALL),
    Recording(name="audio.webm", audio="opus", length_s=8, states_duration=False),
    Recording(name="consultation.mp4", video="h264", audio="aac", length_s=30, shown=_SMALL),
    Recording(name="consultation.webm", video="vp8", audio="opus", length_s=30, shown=_SMALL),
    Recording(name="moov-at-end.mp4", video="h264", audio="aac", length_s=10, shown=_SMALL),
    Recording(name="video-only.webm", video="vp8", length_s=8, shown=_SMALL),
    Recording(name="resolution-change.webm", video="vp8", audio="opus", length_s=12, shown=_SMALL),
    Recording(name="portrait.mp4", video="h264", audio="aac", length_s=6, shown=(360, 640)),
    Recording(name="watermarked.mkv", video="h264", audio="pcm_s16le", length_s=12, shown=_SMALL),
    Recording(name="watermarked-other.mkv", video="h264", audio="pcm_s16le", length_s=12, shown=_SMALL),
    Recording(name="truncated.webm", video="vp8", audio="opus", length_s=18, shown=_SMALL, fate=Fate.EITHER),
    Recording(name="truncated.mp4", fate=Fate.FAILED),
    Recording(name="empty.webm", fate=Fate.FAILED),
    Recording(name="notes.txt", fate=Fate.FAILED),
    Recording(name="huge-frame.mp4", video="h264", length_s=1, shown=(7680, 4320), fate=Fate.FAILED),
    Recording(name="many-streams.mkv", audio="flac", length_s=1, fate=Fate.FAILED),
)
CATALOGUE = {recording.name: recording for recording in _RECORDINGS}


@dataclasses.dataclass(frozen=True, slots=True)
class _Set:
    """Files that one maker makes together; `sources` are the modules whose text decides the files."""

    files: tuple[str, ...]
    make: Callable[[Path, Media], None]
    sources: tuple[str | None, ...]


_SETS = {
    "speech": _Set(speech.FILES, lambda folder, _: speech.make(folder), (speech.__file__,)),
    "browser": _Set(
        browser.FILES,
        lambda folder, media: browser.make(folder, talk=media.path("talk.wav")),
        (browser.__file__, scene.__file__, speech.__file__),
    ),
    "synthetic": _Set(
        synthetic.FILES,
        lambda folder, media: synthetic.make(folder, talk=media.path("talk.wav")),
        (synthetic.__file__, scene.__file__, speech.__file__),
    ),
    "watermark": _Set(
        watermark.FILES, lambda folder, _: watermark.make(folder), (watermark.__file__, scene.__file__)
    ),
}


class Media:
    """The recordings by name. Files are read-only for tests: copy before changing one."""

    def __init__(self, cache: Path = CACHE) -> None:
        self._cache = cache
        self._made = {name: folder for name in _SETS if (folder := self._folder(name)).is_dir()}

    def path(self, name: str) -> Path:
        """Return where the file `name` is, making it first if need be (then this takes up to half a minute).

        Names are those of `CATALOGUE`, and `talk.json` (speech.py). Skips, or fails in CI, when a program that
        makes the file isn't installed.
        """
        owner = next(key for key, made in _SETS.items() if name in made.files)
        if owner not in self._made:
            self._made[owner] = self._make(owner)
        return self._made[owner] / name

    def make_all(self) -> None:
        """Make whatever isn't there yet."""
        for made in _SETS.values():
            self.path(made.files[0])

    def _folder(self, name: str) -> Path:
        text = b"".join(Path(source).read_bytes() for source in _SETS[name].sources if source)
        return self._cache / f"{name}-{hashlib.sha256(text).hexdigest()[:12]}"

    def _make(self, name: str) -> Path:
        folder = self._folder(name)
        with _lock(self._cache / f"{name}.lock"):
            if not folder.is_dir():
                self._fill(folder, files=_SETS[name])
        return folder

    def _fill(self, folder: Path, *, files: _Set) -> None:
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=self._cache))
        try:
            files.make(unfinished, self)
            found = {path.name for path in unfinished.iterdir()}
            if found != set(files.files):
                message = f"made {sorted(found)} instead of {sorted(files.files)}"
                raise RuntimeError(message)
            for path in unfinished.iterdir():
                path.chmod(0o444)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
