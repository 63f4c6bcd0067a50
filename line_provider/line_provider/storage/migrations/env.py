"""Alembic's entry: migrates the connection that `line-provider migrate` gives it."""

from alembic import context

from line_provider.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
