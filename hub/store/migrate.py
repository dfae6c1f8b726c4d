"""Brings the database's schema to this release's, at every start; the revisions lie in hub/store/migrations.

A database that was written by a newer hub is refused rather than guessed at. Of several replicas that start on an empty
PostgreSQL at once, one makes the tables and the others find them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from hub.store import model_rows  # noqa: F401  # its tables belong to the schema too
from hub.store.rows import Row

MIGRATIONS = Path(__file__).parent / "migrations"


class NewerDatabase(Exception):
    """The schema is one that this release does not know."""


def upgrade(engine: Engine, first: Callable[[Connection], None] | None = None) -> None:
    """All pending revisions in one transaction: a start that dies on the way leaves the schema as it was.

    `first` begins the transaction, and may refuse it. Raises NewerDatabase.
    """
    config = _config()
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        if first is not None:
            first(connection)
        check(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check(connection: Connection) -> None:
    """Raises NewerDatabase. An older one, or an empty one, is nothing to complain of."""
    present = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if present is not None and present not in known:
        raise NewerDatabase(f"the database is at revision {present}, which this hub does not know: install a newer hub")


_LOCK = 7_305_812_001  # any number that nobody else takes for an advisory lock in this database


def differences(engine: Engine) -> list[object]:
    """What the models say and the migrated schema does not, or the other way round. Empty when they agree."""
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), Row.metadata))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
