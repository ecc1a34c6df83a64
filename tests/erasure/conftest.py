"""Databases of each engine in turn."""

from __future__ import annotations

from tests.catalog.databases import (
    emptied_url,
    fresh_url,
    kind,
    postgres_templates,
    postgres_worn,
    sqlite_templates,
)

__all__ = [
    "emptied_url",
    "fresh_url",
    "kind",
    "postgres_templates",
    "postgres_worn",
    "sqlite_templates",
]
