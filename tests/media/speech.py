"""A consultation to listen to: espeak-ng speaks it, a loud clinician and a quiet patient taking turns.

Files: `talk.wav` (48 kHz mono, about 30 s) and `talk.json`, the turns: `[{"speaker", "start_s", "end_s"}, …]`.
The patient is 14 dB quieter, as on a real call with a distant microphone: loudness levelling is tested on it.
"""

from __future__ import annotations

import json
import wave
from pathlib import Path

from tests.media.tools import ffmpeg, program, run

FILES = ("talk.wav", "talk.json")

_RATE_HZ = 48_000
_PAUSE_S = 0.35
_VOICES = {"clinician": ("en-gb", "155", "0dB"), "patient": ("en-gb+f3", "145", "-14dB")}
_TURNS = (
    ("clinician", "Good morning. How have you been since we last spoke?"),
    ("patient", "A little better, thank you. The cough is mostly gone, but I still wake up at night."),
    ("clinician", "How often does that happen in a week, would you say?"),
    ("patient", "Three or four times. It usually takes me an hour to fall asleep again."),
    ("clinician", "Are you still taking the tablets in the evening?"),
    ("patient", "Yes, one tablet at nine. I stopped the other ones, as you suggested."),
    ("clinician", "Then let us move it to the morning, and talk again in two weeks."),
    ("patient", "That sounds good. Thank you, doctor."),
)


def make(folder: Path) -> None:
    """Speak every turn, level it, and join the turns with short pauses."""
    samples, turns = bytearray(), []
    for number, (speaker, words) in enumerate(_TURNS):
        spoken = _speak(folder, number=number, speaker=speaker, words=words)
        start = len(samples)
        samples += spoken
        turns.append({"speaker": speaker, "start_s": _seconds(start), "end_s": _seconds(len(samples))})
        samples += bytes(2 * int(_PAUSE_S * _RATE_HZ))
    with wave.open(str(folder / "talk.wav"), "wb") as talk:
        talk.setnchannels(1)
        talk.setsampwidth(2)
        talk.setframerate(_RATE_HZ)
        talk.writeframes(samples)
    (folder / "talk.json").write_text(json.dumps(turns, indent=1), encoding="utf-8")
    for leftover in folder.glob("turn-*"):
        leftover.unlink()


def _speak(folder: Path, *, number: int, speaker: str, words: str) -> bytes:
    voice, words_per_minute, gain = _VOICES[speaker]
    raw = folder / f"turn-{number}.wav"
    run(program("espeak-ng", package="espeak-ng"), "-v", voice, "-s", words_per_minute, "-w", raw, words)
    filters = f"volume={gain},aresample={_RATE_HZ}"
    return ffmpeg("-i", raw, "-af", filters, "-ac", "1", "-f", "s16le", "-c:a", "pcm_s16le", "-")


def _seconds(size_bytes: int) -> float:
    return round(size_bytes / 2 / _RATE_HZ, 3)
