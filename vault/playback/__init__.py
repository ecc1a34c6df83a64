"""Playback: ranges, sealed lists, readers and playlists; knows no HTTP framework."""
