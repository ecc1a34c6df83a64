"""ffprobe's JSON → facts: what is displayed, what is refused, and that no JSON can do worse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcoder.errors import (
    SourceEmpty,
    SourceHasNothingPlayable,
    SourceNotMedia,
    SourceTooLarge,
    SourceUnreadable,
    TranscoderError,
)
from transcoder.facts import AudioFacts, Facts, VideoFacts, parse_probe

VIDEO: dict[str, Any] = {
    "index": 0,
    "codec_type": "video",
    "codec_name": "vp8",
    "width": 640,
    "height": 360,
    "sample_aspect_ratio": "1:1",
    "avg_frame_rate": "30/1",
    "disposition": {"attached_pic": 0},
}
AUDIO: dict[str, Any] = {
    "index": 1,
    "codec_type": "audio",
    "codec_name": "opus",
    "sample_rate": "48000",
    "channels": 1,
    "avg_frame_rate": "0/0",
}


def document(*streams: dict[str, Any], **form: str) -> bytes:
    return json.dumps({"streams": streams, "format": {"format_name": "matroska,webm", **form}}).encode()


def test_a_browser_recording() -> None:
    assert parse_probe(document(VIDEO, AUDIO)) == Facts(
        "matroska,webm",
        None,
        VideoFacts(0, "vp8", 640, 360, 30.0),
        AudioFacts(1, "opus", 1, 48000),
    )


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"side_data_list": [{"rotation": 90}]}, (360, 640)),
        ({"side_data_list": [{"rotation": -90}]}, (360, 640)),
        ({"side_data_list": [{}, {"rotation": 180}]}, (640, 360)),
        ({"side_data_list": [{"rotation": -270}]}, (360, 640)),
        ({"sample_aspect_ratio": "4:3"}, (853, 360)),
        ({"sample_aspect_ratio": "0:1"}, (640, 360)),
        ({"sample_aspect_ratio": "99999:1"}, (640, 360)),
        ({"sample_aspect_ratio": "N/A"}, (640, 360)),
    ],
)
def test_sides_are_as_displayed(change: dict[str, Any], shown: tuple[int, int]) -> None:
    video = parse_probe(document(VIDEO | change)).video
    assert video is not None
    assert (video.width, video.height) == shown


def test_a_cover_picture_is_not_a_video() -> None:
    cover = VIDEO | {"disposition": {"attached_pic": 1}}
    assert parse_probe(document(cover, AUDIO)).video is None


def test_the_first_usable_stream_of_a_kind_is_taken() -> None:
    odd = VIDEO | {"codec_name": "prores"}
    video = parse_probe(document(odd, VIDEO | {"index": 3, "width": 0}, VIDEO | {"index": 4}, AUDIO)).video
    assert video is not None
    assert video.index == 4


@pytest.mark.parametrize(
    ("given_document", "error"),
    [
        (document(), SourceHasNothingPlayable),
        (document(VIDEO | {"codec_name": "prores"}), SourceHasNothingPlayable),
        (document(AUDIO | {"channels": 0}), SourceHasNothingPlayable),
        (document(VIDEO | {"width": 7680, "height": 4320}), SourceTooLarge),
        (b'{"error": {"code": -1094995529}}', SourceNotMedia),
        (b'{"error": {"code": -22}}', SourceNotMedia),
        (b'{"error": {"code": -541478725}}', SourceEmpty),
        (b'{"error": {"code": -12}}', SourceTooLarge),
        (b'{"error": {"code": -5}}', SourceUnreadable),
        (b'{"error": {"code": -1482175736}}', SourceUnreadable),
        (b"", SourceNotMedia),
        (b"[]", SourceNotMedia),
        (b"{}", SourceNotMedia),
        (b"[" * 100_000, SourceNotMedia),
        (b" " * (1 << 21), SourceTooLarge),
    ],
)
def test_refusals(given_document: bytes, error: type[TranscoderError]) -> None:
    with pytest.raises(error):
        parse_probe(given_document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*VIDEO, "rotation"]), inner, max_size=5)
    ),
    max_leaves=10,
)


@given(changes=st.dictionaries(st.sampled_from([*VIDEO, "side_data_list", "channels"]), JSON, max_size=4))
def test_no_document_raises_anything_else(changes: dict[str, Any]) -> None:
    try:
        facts = parse_probe(document(VIDEO | changes, AUDIO | changes))
    except TranscoderError:
        return
    assert facts.video is not None or facts.audio is not None
