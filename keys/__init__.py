"""The strongroom: who can open what. Knows no HTTP, no object store and no ffmpeg."""
