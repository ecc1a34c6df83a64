"""What the workshop stands on, in plain words for `replayvault doctor`: ffmpeg, and the walls around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transcoder.errors import ToolsMissing
from transcoder.workshop import describe_sandbox, find_tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """ffmpeg's place and version, None where there is none; which walls the kernel puts around it."""

    ffmpeg: Path | None
    version: str | None
    landlock_abi: int
    filesystem_confined: bool
    network_confined: bool
    signals_confined: bool


def describe_layers(ffmpeg_path: str | None) -> Layers:
    """Look once; runs `ffmpeg -version` and blocks for it."""
    walls = describe_sandbox()
    try:
        tools = find_tools(ffmpeg_path)
    except ToolsMissing:
        tools = None
    abi = walls["landlock_abi"]
    return Layers(
        ffmpeg=None if tools is None else tools.ffmpeg,
        version=None if tools is None else tools.version,
        landlock_abi=abi if isinstance(abi, int) else 0,
        filesystem_confined=walls["filesystem_confined"] is True,
        network_confined=walls["network_confined"] is True,
        signals_confined=walls["signals_confined"] is True,
    )
