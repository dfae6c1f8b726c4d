"""Run by alembic: on the connection that hub.store.migrate hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from hub.store.rows import Row

context.configure(connection=context.config.attributes["connection"], target_metadata=Row.metadata)
context.run_migrations()
