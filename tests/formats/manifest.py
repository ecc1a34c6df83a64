"""Section 4 of docs/format.md: manifests. Written from that page, with nothing of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import accumulate
from types import NoneType
from typing import Any, Final

from tests.formats.notation import Refused, from_base64, members, read_json, uuid_bytes

_FIXED_HEAD: Final = bytes.fromhex("8952564d0d0a1a0a01010e0000000080")
_ROLE: Final = r"[a-z0-9][A-Za-z0-9._-]{0,63}"
_CONTENT_TYPE: Final = r"[a-z0-9.+-]+/[a-z0-9.+-]+(; ?[a-z]+=[A-Za-z0-9.-]+)*"
_CODECS: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_PICTURE: Final = ("width", "height", "frame_rate_millihertz")
_BANDWIDTHS: Final = ("peak_bandwidth_bps", "average_bandwidth_bps")
_GRID: Final = ("interval_s", "width", "height", "columns", "rows", "frames")


def require(condition: object) -> None:
    if not condition:
        raise Refused("Malformed")


def is_form(text: str, pattern: str) -> bool:
    return re.fullmatch(pattern, text, re.ASCII) is not None


def integers(values: Any, *, least: int) -> list[int]:
    require(type(values) is list and all(type(each) is int and each >= least for each in values))
    return list(values)


def open_manifest(inputs: Mapping[str, Any]) -> dict[str, Any]:
    data = inputs["manifest"].encode()
    require(len(data) <= 16_777_216)
    found = members(
        read_json(data, ascii_only=True),
        {
            "version": int,
            "recording_id": str,
            "files": list,
            "replay": (dict, NoneType),
            "thumbs": (dict, NoneType),
        },
    )
    require(found["version"] == 1)
    recording = uuid_bytes(found["recording_id"], error="Malformed")
    for file in found["files"]:
        check_file(file, recording)
    sizes = {file["role"]: file["plain_size_bytes"] for file in found["files"]}
    require(len(sizes) == len(found["files"]) == len({file["file_id"] for file in found["files"]}))
    if found["thumbs"] is not None:
        check_thumbs(found["thumbs"], sizes)
    return {
        "recording_id": found["recording_id"],
        "files": {file["role"]: file["file_id"] for file in found["files"]},
        "segment_offsets": {
            file["role"]: offsets(file["track"]) for file in found["files"] if file["track"] is not None
        },
        "replay_bytes": 0 if found["replay"] is None else replay_bytes(found["replay"], sizes),
    }


def check_file(file: Any, recording: bytes) -> None:
    texts = dict.fromkeys(("role", "file_id", "header", "content_type"), str)
    numbers = dict.fromkeys(("plain_size_bytes", "cipher_size_bytes"), int)
    members(file, {**texts, **numbers, "track": (dict, NoneType)})
    size, header = file["plain_size_bytes"], from_base64(file["header"])
    require(is_form(file["role"], _ROLE) and is_form(file["content_type"], _CONTENT_TYPE))
    require(size >= 0 and file["cipher_size_bytes"] == 128 + size + 16 * (size // 16384 + 1))
    require(len(header) == 128 and header[:16] == _FIXED_HEAD and header[64:72] == bytes(8))
    require(header[16:32] == recording and header[32:48] == uuid_bytes(file["file_id"], error="Malformed"))
    if file["track"] is not None:
        check_track(file["track"])
        require(size == file["track"]["init_size_bytes"] + sum(file["track"]["sizes_bytes"]))


def check_track(track: dict[str, Any]) -> None:
    members(
        track,
        {
            **dict.fromkeys(("kind", "codecs"), str),
            **dict.fromkeys(_PICTURE, (int, NoneType)),
            **dict.fromkeys(("timescale", "init_size_bytes", *_BANDWIDTHS), int),
            **dict.fromkeys(("sizes_bytes", "durations_ticks"), list),
        },
    )
    picture = [track[name] for name in _PICTURE]
    require(track["kind"] in ("video", "audio") and is_form(track["codecs"], _CODECS))
    if track["kind"] == "video":
        require(all(value is not None and value > 0 for value in picture))
    else:
        require(picture == [None] * 3)
    sizes, durations = integers(track["sizes_bytes"], least=1), integers(track["durations_ticks"], least=0)
    require(len(sizes) == len(durations) > 0)
    require(track["timescale"] > 0 and track["init_size_bytes"] > 0)
    require(all(track[name] >= 0 for name in _BANDWIDTHS))


def offsets(track: dict[str, Any]) -> list[int]:
    return list(accumulate(track["sizes_bytes"][:-1], initial=track["init_size_bytes"]))


def check_thumbs(thumbs: dict[str, Any], sizes: Mapping[str, int]) -> None:
    members(thumbs, {**dict.fromkeys(_GRID, int), "sheet_roles": list})
    require(all(thumbs[name] > 0 for name in _GRID))
    require(len(thumbs["sheet_roles"]) == -(-thumbs["frames"] // (thumbs["columns"] * thumbs["rows"])))
    require(all(role in sizes for role in thumbs["sheet_roles"]))


def replay_bytes(replay: dict[str, Any], sizes: Mapping[str, int]) -> int:
    members(replay, {"head": str, "tracks": list, "extents": list})
    require(replay["head"] in sizes and len(replay["extents"]) > 0)
    total = sizes[replay["head"]]
    for extent in replay["extents"]:
        index, offset, size = integers(extent, least=0)
        require(index < len(replay["tracks"]) and size > 0)
        require(offset + size <= sizes.get(replay["tracks"][index], -1))
        total += size
    used = dict.fromkeys(replay["tracks"][extent[0]] for extent in replay["extents"])
    require(list(used) == replay["tracks"])
    return total
