"""Turns pydantic's refusals into field faults that echo nothing.

Invariants:
- a field name is one that the model's schema declares, or a position; names that the caller invented become `*`;
- a rule is pydantic's error type; its limits are numbers and patterns of the schema, never the value or its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel, ValidationError

from vault.api.problems import FieldFault

MAX_FAULTS: Final = 20  # a body of thousands of bad items needs no answer of thousands of lines
_LIMITS: Final = frozenset(
    {"max_length", "min_length", "ge", "gt", "le", "lt", "multiple_of", "pattern", "expected", "max_digits"},
)


def faults_of(refused: ValidationError, *, model: type[BaseModel]) -> tuple[FieldFault, ...]:
    """The first faults of a refused document, in pydantic's order."""
    declared = frozenset(_declared(model.model_json_schema()))
    errors = refused.errors(include_url=False, include_input=False)[:MAX_FAULTS]
    return tuple(
        FieldFault(
            field=".".join(_step(part, declared=declared) for part in each["loc"]),
            rule=each["type"],
            limits={
                name: value
                for name, value in each.get("ctx", {}).items()
                if name in _LIMITS and isinstance(value, str | int | float)
            },
        )
        for each in errors
    )


def _step(part: int | str, *, declared: frozenset[str]) -> str:
    return str(part) if isinstance(part, int) or part in declared else "*"


def _declared(schema: object) -> Iterator[str]:
    """Every property name anywhere in a JSON schema."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for value in schema.values():
            yield from _declared(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _declared(value)
