"""The workshop under test: real ffmpeg builds, a real loopback gateway, hostile input."""
