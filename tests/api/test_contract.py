"""The published OpenAPI document of the whole product."""

from __future__ import annotations

from pathlib import Path

from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.world import Engine, embedded_settings, open_world


async def test_the_whole_api_is_described(tmp_path: Path) -> None:
    async with open_world(Engine.EMBEDDED, embedded_settings(tmp_path)) as world:
        document = await world.anyone.json("/openapi.json")
    OpenAPIV31SpecValidator(document).validate()
    operations = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert {
        ("/v1/recordings", "get"),
        ("/v1/recordings", "post"),
        ("/v1/recordings/{recording_id}/source", "put"),
        ("/v1/recordings/{recording_id}/{file}", "get"),
        ("/v1/t/{ticket}/{file}", "get"),
        ("/v1/sessions", "post"),
        ("/v1/tickets", "post"),
        ("/v1/keys", "get"),
        ("/v1/keys/census", "get"),
        ("/v1/keys/due", "get"),
        ("/v1/keys/jobs", "post"),
        ("/v1/keys/jobs/{job_id}/abort", "post"),
        ("/v1/keys/compromises/{compromise_id}/next", "post"),
        ("/v1/keys/tier-secret/rotate", "post"),
    } <= operations
