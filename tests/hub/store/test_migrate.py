from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from hub.records import CostBy, CostQuery
from hub.store import migrate
from hub.store.dialect import open_unpooled
from hub.store.rows import Row
from placement.lifecycle import Event, Phase
from placement.money import Price, PriceBook
from placement.queues.tree import Queue
from tests.hub.loops.rig import ADMIN, ANN, START_OF_TIME, Clock, FakeSpoke, a_hub, manifest
from wire.orders import JobRef


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Engine, None, None]:
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{tmp_path}/hub.sqlite")
    else:
        made = open_unpooled(request.getfixturevalue("new_postgresql_url"))
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


def test_a_database_of_the_first_release_keeps_what_is_in_it(engine: Engine) -> None:
    _upgrade_to(engine, "0001")
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO prices VALUES ('east', 'H100', 4.0, NULL, 0.0)"),
        )
    migrate.upgrade(engine)
    assert migrate.differences(engine) == []
    with engine.connect() as connection:
        assert connection.execute(text("SELECT cluster FROM prices")).scalars().all() == ["east"]
        assert connection.execute(text("SELECT term, holder FROM leadership")).all() == [(0, "")]


def test_what_attempts_did_cost_before_there_were_sums_is_summed_up(engine: Engine) -> None:
    _upgrade_to(engine, "0003")
    attempt = (
        "INSERT INTO attempts (job, epoch, queue, tenant, cluster, uses_json, usd_per_hour, since, until) VALUES "
        "('{job}', 1, 'q', 'red', 'east', '{uses}', {usd}, '2026-01-01 18:00:00', '{until}')"
    )
    with engine.begin() as connection:
        for job, uses, usd, until in (
            ("j-1", '[["A100", 8.0]]', 16, "2026-01-02 06:00:00"),
            ("j-2", '[["cpu", 4.0]]', 1, "2026-01-01 20:00:00"),
        ):
            connection.execute(
                text(attempt.format(job=job, uses=uses, usd=usd, until=until).replace(":00:00", "\\:00\\:00"))
            )
    migrate.upgrade(engine)
    assert migrate.differences(engine) == []
    with engine.connect() as connection:
        columns = "day, gpu_hours, cpu_hours, gpu_usd, cpu_usd, lost_usd, attempts"
        rows = connection.execute(text(f"SELECT {columns} FROM cost_days ORDER BY day")).all()
    assert [tuple(row) for row in rows] == [
        ("2026-01-01", 48.0, 8.0, 96.0, 2.0, 0.0, 1),
        ("2026-01-02", 48.0, 0.0, 96.0, 0.0, 0.0, 1),
    ]


def test_secrets_of_jobs_that_had_ended_are_blanked_and_those_of_others_stay(engine: Engine) -> None:
    _upgrade_to(engine, "0010")
    secret = '[{"kind":"Secret","metadata":{"annotations":{"a":"hunter2"}},"data":{"k":"hunter2"}},{"kind":"Job"}]'
    job = (
        "INSERT INTO jobs (id, tenant, owner, name, namespace, kind, queue, priority, phase, epoch, report_seq, reason,"
        " roles_json, pods_json, submitted_at, spot, finished_at) VALUES"
        " (:id, 'red', 'ann', :id, 'n', 'Job', 'q', 0, :phase, 1, 0, '', '[]', '[]', :at, false, :ended)"
    )
    at = "2026-01-01 18:00:00"
    with engine.begin() as connection:
        for id_, phase, ended in (("j-ended", "SUCCEEDED", at), ("j-runs", "RUNNING", None)):
            connection.execute(text(job), {"id": id_, "phase": phase, "at": at, "ended": ended})
            spec = text("INSERT INTO job_specs (job, workload_json, objects_json) VALUES (:id, '{}', :objects)")
            connection.execute(spec, {"id": id_, "objects": secret})
    migrate.upgrade(engine)
    with engine.connect() as connection:
        found = dict(connection.execute(text("SELECT job, objects_json FROM job_specs")).all())
    assert found["j-runs"] == secret
    assert found["j-ended"] == '[{"kind":"Secret","metadata":{},"data":{"k":""}},{"kind":"Job"}]'


def test_several_that_start_at_once_on_an_empty_database_make_it_once(new_postgresql_url: str) -> None:
    engines = [open_unpooled(new_postgresql_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate.upgrade, engines))
    assert migrate.differences(engines[0]) == []


def test_a_migration_that_is_refused_at_its_beginning_changes_nothing(engine: Engine) -> None:
    def refuse(connection: Connection) -> None:
        raise PermissionError("not you")

    with pytest.raises(PermissionError):
        migrate.upgrade(engine, refuse)
    assert inspect(engine).get_table_names() == []


def test_partial_indexes_are_kept_by_the_migration(engine: Engine) -> None:
    """The comparison above does not look at their conditions."""
    migrate.upgrade(engine)
    made = {
        "sqlite": "SELECT name, sql AS made FROM sqlite_master WHERE type = 'index'",
        "postgresql": "SELECT indexname AS name, indexdef AS made FROM pg_indexes WHERE schemaname = 'public'",
    }[engine.dialect.name]
    with engine.connect() as connection:
        found = {row.name: (row.made or "").replace("(", "").replace(")", "") for row in connection.execute(text(made))}
    assert "WHERE finished_at IS NULL" in found["uq_jobs_live_name"]
    assert "UNIQUE" in found["uq_jobs_live_name"]
    assert "WHERE acked_at IS NULL" in found["ix_commands_open"]
    assert "WHERE acked_at IS NOT NULL" in found["ix_commands_closed"]
    assert "WHERE finished_at IS NOT NULL" in found["ix_jobs_by_end"]


def _upgrade_to(engine: Engine, revision: str) -> None:
    _revise(engine, command.upgrade, revision)


def _revise(engine: Engine, how: Callable[[Config, str], None], revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        how(config, revision)


async def test_a_hub_goes_on_with_the_jobs_of_an_older_one(engine: Engine) -> None:
    """With what revision 0003 knew of them: no data, no progress, no money by day."""
    url, clock = engine.url.render_as_string(hide_password=False), Clock()
    migrate.upgrade(engine)
    spoke = FakeSpoke("east", nodes=2)
    async with a_hub(url, clock) as hub:
        await spoke.join(hub)
        await spoke.connect(hub)
        await hub.queues.put(ADMIN, [Queue("team", burst_after_hours=1.0)])
        await hub.prices.replace(ADMIN, PriceBook({("east", "A100"): Price(2.0)}))
        for name in ("done", "runs", "leaves"):
            await hub.jobs.submit(ANN, manifest(name, gpus=8))
            await hub.placing.settle()
            await spoke.obey(hub)
            job = await hub.jobs.show(ANN, name)
            spoke.advance(JobRef(job.id, 1), Event.RUNNING)
            clock.advance(3600)
            if name == "done":
                spoke.advance(JobRef(job.id, 1), Event.SUCCEED)
            await spoke.send_reports(hub)
            await spoke.send_summary(hub)
        await hub.jobs.submit(ANN, manifest("vip", gpus=8, priority=9))
        await hub.placing.settle()
        await hub.health.tick()
    _revise(engine, command.downgrade, "0003")
    with engine.begin() as connection:
        known = "UPDATE job_specs SET workload_json = replace(workload_json, '\"data\"\\:[],', '')"
        connection.execute(text(known))
        stored = connection.execute(text("SELECT workload_json FROM job_specs")).scalars().all()
        assert not any('"data"' in one for one in stored)
    migrate.upgrade(engine)
    assert migrate.differences(engine) == []
    async with a_hub(url, clock, seed=1) as hub:
        await spoke.connect(hub)
        fleet = hub.federation.fleet()
        assert {one.workload.name for one in fleet.reservations} == {"runs", "leaves"}
        assert fleet.queues.queues["team"] == Queue("team")
        assert {one.epoch for one in fleet.progress.values()} == {1}
        assert [leaving.for_job for leaving in fleet.leaving.values()] == [""], "nobody wrote down for whom"
        for by in CostBy:
            found = await hub.costs.report(ADMIN, CostQuery(by, START_OF_TIME.date(), START_OF_TIME.date()))
            assert (found.total.gpu_usd, found.total.attempts) == (pytest.approx(16 + 16 * 2 + 16), 1)
        await hub.placing.settle()
        for _ in range(3):
            await spoke.obey(hub)
            await spoke.send_reports(hub)
            await spoke.send_summary(hub)
            await hub.placing.settle()
        phases = {name: (await hub.jobs.show(ANN, name)).phase for name in ("done", "runs", "leaves", "vip")}
        assert phases == {
            "done": Phase.SUCCEEDED,
            "runs": Phase.RUNNING,
            "leaves": Phase.QUEUED,
            "vip": Phase.STARTING,
        }
