"""Command lines for ffmpeg and ffprobe, and nothing else: pure functions from facts and plans to argv.

Invariants: every source is opened behind three allow-lists (protocol, container format, codec) and two ceilings
(pixels, streams); no output keeps metadata, chapters, attachments or data streams; filters are passed as options of
their own output stream and never as ffmpeg-python filter nodes, which merge into one `-filter_complex` that loses
audio when the picture's size changes in mid-stream.

`-progress` figures are microseconds whatever the key is called; see `progress`.
"""

from __future__ import annotations

from typing import Any

import ffmpeg

from .binaries import Tools
from .facts import MAX_PIXELS
from .profiles import AudioPlan, Canvas, Plan, Rendition, Strictness

PROTOCOLS = "http,tcp"
FORMATS = "matroska,mov,ogg,wav,mp3,flac,aac"
DECODERS = "h264,hevc,vp8,vp9,av1,libdav1d,opus,vorbis,aac,mp3float,mp3,flac,pcm_s16le"
MAX_STREAMS = 8
_READ_TIMEOUT_US = 30_000_000
# Each thread costs frames and, with glibc, 64 MiB of address space. Four a codec keep a 4K source with four rungs at
# 1.6 GiB on every machine, under the sandbox's 2; ffmpeg's own choice needs 2.5 GiB on eight processors.
_CODEC_THREADS, _FILTER_THREADS = 4, 2

_PROBED = (
    "format=format_name,duration"
    ":stream=index,codec_type,codec_name,width,height,avg_frame_rate,r_frame_rate,sample_aspect_ratio,"
    "channels,sample_rate"
    ":stream_disposition=attached_pic:stream_side_data=rotation"
)

# Speech: even out two speakers first, then bring the whole to -16 LUFS. Leaves 3 LU between a loud clinician and
# a quiet patient, where loudnorm alone leaves almost 11. `async=1` fills and trims where time stamps and samples
# part by 50 ms; larger values also stretch, and ffmpeg 5.1 then adds a second of sound for a step of a millisecond.
_LOUDNESS = (
    "aresample=48000:async=1:min_hard_comp=0.05:first_pts=0,dynaudnorm=f=250:g=15,loudnorm=I=-16:TP=-2:LRA=7,"
    "aresample=48000,aformat=channel_layouts=mono"
)


def source_options() -> dict[str, Any]:
    """Options that stand before every `-i`: the allow-lists and ceilings."""
    return {
        "protocol_whitelist": PROTOCOLS,
        "format_whitelist": FORMATS,
        "codec_whitelist": DECODERS,
        "max_pixels": MAX_PIXELS,
        "max_streams": MAX_STREAMS,
        "rw_timeout": _READ_TIMEOUT_US,
        "seekable": 1,
        "threads": _CODEC_THREADS,
    }


def probe(tools: Tools, source_url: str) -> list[str]:
    """Ask for JSON on stdout; titles and other tags are not even asked for."""
    options = [word for name, value in source_options().items() for word in (f"-{name}", str(value))]
    return [
        *(str(tools.ffprobe), "-hide_banner", "-loglevel", "error", "-show_error"),
        *("-print_format", "json", "-show_entries", _PROBED, *options, "-i", source_url),
    ]


def measure(tools: Tools, source_url: str, *, stream_index: int, strictness: Strictness) -> list[str]:
    """Demux one stream to nowhere, without decoding: the last progress block tells how long it really is."""
    stream = ffmpeg.input(source_url, **source_options())[str(stream_index)]
    output = ffmpeg.output(stream, "-", format="null", c="copy")
    return _compiled(output, tools, strictness)


def tracks(tools: Tools, plan: Plan, *, source_url: str, output_url: str) -> list[str]:
    """One pass: every rendition and the sound as fragmented MP4, one PUT per track."""
    source = ffmpeg.input(source_url, **source_options())
    streams = [source[str(rendition.stream_index)] for rendition in plan.renditions]
    options = _hls_options(plan, output_url)
    for number, rendition in enumerate(plan.renditions):
        options |= _video_options(number, rendition)
    if plan.audio is not None:
        streams.append(source[str(plan.audio.stream_index)])
        options |= _audio_options(plan.audio)
    output = ffmpeg.output(*streams, f"{output_url}/%v.m3u8", **options)
    return _compiled(output, tools, plan.strictness)


def poster(tools: Tools, plan: Plan, *, source_url: str, output_url: str) -> list[str]:
    """The most typical of 60 frames near the start, 640 wide at most. The plan must have a poster."""
    assert plan.poster is not None  # noqa: S101  # the façade asks only then
    source = ffmpeg.input(source_url, **source_options(), ss=plan.poster.at_s)
    output = ffmpeg.output(
        source[str(plan.poster.stream_index)],
        f"{output_url}/poster.jpg",
        **{
            "filter:v": f"thumbnail=60,{_fitted(plan.poster.canvas)}",
            "frames:v": 1,
            "c:v": "mjpeg",
            "q:v": 4,
        },
        **_anonymous(),
        pix_fmt="yuvj420p",
        format="mjpeg",
        method="PUT",
    )
    return _compiled(output, tools, Strictness.SALVAGE)


def sprites(tools: Tools, plan: Plan, *, source_url: str, output_url: str) -> list[str]:
    """Sheets of small frames for the scrub bar, `thumbs-001.jpg` onwards. The plan must have sprites."""
    sheet = plan.sprites
    assert sheet is not None  # noqa: S101  # the façade asks only then
    source = ffmpeg.input(source_url, **source_options())
    picture = f"fps=1/{sheet.interval_s}:start_time=0:round=up,{_fitted(sheet.canvas)}"
    output = ffmpeg.output(
        source[str(sheet.stream_index)],
        f"{output_url}/thumbs-%03d.jpg",
        **{"filter:v": f"{picture},tile={sheet.columns}x{sheet.rows}", "c:v": "mjpeg", "q:v": 5},
        **_anonymous(),
        pix_fmt="yuvj420p",
        fps_mode="vfr",
        format="image2",
        protocol_opts="method=PUT",
    )
    return _compiled(output, tools, Strictness.SALVAGE)


def _compiled(output: Any, tools: Tools, strictness: Strictness) -> list[str]:
    words = ["-nostdin", "-hide_banner", "-loglevel", "warning", "-progress", "pipe:1", "-stats_period", "1"]
    words += ["-filter_threads", str(_FILTER_THREADS)]
    if strictness is Strictness.STRICT:
        words.append("-xerror")
    argv: list[str] = output.compile(cmd=[str(tools.ffmpeg), *words])
    return argv


def _anonymous() -> dict[str, Any]:
    return {"map_metadata": -1, "map_chapters": -1, "fflags": "+bitexact", "flags:v": "+bitexact"}


def _hls_options(plan: Plan, output_url: str) -> dict[str, Any]:
    """Byte-range HLS of fragmented MP4, one file a track.

    `negative_cts_offsets` with time stamps left alone makes picture and sound both start at 0 on the decoding
    clock: players that ignore edit lists (all that use Media Source Extensions) are then 21 ms from exact, the
    encoder's priming, where the defaults of the muxer leave 45 ms.
    """
    return _anonymous() | {
        "max_muxing_queue_size": 1024,
        "avoid_negative_ts": "disabled",
        "format": "hls",
        "hls_time": plan.segment_s,
        "hls_list_size": 0,
        "hls_playlist_type": "vod",
        "hls_segment_type": "fmp4",
        "hls_segment_options": "movflags=+negative_cts_offsets",
        "hls_segment_filename": f"{output_url}/%v.mp4",
        "hls_flags": "independent_segments+single_file",
        "method": "PUT",
        "var_stream_map": _variants(plan),
    }


def _variants(plan: Plan) -> str:
    words = [f"v:{number},agroup:a,name:{each.name}" for number, each in enumerate(plan.renditions)]
    if plan.audio is None:
        words = [word.replace("agroup:a,", "") for word in words]
    elif words:
        words.append(f"a:0,agroup:a,name:{plan.audio.name},default:yes")
    else:
        words.append(f"a:0,name:{plan.audio.name}")
    return " ".join(words)


def _video_options(number: int, rendition: Rendition) -> dict[str, Any]:
    keyframe_every = rendition.fps * rendition.keyframe_s
    picture = f"fps={rendition.fps}:start_time=0,{_fitted(rendition.canvas)},format=yuv420p"
    if rendition.freeze_s:
        picture += f",tpad=stop_mode=clone:stop_duration={rendition.freeze_s:.3f}"
    return {
        "c:v": "libx264",
        "threads:v": _CODEC_THREADS,
        "preset": "veryfast",
        "crf": 23,
        "bf": 2,
        "g": keyframe_every,
        "keyint_min": keyframe_every,
        "sc_threshold": 0,
        "flags:v": "+cgop+bitexact",
        f"filter:v:{number}": picture,
        f"profile:v:{number}": rendition.profile,
        f"level:v:{number}": rendition.level,
        f"maxrate:v:{number}": f"{rendition.max_bitrate_kbps}k",
        f"bufsize:v:{number}": f"{2 * rendition.max_bitrate_kbps}k",
    }


def _audio_options(audio: AudioPlan) -> dict[str, Any]:
    sound = _LOUDNESS
    if audio.extend_to_s:
        sound += f",apad=whole_dur={audio.extend_to_s:.3f}"
    return {
        "filter:a:0": sound,
        "c:a": "aac",
        "ac": 1,
        "b:a": f"{audio.bitrate_kbps}k",
        "flags:a": "+bitexact",
    }


def _fitted(canvas: Canvas) -> str:
    """Scale into the canvas and pad to it: the encoder sees one size however often the source changes its own."""
    size = f"{canvas.width}:{canvas.height}"
    fit = f"scale={size}:force_original_aspect_ratio=decrease:force_divisible_by=2"
    return f"{fit},pad={size}:-1:-1:color=black,setsar=1"
