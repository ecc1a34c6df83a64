"""The workshop: ffmpeg between two loopback URLs. Knows nothing of keys, stores or the catalog."""
