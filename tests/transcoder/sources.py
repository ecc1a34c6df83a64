"""Recordings as patients' browsers, phones and bad networks make them, synthesised by ffmpeg."""

from __future__ import annotations

import subprocess
from pathlib import Path

_TONE = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration={0}")
_VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k")
_VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k")
_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def _picture(size: str, seconds: float) -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30:duration={seconds}")


def _tone(seconds: float) -> tuple[str, ...]:
    return (*_TONE[:-1], _TONE[-1].format(seconds))


class Studio:
    """Makes each source once and keeps its bytes; `get(name)` finds the method of that name."""

    def __init__(self, ffmpeg: Path, folder: Path) -> None:
        self._ffmpeg = ffmpeg
        self._folder = folder
        self._made: dict[str, bytes] = {}

    def get(self, name: str) -> bytes:
        """Bytes of a source."""
        if name not in self._made:
            made = getattr(self, name)()
            assert isinstance(made, bytes)
            self._made[name] = made
        return self._made[name]

    def vp8_live(self) -> bytes:
        """A MediaRecorder webm: no duration, no cues."""
        return self._live(*_picture("320x180", 3), *_tone(3), *_VP8, "-c:a", "libopus")

    def vp9_live(self) -> bytes:
        return self._live(*_picture("320x180", 3), *_tone(3), *_VP9, "-c:a", "libopus")

    def h264_live(self) -> bytes:
        return self._live(*_picture("320x180", 3), *_tone(3), *_H264, "-c:a", "libopus", muxer="matroska")

    def fragmented(self) -> bytes:
        """A MediaRecorder mp4, as Safari makes it."""
        moving = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")
        return self._mp4(*_picture("320x180", 3), *_tone(3), *_H264, "-g", "30", "-c:a", "aac", *moving)

    def moov_at_end(self) -> bytes:
        return self._mp4(*_picture("320x180", 3), *_tone(3), *_H264, "-c:a", "aac")

    def moov_first(self) -> bytes:
        moving = ("-movflags", "+faststart")
        return self._mp4(*_picture("320x180", 6), *_tone(6), *_H264, "-g", "30", "-c:a", "aac", *moving)

    def audio_only(self) -> bytes:
        return self._live(*_tone(3), "-c:a", "libopus")

    def video_only(self) -> bytes:
        return self._live(*_picture("320x180", 3), *_VP8)

    def wav(self) -> bytes:
        return self._made_by(*_tone(2), "-c:a", "pcm_s16le", suffix="wav")

    def portrait(self) -> bytes:
        """A phone held upright: a landscape picture with a rotation matrix."""
        upright = self._folder / "landscape.mp4"
        upright.write_bytes(self._mp4(*_picture("640x360", 2), *_tone(2), *_H264, "-c:a", "aac"))
        return self._mp4("-display_rotation:v:0", "90", "-i", str(upright), "-c", "copy")

    def large(self) -> bytes:
        return self._mp4(*_picture("1280x720", 9), *_tone(9), *_H264, "-c:a", "aac")

    def early_end(self) -> bytes:
        """The camera was switched off in mid-call: picture 2 s, sound 5 s."""
        return self._mp4(*_picture("320x180", 2), *_tone(5), *_H264, "-c:a", "aac")

    def deaf_end(self) -> bytes:
        """The microphone died: sound 2 s, picture 5 s."""
        return self._mp4(*_picture("320x180", 5), *_tone(2), *_H264, "-c:a", "aac")

    def titled(self) -> bytes:
        """Metadata that must not survive."""
        words = (
            "-metadata",
            "title=Jane Roe",
            "-metadata",
            "location=+51.5-000.1/",
            "-metadata",
            "make=ACME",
        )
        return self._mp4(*_picture("320x180", 2), *_tone(2), *_H264, "-c:a", "aac", *words)

    def resized(self) -> bytes:
        """A WebRTC recording: the picture's size changes twice in mid-stream."""
        sizes = ("320x180", "640x360", "480x270")
        parts = []
        for number, size in enumerate(sizes):
            part = self._folder / f"part{number}.webm"
            part.write_bytes(self._webm(*_picture(size, 2), *_tone(2), *_VP8, "-c:a", "libopus"))
            parts.append(f"file '{part}'")
        listing = self._folder / "parts.txt"
        listing.write_text("\n".join(parts))
        return self._webm("-f", "concat", "-safe", "0", "-i", str(listing), "-c", "copy")

    def cut_mp4(self) -> bytes:
        whole = self.get("moov_first")
        return whole[: len(whole) // 2]

    def cut_webm(self) -> bytes:
        whole = self.get("vp8_live")
        return whole[: len(whole) * 2 // 3]

    def cut_index(self) -> bytes:
        """Cut before the moov box at the end."""
        return self.get("moov_at_end")[:20000]

    def dented(self) -> bytes:
        """A few frames in the middle are noise; the container is whole."""
        whole = bytearray(self.get("moov_first"))
        middle = len(whole) // 2
        whole[middle : middle + 3000] = b"\xa5" * 3000
        return bytes(whole)

    def enormous(self) -> bytes:
        return self._mp4("-f", "lavfi", "-i", "color=size=7680x4320:rate=1:duration=1", *_H264)

    def thousand_streams(self) -> bytes:
        """A Matroska file of a hundred sound streams; a thousand behave alike and take longer to make."""
        maps = [word for _ in range(100) for word in ("-map", "0:a")]
        return self._made_by(*_tone(1), *maps, "-c:a", "pcm_s16le", suffix="mkv")

    def _live(self, *words: str, muxer: str = "webm") -> bytes:
        return self._run(*words, "-f", muxer, "-live", "1", "pipe:1").stdout

    def _mp4(self, *words: str) -> bytes:
        return self._made_by(*words, suffix="mp4")

    def _webm(self, *words: str) -> bytes:
        return self._made_by(*words, suffix="webm")

    def _made_by(self, *words: str, suffix: str) -> bytes:
        path = self._folder / f"out.{suffix}"
        self._run(*words, str(path))
        return path.read_bytes()

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        argv = [str(self._ffmpeg), "-nostdin", "-v", "error", "-y", *words]
        return subprocess.run(argv, capture_output=True, check=True, timeout=60)
