"""Each database engine and each kind of store in turn."""

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
from tests.objects.conftest import bucket, folder_store, s3_store, store

__all__ = [
    "bucket",
    "catalog",
    "emptied_url",
    "empty_url",
    "folder_store",
    "fresh_url",
    "kind",
    "postgres_templates",
    "postgres_worn",
    "s3_store",
    "shares",
    "sqlite_templates",
    "store",
]
