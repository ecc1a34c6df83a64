"""The fixed components of the OpenAPI document: credentials, and the shape of every problem."""

from __future__ import annotations

from typing import Any, Final

from vault.api.problems import Code

Json = dict[str, Any]

SCHEMES: Final[Json] = {
    "sessionBearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "rvs_ and 43 characters",
        "description": "A patient's session.",
    },
    "sessionCookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-replayvault",
        "description": "The same session as an HttpOnly cookie, set by signing in.",
    },
    "serviceBearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "rvk_ and 43 characters",
        "description": "A backend's service token; each operation names the scope that it needs.",
    },
}

PROBLEM_SCHEMA: Final[Json] = {
    "type": "object",
    "description": "RFC 9457 problem details; branch on `code`.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string", "enum": [str(code) for code in Code]},
        "detail": {"type": "string"},
        "retry_after_s": {"type": "integer", "minimum": 0},
        "faults": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "rule", "limits"],
                "properties": {
                    "field": {"type": "string"},
                    "rule": {"type": "string"},
                    "limits": {"type": "object"},
                },
            },
        },
    },
}
