"""Brings the database's schema to this release's, at every start; the revisions lie in hub/store/migrations.

A database that was written by a newer hub is refused rather than guessed at.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from hub.store.rows import Row

MIGRATIONS = Path(__file__).parent / "migrations"


class NewerDatabase(Exception):
    """The schema is one that this release does not know."""


def upgrade(engine: Engine) -> None:
    """All pending revisions in one transaction: a start that dies on the way leaves the schema as it was."""
    config = _config()
    with engine.begin() as connection:
        context = MigrationContext.configure(connection)
        present = context.get_current_revision()
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if present is not None and present not in known:
            raise NewerDatabase(
                f"the database is at revision {present}, which this hub does not know: install a newer hub"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def differences(engine: Engine) -> list[object]:
    """What the models say and the migrated schema does not, or the other way round. Empty when they agree."""
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), Row.metadata))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
