"""Playback decisions and playlists."""
