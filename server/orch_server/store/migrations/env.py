"""alembic's entry: migrates over the connection that store/schema.py hands in."""

from alembic import context

from orch_server.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
