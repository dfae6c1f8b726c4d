from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from hub.store import migrate
from hub.store.rows import Row


@pytest.fixture
def engine(tmp_path: Path) -> Generator[Engine, None, None]:
    made = create_engine(f"sqlite:///{tmp_path}/hub.sqlite")
    yield made
    made.dispose()


def test_models_and_migrations_agree(engine: Engine) -> None:
    migrate.upgrade(engine)
    assert migrate.differences(engine) == []


def test_a_model_that_no_migration_makes_is_noticed(engine: Engine) -> None:
    migrate.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE prices"))
        connection.execute(text("DROP INDEX ix_jobs_by_queue"))
    assert len(migrate.differences(engine)) == 2


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    migrate.upgrade(engine)
    before = set(inspect(engine).get_table_names())
    migrate.upgrade(engine)
    assert set(inspect(engine).get_table_names()) == before
    assert before == {*Row.metadata.tables, "alembic_version"}


def test_a_newer_hubs_database_is_refused(engine: Engine) -> None:
    migrate.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(migrate.NewerDatabase, match="install a newer hub"):
        migrate.upgrade(engine)


def test_partial_indexes_are_kept_by_the_migration(engine: Engine) -> None:
    """The comparison above does not look at their conditions."""
    migrate.upgrade(engine)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))
        made = {row.name: row.sql for row in rows}
    assert "WHERE finished_at IS NULL" in made["uq_jobs_live_name"]
    assert "UNIQUE" in made["uq_jobs_live_name"]
    assert "WHERE acked_at IS NULL" in made["ix_commands_open"]
    assert "WHERE acked_at IS NOT NULL" in made["ix_commands_closed"]
    assert "WHERE finished_at IS NOT NULL" in made["ix_jobs_by_end"]


def test_every_table_can_be_made_on_postgresql() -> None:
    dialect = postgresql.dialect()
    for table in Row.metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect))
        assert all(str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes)
