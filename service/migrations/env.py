"""Alembic's entry: runs the steps over the connection that ``service.database`` hands in."""

from alembic import context

from service.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # SQLite changes tables by copying them; Alembic does that in "batch" mode.
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
