"""Databases for the catalog's tests."""

from __future__ import annotations

from tests.catalog.databases import (
    catalog,
    emptied_url,
    empty_url,
    fresh_url,
    kind,
    postgres_templates,
    postgres_worn,
    shares,
    sqlite_templates,
)

__all__ = [
    "catalog",
    "emptied_url",
    "empty_url",
    "fresh_url",
    "kind",
    "postgres_templates",
    "postgres_worn",
    "shares",
    "sqlite_templates",
]
