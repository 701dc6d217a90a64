"""alembic migrations; run by store/schema.py."""
