"""The house: sealed objects, catalog, ingest, playback, HTTP API, worker and command line."""
