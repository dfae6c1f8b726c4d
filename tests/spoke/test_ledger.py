from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from placement.data import DataMove, Replica
from placement.lifecycle import Event
from placement.resources import Resources
from placement.workload import Role, Workload
from spoke import ledger as ledger_module
from spoke.entry import Desired
from spoke.ledger import Ledger, LedgerUnusable
from wire.orders import Command, CommandAck, JobRef, PodPlace, ReportAck, RoleCount, Staging, Start, Stop

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WORKLOAD = Workload("batch/v1", "Job", "w", "default", (Role("worker", 2, 2, Resources({"nvidia.com/gpu": 4})),), 2)
OBJECTS = ({"apiVersion": "v1", "kind": "ConfigMap"}, {"apiVersion": "batch/v1", "kind": "Job", "spec": {"n": 1}})
WITHOUT_SIZES = "".join(f"ALTER TABLE jobs DROP COLUMN {name};" for name in ("size", "pods", "pods_before"))
J1, J2 = JobRef("j-a", 1), JobRef("j-a", 2)


def start(number: int, ref: JobRef) -> Command:
    return Command(number, ref, Start(OBJECTS, WORKLOAD, spot=True))


def stop(number: int, ref: JobRef, grace_s: float = 30.0) -> Command:
    return Command(number, ref, Stop(grace_s, "cancelled"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[Ledger]:
    opened = Ledger.open(path)
    yield opened
    await opened.close()


async def reopened(ledger: Ledger, path: Path) -> Ledger:
    await ledger.close()
    return Ledger.open(path)


async def test_a_start_is_kept_whole(ledger: Ledger, path: Path) -> None:
    assert await ledger.accept([start(7, J1)]) == (CommandAck(7, J1),)
    again = await reopened(ledger, path)
    (entry,) = await again.entries()
    assert (entry.ref, entry.desired, entry.objects, entry.workload) == (J1, Desired.START, OBJECTS, WORKLOAD)
    assert entry.start is not None
    assert entry.start.spot
    await again.close()


async def test_the_same_command_again_gets_the_same_answer_and_changes_nothing(ledger: Ledger) -> None:
    first = await ledger.accept([start(1, J1), stop(2, J1)])
    before = await ledger.entries()
    assert await ledger.accept([start(1, J1), stop(2, J1)]) == first
    assert await ledger.entries() == before
    assert before[0].desired is Desired.STOP


async def test_an_older_epoch_is_refused_and_a_newer_one_replaces(ledger: Ledger) -> None:
    await ledger.accept([start(1, J2)])
    for command in (start(2, J1), stop(3, J1)):
        (ack,) = await ledger.accept([command])
        assert ack.refused_code == "older-epoch"
        assert "epoch 2" in ack.refused_message
    (entry,) = await ledger.entries()
    assert (entry.ref, entry.desired) == (J2, Desired.START)

    (ack,) = await ledger.accept([stop(4, JobRef("j-a", 3))])
    assert not ack.refused_code
    (entry,) = await ledger.entries()
    assert (entry.ref.epoch, entry.desired, entry.objects) == (3, Desired.STOP, ())


async def test_a_stop_that_comes_first_keeps_its_epoch_from_ever_starting(ledger: Ledger, path: Path) -> None:
    (ack,) = await ledger.accept([stop(2, J1)])
    assert not ack.refused_code
    assert [ack.refused_code for ack in await ledger.accept([start(1, J1)])] == ["older-epoch"]
    assert [entry.desired for entry in await ledger.entries()] == [Desired.STOP]
    await ledger.forget(J1)
    again = await reopened(ledger, path)
    assert await again.entries() == ()
    assert [ack.refused_code for ack in await again.accept([start(1, J1)])] == ["older-epoch"]
    assert [ack.refused_code for ack in await again.accept([start(3, J2)])] == [""]
    await again.close()


async def test_a_forgotten_job_does_not_rise_again_but_answers_a_stop(ledger: Ledger) -> None:
    await ledger.accept([start(1, J1), stop(2, J1)])
    sent = await ledger.record_report(J1, Event.STOPPED, "", (), (), NOW)
    assert sent is not None
    await ledger.reports_acked([ReportAck(J1, 1)])
    await ledger.forget(J1)
    assert await ledger.entry("j-a") is None
    # The start was accepted once, so its repetition is again: it just changes nothing.
    assert await ledger.accept([start(1, J1)]) == (CommandAck(1, J1),)
    assert await ledger.entries() == ()
    # The hub repeats its stop (the acknowledgement was lost): "stopped" is said again, under a new number.
    await ledger.accept([stop(2, J1)])
    again = await ledger.record_report(J1, Event.STOPPED, "", (), (), NOW)
    assert again is not None
    assert again.seq == 2


async def test_the_shorter_grace_counts(ledger: Ledger) -> None:
    await ledger.accept([start(1, J1), stop(2, J1, 30), stop(3, J1, 5), stop(2, J1, 30)])
    (entry,) = await ledger.entries()
    assert entry.grace_s == 5


async def test_reports_are_numbered_and_said_once(ledger: Ledger, path: Path) -> None:
    await ledger.accept([start(1, J1)])
    roles = (RoleCount("worker", 1, 0, 0, 2),)
    pods = (PodPlace("w-0", "worker", "n1", (0, 3)),)
    first = await ledger.record_report(J1, Event.STARTING, "", (), (), NOW)
    second = await ledger.record_report(J1, Event.RUNNING, "", roles, pods, NOW)
    assert first is not None
    assert second is not None
    assert (first.seq, second.seq) == (1, 2)
    assert await ledger.record_report(J1, Event.RUNNING, "", roles, pods, NOW + timedelta(1)) is None
    assert await ledger.record_report(J2, Event.RUNNING, "", roles, pods, NOW) is None
    again = await reopened(ledger, path)
    assert await again.unacked() == (second,)  # the first is superfluous now
    await again.reports_acked([ReportAck(J1, 2)])
    assert await again.unacked() == ()
    # Acknowledged, and still what a further report is compared with.
    assert await again.record_report(J1, Event.RUNNING, "", roles, pods, NOW) is None
    third = await again.record_report(J1, Event.SUCCEED, "", roles, (), NOW)
    assert third is not None
    assert third.seq == 3
    await again.close()


async def test_an_outcome_is_kept_beside_what_follows_it_until_it_is_acknowledged(ledger: Ledger) -> None:
    await ledger.accept([start(1, J1)])
    for event in (Event.RUNNING, Event.SUCCEED, Event.STOPPED):
        await ledger.record_report(J1, event, "", (), (), NOW)
    assert [report.event for report in await ledger.unacked()] == [Event.SUCCEED, Event.STOPPED]
    await ledger.reports_acked([ReportAck(J1, 2), ReportAck(J2, 9)])
    assert [report.event for report in await ledger.unacked()] == [Event.STOPPED]


async def test_assignments_are_fenced(ledger: Ledger, path: Path) -> None:
    pods = (PodPlace("w-0", "worker", "n1", (0, 1)), PodPlace("w-1", "worker", "n2", ()))
    await ledger.accept([start(1, J1)])
    assert await ledger.save_assignment(J1, pods)
    again = await reopened(ledger, path)
    entry = await again.entry("j-a")
    assert entry is not None
    assert (entry.assignment, entry.bound) == (pods, False)
    await again.mark_bound(J1)
    entry = await again.entry("j-a")
    assert entry is not None
    assert entry.bound
    await again.accept([stop(2, J1)])
    assert not await again.save_assignment(J1, pods)
    assert not await again.save_assignment(J2, pods)
    await again.close()


async def test_orphans_are_what_the_hub_does_not_count(ledger: Ledger) -> None:
    other = JobRef("j-b", 1)
    await ledger.accept([start(1, J1), start(2, other)])
    assert await ledger.orphans([other, JobRef("j-z", 4)]) == (J1,)
    assert set(await ledger.orphans([J2])) == {J1, other}


async def test_old_tombstones_are_dropped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "TOMBSTONES", 3)
    ledger = Ledger.open(path)
    refs = [JobRef(f"j-{number}", 1) for number in range(6)]
    await ledger.accept([stop(number + 1, ref) for number, ref in enumerate(refs)])
    for ref in refs:
        await ledger.forget(ref)
    await ledger.close()
    with sqlite3.connect(path) as db:
        assert [job for (job,) in db.execute("SELECT job FROM jobs ORDER BY rowid")] == ["j-3", "j-4", "j-5"]


async def test_a_second_agent_is_told(ledger: Ledger, path: Path) -> None:
    with pytest.raises(LedgerUnusable, match="another agent"):
        Ledger.open(path)


async def test_a_file_of_a_newer_agent_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(LedgerUnusable, match="newer agent"):
        Ledger.open(path)


async def test_a_failed_write_ends_the_ledger(path: Path) -> None:
    ledger = Ledger.open(path)
    await ledger.accept([start(1, J1)])
    ledger._db.execute("PRAGMA query_only=ON")
    with pytest.raises(LedgerUnusable):
        await ledger.accept([start(2, JobRef("j-b", 1))])
    ledger._db.execute("PRAGMA query_only=OFF")
    with pytest.raises(LedgerUnusable):  # memory knows more than the disk: nothing of it may get out
        await ledger.entries()
    with pytest.raises(LedgerUnusable):
        await ledger.close()
    reopened = Ledger.open(path)
    assert [entry.ref for entry in await reopened.entries()] == [J1]
    await reopened.close()


async def test_a_value_that_cannot_be_stored_harms_nobody_else(ledger: Ledger) -> None:
    await ledger.accept([start(1, J1)])
    with pytest.raises(Exception, match="report"):
        await ledger.record_report(J1, Event.RUNNING, "", (RoleCount("worker", -1, 0, 0, 0),), (), NOW)
    report = await ledger.record_report(J1, Event.RUNNING, "", (), (), NOW)
    assert report is not None
    assert report.seq == 1


async def test_concurrent_calls_share_transactions_and_lose_nothing(ledger: Ledger, path: Path) -> None:
    refs = [JobRef(f"j-{number}", 1) for number in range(300)]
    await asyncio.gather(*(ledger.accept([start(number + 1, ref)]) for number, ref in enumerate(refs)))
    await asyncio.gather(*(ledger.record_report(ref, Event.RUNNING, "", (), (), NOW) for ref in refs))
    one = asyncio.ensure_future(ledger.record_report(refs[0], Event.FAIL, "", (), (), NOW))
    other = asyncio.ensure_future(ledger.record_report(refs[0], Event.STOPPED, "", (), (), NOW))
    await asyncio.sleep(0)
    one.cancel()  # whoever no longer waits for a transaction does not spoil it for others
    await other
    again = await reopened(ledger, path)
    entries = {entry.ref: entry for entry in await again.entries()}
    assert set(entries) == set(refs)
    assert all(entry.unacked for entry in entries.values())
    assert [report.seq for report in entries[refs[0]].unacked] == [2, 3]
    await again.close()


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happened_a_reopened_ledger_knows_the_same(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    newest: dict[str, int] = {}
    for number in range(1, 120):
        ref = JobRef(f"j-{rng.randrange(4)}", rng.randrange(1, 5))
        match rng.randrange(8):
            case 0 | 1:
                command = start(number, ref)
            case 2 | 3:
                command = stop(number, ref, rng.choice([0, 10, 30]))
            case 4:
                await ledger.forget(ref)
                continue
            case 5:
                await ledger.reports_acked([ReportAck(ref, rng.randrange(1, 5))])
                continue
            case 6:
                await ledger.save_assignment(ref, (PodPlace("p", "worker", f"n{number}", (1,)),))
                continue
            case _:
                event = rng.choice([Event.STARTING, Event.RUNNING, Event.SUCCEED, Event.FAIL, Event.STOPPED])
                await ledger.record_report(ref, event, "", (), (), NOW)
                continue
        (ack,) = await ledger.accept([command])
        if ref.epoch < newest.get(ref.job, 0):
            assert ack.refused_code == "older-epoch"
        else:
            newest[ref.job] = ref.epoch
            before = await ledger.entries()
            assert await ledger.accept([command]) == (ack,)
            assert await ledger.entries() == before
    before = await ledger.entries()
    again = await reopened(ledger, path)
    assert {entry.ref: entry for entry in await again.entries()} == {entry.ref: entry for entry in before}
    assert len({entry.ref.job for entry in before}) == len(before)
    await again.close()


@pytest.mark.parametrize("seed", range(4))
async def test_kill_9_loses_nothing_that_was_promised(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "ledger.db"
    promised = killed_writer(path, Random(seed).randrange(3, 120))
    ledger = Ledger.open(path)
    entries = {entry.ref.job: entry for entry in await ledger.entries()}
    assert ledger._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for word, number in promised:
        entry = entries[f"j-{number}"]
        assert entry.objects == ({"kind": "Job", "n": int(number)},)
        if word == "reported":
            assert [report.event for report in entry.unacked] == [Event.SUCCEED]
            assert entry.seq == 2
    await ledger.close()


def killed_writer(path: Path, lines: int) -> list[list[str]]:
    """What a writer promised until it was killed, some time after so many promises."""
    root = Path(__file__).parents[2]
    command = [sys.executable, str(Path(__file__).with_name("ledger_victim.py")), str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env={"PYTHONPATH": str(root)})
    assert process.stdout is not None
    promised = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    promised += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    return [line.split() for line in promised if line.endswith("\n")]


async def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """Whatever the umask: it holds what users keep in Secrets."""
    directory = tmp_path / "state"
    before = os.umask(0)
    try:
        ledger = Ledger.open(directory / "ledger.sqlite")
        await ledger.accept([start(1, J1)])
        modes = {path.name: path.stat().st_mode & 0o777 for path in (directory, *directory.iterdir())}
        await ledger.close()
    finally:
        os.umask(before)
    assert modes.pop("state") == 0o700
    assert modes
    assert set(modes.values()) == {0o600}


async def test_one_that_anybody_could_read_is_closed_to_them(path: Path) -> None:
    ledger = Ledger.open(path)
    await ledger.close()
    path.chmod(0o644)
    again = Ledger.open(path)
    assert path.stat().st_mode & 0o777 == 0o600
    await again.close()


async def test_one_of_the_first_version_is_read(path: Path) -> None:
    ledger = Ledger.open(path)
    await ledger.accept([start(1, J1)])
    await ledger.close()
    with sqlite3.connect(path) as db:
        db.executescript(
            "ALTER TABLE jobs DROP COLUMN created; ALTER TABLE jobs DROP COLUMN hand_back;"
            "ALTER TABLE starts DROP COLUMN moves;" + WITHOUT_SIZES + "PRAGMA user_version=1"
        )
    db.close()
    again = Ledger.open(path)
    (entry,) = await again.entries()
    assert (entry.ref, entry.objects, entry.created, entry.hand_back) == (J1, OBJECTS, False, None)
    await again.mark_created(J1)
    last = await reopened(again, path)
    assert [entry.created for entry in await last.entries()] == [True]
    await last.close()


async def test_one_of_the_second_version_keeps_what_was_lost(path: Path) -> None:
    ledger = Ledger.open(path)
    await ledger.accept([start(1, J1)])
    await ledger.note_lost([JobRef("j-gone", 3)], "lost", 7)
    await ledger.close()
    with sqlite3.connect(path) as db:
        db.executescript(
            "ALTER TABLE jobs ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;"
            "UPDATE jobs SET lost = 1 WHERE hand_back = 'refuse';"
            "ALTER TABLE jobs DROP COLUMN hand_back; ALTER TABLE starts DROP COLUMN moves;"
            + WITHOUT_SIZES
            + "PRAGMA user_version=2"
        )
    db.close()
    again = Ledger.open(path)
    by_job = {entry.ref.job: entry for entry in await again.entries()}
    assert by_job[J1.job].hand_back is None
    gone = by_job["j-gone"]
    assert (gone.desired, gone.hand_back, gone.stop_reason) == (Desired.STOP, Event.REFUSE, "lost")
    await again.close()


async def test_one_of_the_third_version_has_nothing_to_move(path: Path) -> None:
    ledger = Ledger.open(path)
    await ledger.accept([start(1, J1)])
    await ledger.close()
    with sqlite3.connect(path) as db:
        db.executescript("ALTER TABLE starts DROP COLUMN moves;" + WITHOUT_SIZES + "PRAGMA user_version=3")
    db.close()
    again = Ledger.open(path)
    (entry,) = await again.entries()
    assert entry.start is not None
    assert entry.start.moves == ()
    await again.close()


async def test_what_is_to_be_copied_is_durable(path: Path) -> None:
    move = DataMove("team/x", 5, Replica("us", "", "s3://b/x"), "", 0.0, 0.0, "pvc://ns/dataset-x", "keys")
    ledger = Ledger.open(path)
    command = start(1, J1)
    assert isinstance(command.order, Start)
    await ledger.accept([replace(command, order=replace(command.order, moves=(move,)))])
    again = await reopened(ledger, path)
    (entry,) = await again.entries()
    assert entry.start is not None
    assert entry.start.moves == (move,)
    # That it has been copied is not lost when something newer is told.
    progress = Staging(5, 5, ("team/x",))
    await again.record_report(J1, Event.STAGING, "copying", (), (), NOW, staging=Staging(2, 5))
    await again.record_report(J1, Event.STAGING, "copied", (), (), NOW, staging=progress)
    await again.record_report(J1, Event.STARTING, "", (), (), NOW)
    last = await reopened(again, path)
    assert [(one.event, one.staging) for one in await last.unacked()] == [
        (Event.STAGING, progress),
        (Event.STARTING, None),
    ]
    await last.close()


async def test_a_hand_back_is_durable_with_its_reason_and_grace(ledger: Ledger, path: Path) -> None:
    await ledger.accept([start(1, J1)])
    assert await ledger.hand_back(J1, Event.INTERRUPTED, "node n1 is lost", None)
    assert not await ledger.hand_back(J1, Event.INTERRUPTED, "again", 5.0)  # it is on its way
    again = await reopened(ledger, path)
    (entry,) = await again.entries()
    assert (entry.desired, entry.hand_back) == (Desired.STOP, Event.INTERRUPTED)
    assert (entry.stop_reason, entry.grace_s) == ("node n1 is lost", None)
    # A user's cancel changes how long its pods may take, not how it is said.
    await again.accept([Command(9, J1, Stop(2.0, "cancelled"))])
    (entry,) = await again.entries()
    assert (entry.hand_back, entry.grace_s, entry.stop_reason) == (Event.INTERRUPTED, 2.0, "node n1 is lost")
    await again.close()


async def test_what_was_told_to_stop_or_has_ended_is_not_handed_back(ledger: Ledger) -> None:
    await ledger.accept([start(1, J1), start(2, JobRef("j-2", 1))])
    await ledger.accept([Command(3, J1, Stop(2.0, "cancelled"))])
    await ledger.record_report(JobRef("j-2", 1), Event.FAIL, "exit 1", (), (), datetime(2026, 1, 1, tzinfo=UTC))
    assert not await ledger.hand_back(J1, Event.INTERRUPTED, "node n1 is lost", 5.0)
    assert not await ledger.hand_back(JobRef("j-2", 1), Event.INTERRUPTED, "node n1 is lost", 5.0)
    assert not await ledger.hand_back(JobRef("j-3", 1), Event.INTERRUPTED, "node n1 is lost", 5.0)


async def test_many_marks_go_into_few_transactions(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    refs = [JobRef(f"j-{number}", 1) for number in range(1000)]
    await ledger.accept([start(number + 1, ref) for number, ref in enumerate(refs)])
    writes = 0
    write = ledger_module._write

    def counted(*given: Any) -> None:
        nonlocal writes
        writes += 1
        write(*given)

    monkeypatch.setattr(ledger_module, "_write", counted)
    await asyncio.gather(*(ledger.mark_created(ref) for ref in refs))
    assert writes <= 3
    assert all(entry.created for entry in await ledger.entries())
