"""What playback raises, besides errors of the rooms below.

PlaybackError
├── NothingForYou    not yours, not there, wrong key: one and the same answer; the audit knows which
└── NoSuchFile       the recording is open, and has no file of that name
"""

from __future__ import annotations


class PlaybackError(Exception):
    """Root of everything that playback raises."""


class NothingForYou(PlaybackError):
    """Not yours, not there, or the key does not match."""


class NoSuchFile(PlaybackError):
    """The recording has no file of that name."""
