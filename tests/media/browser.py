"""Recordings made by a real browser: headless Chromium's MediaRecorder on a fake camera and microphone.

`python -m tests.media.browser TALK_WAV FOLDER` records every file of `FILES` into FOLDER. A process of its own,
because playwright's blocking interface refuses to run where an event loop runs. The camera shows scene.py, the
microphone plays speech.py. Nothing leaves the machine: the page is answered by playwright, other names don't
resolve, and Chromium's background services are off.
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Route, sync_playwright

from tests.media.tools import ffmpeg, program, run
from vault.demo import scene

RECORDED_S = 8
_CAMERA_S = 12

# File name → what an app would pass to MediaRecorder. One group is recorded at the same time, from one camera.
_GROUPS = (
    {"vp8.webm": "video/webm;codecs=vp8,opus", "h264.webm": "video/webm;codecs=h264,opus"},
    {
        "fragmented.mp4": "video/mp4;codecs=avc1.42E01E,opus",
        "audio.webm": "audio/webm;codecs=opus",
        "vp9.webm": "video/webm;codecs=vp9,opus",
    },
)
FILES = tuple(name for group in _GROUPS for name in group)

_PAGE = "http://localhost/"  # a secure context, which getUserMedia asks for; never fetched over a socket
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
_RECORD = """
async ([mimes, seconds]) => {
  const camera = await navigator.mediaDevices.getUserMedia(
    {video: {width: 640, height: 360, frameRate: 30}, audio: {echoCancellation: false, noiseSuppression: false}});
  const recordings = mimes.map(mimeType => new Promise((done, failed) => {
    const tracks = mimeType.startsWith('audio/') ? camera.getAudioTracks() : camera.getTracks();
    const recorder = new MediaRecorder(new MediaStream(tracks), {mimeType, videoBitsPerSecond: 800000});
    const parts = [];
    recorder.ondataavailable = event => parts.push(event.data);
    recorder.onerror = event => failed(event.error);
    recorder.onstop = () => {
      const reader = new FileReader();
      reader.onload = () => done(reader.result.split(',', 2)[1]);
      reader.readAsDataURL(new Blob(parts));
    };
    recorder.start(1000);
    setTimeout(() => recorder.stop(), seconds * 1000);
  }));
  const answers = await Promise.all(recordings);
  camera.getTracks().forEach(track => track.stop());
  return answers;
}
"""


def chromium() -> str:
    """Return the path of Chromium; skip or fail the test when it isn't installed."""
    return program("chromium", "google-chrome", package="chromium")


def make(folder: Path, *, talk: Path) -> None:
    """Record every file of `FILES` in a process of its own."""
    chromium()
    run(sys.executable, "-m", "tests.media.browser", talk, folder, cwd=Path(__file__).parents[2])


def _record(*, talk: Path, folder: Path) -> None:
    camera = folder / "camera.mjpeg"
    _film(camera)
    sources = (f"--use-file-for-fake-video-capture={camera}", f"--use-file-for-fake-audio-capture={talk}")
    with TemporaryDirectory(prefix="rv-chromium-") as home, sync_playwright() as playwright:
        own: dict[str, str | float | bool] = {
            "HOME": home,
            "TMPDIR": home,
            "PATH": os.defpath,
            "LC_ALL": "C.UTF-8",
        }
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*_FLAGS, *sources], env=own)
        page = browser.new_page()
        page.route("**/*", _blank)
        page.goto(_PAGE)
        for group in _GROUPS:
            bodies = page.evaluate(_RECORD, [list(group.values()), RECORDED_S])
            for name, body in zip(group, bodies, strict=True):
                (folder / name).write_bytes(base64.b64decode(body))
        browser.close()
    camera.unlink()


def _film(camera: Path) -> None:
    """Write what the fake camera shows, over and over."""
    scene_options = ("-filter_complex", scene.talking_head(), "-map", "[v]", "-t", str(_CAMERA_S))
    ffmpeg(*scene_options, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "4", "-f", "mjpeg", camera)


def _blank(route: Route) -> None:
    route.fulfill(body="<!doctype html><title>recorder</title>", content_type="text/html")


if __name__ == "__main__":
    _record(talk=Path(sys.argv[1]), folder=Path(sys.argv[2]))
