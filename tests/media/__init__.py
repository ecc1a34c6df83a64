"""Real recordings to test with, made on this machine and cached; whole, broken, marked and hostile ones.

`media.path("vp8.webm")` (fixture `media` in tests/conftest.py) gives a file by its name; `CATALOGUE` says what each
one is and what should become of it, and is made to be parametrized over:

    @pytest.mark.parametrize("recording", CATALOGUE.values(), ids=lambda recording: recording.name)

`WATERMARKS` names what to search for while a watermarked recording is handled; `hostile_file` and `CanaryServer`
go together.
"""

from __future__ import annotations

from tests.media.canary import CanaryServer
from tests.media.catalogue import CATALOGUE, Fate, Media, Recording
from tests.media.hostile import HOSTILE, hostile_file
from tests.media.tools import demuxed_s, ffmpeg, ffprobe, tools
from tests.media.watermark import WATERMARKS, Watermark, read_pattern

__all__ = [
    "CATALOGUE",
    "HOSTILE",
    "WATERMARKS",
    "CanaryServer",
    "Fate",
    "Media",
    "Recording",
    "Watermark",
    "demuxed_s",
    "ffmpeg",
    "ffprobe",
    "hostile_file",
    "read_pattern",
    "tools",
]
