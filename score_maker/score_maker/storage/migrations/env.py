"""Alembic's entry: migrates the connection that `score-maker migrate` gives it."""

from alembic import context

from score_maker.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
