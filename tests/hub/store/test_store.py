from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from hub.store import jobs, rows
from hub.store.changes import Change, Unqueued, announce
from hub.store.dialect import DatabaseInUse
from hub.store.numbers import next_number
from hub.store.store import Store, StoreClosed
from placement.lifecycle import Phase
from tests.hub.loops.rig import ANN, START_OF_TIME, a_store, workload


def price(cluster: str) -> dict[str, object]:
    """Any row will do; this one refers to no other."""
    return {
        "cluster": cluster,
        "product": "A100",
        "on_demand_usd_per_gpu_hour": 1.0,
        "spot_interruptions_per_hour": 0.0,
    }


def put(session: Session, name: str) -> str:
    session.connection().execute(insert(rows.prices), price(name))
    return name


def names(session: Session) -> list[str]:
    return list(session.connection().execute(select(rows.prices.c.cluster).order_by(rows.prices.c.cluster)).scalars())


class Busy:
    """Keeps the writer at work until told, so that what is asked meanwhile shares the next transaction."""

    def __init__(self, store: Store) -> None:
        self._go = threading.Event()
        self.writing = asyncio.ensure_future(store.write(lambda session: self._go.wait(10)))

    def done(self) -> None:
        self._go.set()


async def test_what_was_answered_is_there_after_reopening(store: Store, database: str) -> None:
    assert await store.write(lambda session: put(session, "a")) == "a"
    assert await store.read(names) == ["a"]
    await store.close()
    again = a_store(database)
    await again.open()
    assert await again.read(names) == ["a"]
    await again.close()


async def test_one_failing_function_takes_nothing_of_the_others_with_it(store: Store) -> None:
    busy = Busy(store)

    def half(session: Session) -> None:
        put(session, "half")
        announce(session, Unqueued("half"))
        raise RuntimeError("no")

    heard: list[Change] = []
    store.subscribe(heard.append)
    asked = [
        asyncio.ensure_future(store.write(lambda session: put(session, "a"))),
        asyncio.ensure_future(store.write(half)),
        asyncio.ensure_future(store.write(lambda session: put(session, "a"))),
        asyncio.ensure_future(store.write(lambda session: put(session, "b"))),
    ]
    await asyncio.sleep(0)
    busy.done()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert answers[0] == "a"
    assert isinstance(answers[1], RuntimeError)
    assert isinstance(answers[2], IntegrityError)
    assert answers[3] == "b"
    assert await store.read(names) == ["a", "b"]
    assert heard == []


async def test_writes_that_wait_together_share_a_transaction(store: Store) -> None:
    busy = Busy(store)
    sessions: list[int] = []
    asked = [asyncio.ensure_future(store.write(lambda session: sessions.append(id(session)))) for _ in range(20)]
    await asyncio.sleep(0)
    busy.done()
    await asyncio.gather(*asked)
    assert len(set(sessions)) == 1


async def test_changes_are_told_after_the_commit_in_order_and_before_the_answer(store: Store) -> None:
    heard: list[Change] = []
    store.subscribe(heard.append)

    async def write(name: str) -> None:
        await store.write(lambda session: announce(session, Unqueued(name)))
        assert Unqueued(name) in heard

    await asyncio.gather(*(write(str(number)) for number in range(50)))
    assert heard == [Unqueued(str(number)) for number in range(50)]


async def test_a_failing_listener_stops_nobody(store: Store) -> None:
    heard: list[Change] = []

    def broken(change: Change) -> None:
        raise RuntimeError("listener")

    store.subscribe(broken)
    store.subscribe(heard.append)
    await store.write(lambda session: announce(session, Unqueued("a")))
    assert heard == [Unqueued("a")]


async def test_items_written_together_succeed_and_fail_on_their_own(store: Store) -> None:
    calls: list[list[str]] = []

    def together(session: Session, items: Sequence[str]) -> list[str | Exception]:
        calls.append(list(items))
        return [ValueError(item) if item == "bad" else put(session, item) for item in items]

    busy = Busy(store)
    asked = [asyncio.ensure_future(store.write_together(together, item)) for item in ("a", "bad", "b")]
    await asyncio.sleep(0)
    busy.done()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert calls == [["a", "bad", "b"]]
    assert answers[0] == "a"
    assert isinstance(answers[1], ValueError)
    assert answers[2] == "b"
    assert await store.read(names) == ["a", "b"]


async def test_when_all_together_raise_they_are_tried_one_by_one(store: Store) -> None:
    await store.write(lambda session: put(session, "taken"))

    def together(session: Session, items: Sequence[str]) -> list[str]:
        return [put(session, item) for item in items]

    busy = Busy(store)
    asked = [asyncio.ensure_future(store.write_together(together, item)) for item in ("a", "taken", "b")]
    await asyncio.sleep(0)
    busy.done()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers[1], IntegrityError)
    assert await store.read(names) == ["a", "b", "taken"]


async def test_a_cancelled_caller_neither_stops_the_writer_nor_the_others(store: Store) -> None:
    busy = Busy(store)
    gone = asyncio.ensure_future(store.write(lambda session: put(session, "gone")))
    here = asyncio.ensure_future(store.write(lambda session: put(session, "here")))
    await asyncio.sleep(0)
    gone.cancel()
    busy.done()
    assert await here == "here"


async def test_a_commit_that_fails_fails_every_caller(store: Store) -> None:
    """A deferred constraint is judged at the commit."""

    def defer(session: Session) -> None:
        if session.connection().dialect.name == "sqlite":
            session.connection().exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        else:
            session.connection().exec_driver_sql(
                "ALTER TABLE job_specs ALTER CONSTRAINT fk_job_specs_job DEFERRABLE INITIALLY DEFERRED"
            )
        session.connection().execute(
            insert(rows.job_specs), {"job": "j-none", "workload_json": "{}", "objects_json": "[]"}
        )

    busy = Busy(store)
    asked = [
        asyncio.ensure_future(store.write(defer)),
        asyncio.ensure_future(store.write(lambda session: put(session, "a"))),
    ]
    await asyncio.sleep(0)
    busy.done()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, IntegrityError) for answer in answers)
    assert await store.read(names) == []
    assert await store.write(lambda session: put(session, "later")) == "later"


async def test_readers_cannot_write(store: Store) -> None:
    with pytest.raises(DBAPIError, match=r"read-?only"):
        await store.read(lambda session: put(session, "a"))


async def test_a_reader_sees_one_snapshot_while_others_write(store: Store) -> None:
    loop = asyncio.get_running_loop()

    def look_twice(session: Session) -> tuple[list[str], list[str]]:
        before = names(session)
        asyncio.run_coroutine_threadsafe(store.write(lambda other: put(other, "new")), loop).result(10)
        return before, names(session)

    assert await store.read(look_twice) == ([], [])
    assert await store.read(names) == ["new"]


async def test_only_the_owner_reads_the_files_whatever_the_directory_and_the_umask(tmp_path: Path) -> None:
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o755)
    before = os.umask(0o022)
    try:
        opened = Store(f"sqlite:///{directory}/hub.sqlite")
        await opened.open()
        await opened.write(lambda session: put(session, "a"))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}
        await opened.close()
    finally:
        os.umask(before)
    assert set(modes) == {"hub.sqlite", "hub.sqlite-wal", "hub.sqlite-shm", "hub.sqlite.lock"}
    assert set(modes.values()) == {0o600}


async def test_a_second_hub_on_the_file_is_refused(tmp_path: Path) -> None:
    first, other = (Store(f"sqlite:///{tmp_path}/hub.sqlite") for _ in range(2))
    await first.open()
    with pytest.raises(DatabaseInUse, match="open in another hub"):
        await other.open()
    await first.close()


async def test_memory_is_no_store() -> None:
    with pytest.raises(ValueError, match="name a file"):
        await Store("sqlite://").open()


async def test_a_closed_store_says_so(store: Store) -> None:
    await store.close()
    with pytest.raises(StoreClosed):
        await store.write(names)
    with pytest.raises(StoreClosed):
        await store.read(names)


async def test_numbers_grow_by_one_and_those_of_undone_writes_are_given_again(store: Store) -> None:
    def take(session: Session) -> int:
        number = next_number(session, rows.job_events)
        message = {"epoch": 1, "phase": Phase.QUEUED.value, "event": "test", "message": "", "at": datetime.now(UTC)}
        session.connection().execute(
            insert(rows.job_events), {"seq": number, "job": "j-1", "tenant": ANN.tenant, **message}
        )
        return number

    def take_and_fail(session: Session) -> None:
        take(session)
        raise RuntimeError("no")

    new = jobs.new_job("j-1", workload(), (), START_OF_TIME)
    await store.write(lambda session: jobs.insert_many(session, [(ANN, None, new)]))  # its event is number 1
    busy = Busy(store)
    asked = [asyncio.ensure_future(store.write(one)) for one in (take, take_and_fail, take)]
    await asyncio.sleep(0)
    busy.done()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert (answers[0], answers[2]) == (2, 3)
    assert await store.write(take) == 4


VICTIM = """
import asyncio, sys
from sqlalchemy import insert
from hub.store import leadership, rows
from hub.store.dialect import is_sqlite, open_unpooled
from hub.store.store import Store

def a_store(url):
    if is_sqlite(url):
        return Store(url)
    engine = open_unpooled(url)
    seen, _ = leadership.look(engine)
    return Store(url, term=leadership.take(engine, seen, leadership.Candidate("victim", "", 10.0)))

async def main():
    store = a_store(sys.argv[1])
    await store.open()
    async def writer(lane):
        for number in range(100_000):
            name = f"{lane}-{number}"
            row = {"cluster": name, "product": "", "on_demand_usd_per_gpu_hour": 1, "spot_interruptions_per_hour": 0}
            await store.write(lambda session: session.connection().execute(insert(rows.prices), row).rowcount)
            print(name, flush=True)
    await asyncio.gather(*(writer(lane) for lane in range(4)))

asyncio.run(main())
"""


async def test_kill_9_loses_nothing_that_was_answered(database: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", VICTIM, database]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as victim:  # noqa: ASYNC220
        assert victim.stdout is not None
        answered = [victim.stdout.readline().strip() for _ in range(200)]
        victim.send_signal(signal.SIGKILL)
        answered += [line.strip() for line in victim.stdout.read().splitlines() if line]
    store = a_store(database)
    await store.open()  # the lock went with the process
    found = set(await store.read(names))
    await store.close()
    # The last line may have been cut by the kill.
    assert set(answered[:-1]) <= found
