"""Schema migrations by alembic: one line of revisions for the catalog, one for the share store."""
