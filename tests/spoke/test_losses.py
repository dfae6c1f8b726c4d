"""What the agent forgot: a crash between two writes runs nothing twice, and a lost ledger holds no place for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from placement.lifecycle import HOLDING, Event, Phase, next_phase
from spoke import status
from spoke.apply import LOST
from spoke.cluster.port import ObjectKey
from spoke.ledger import Ledger
from tests.spoke.stage import NOW, Stage, eventually, job_yaml, node, stage
from wire.orders import JobRef, Report

REF = JobRef("j-1", 1)
SETTINGS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: team}\ndata: {a: '1'}\n---\n"
MOUNTED = SETTINGS + job_yaml("train").replace(
    "      containers:", "      volumes: [{name: s, configMap: {name: settings}}]\n      containers:"
)


@pytest.fixture
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "HOLD_BACK_S", 3600.0)


async def bound_pod(on: Stage, manifest: str = "") -> None:
    await on.run("j-1", manifest or job_yaml("train"))
    await on.make_pods("train", [0])
    await eventually("it is bound", lambda: len(on.bound("j-1")) == 1)


@pytest.mark.usefixtures("_silent")
async def test_a_job_that_ran_unreported_and_is_gone_after_a_crash_is_not_made_again(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await bound_pod(on)
        assert on.reports == []
        await on.drop_curtain()
        on.cluster.remove(ObjectKey("batch/v1", "Job", "team", "train"))
        await on.raise_curtain()
        failed = await on.told("j-1", Event.FAIL)
        assert "removed from the cluster" in failed.reason
        assert on.cluster.calls["create"] == 1


@pytest.mark.usefixtures("_silent")
async def test_nothing_is_bound_before_the_making_is_on_disk(tmp_path: Path) -> None:
    """Even where the pods come faster than the answer to the creation."""
    marks: list[bool] = []
    async with stage(tmp_path, node("n1")) as on:

        def look(verb: str, key: ObjectKey | None) -> None:
            if verb == "bind":
                marks.append(bool(_marked_on_disk(on)))

        on.cluster.faults.append(look)
        await bound_pod(on)
    assert marks == [True]


def _marked_on_disk(on: Stage) -> bool:
    return on.ledger._db.execute("SELECT created FROM jobs").fetchone()[0]  # type: ignore[no-any-return]


@pytest.mark.usefixtures("_silent")
async def test_a_crash_before_the_making_makes_it_after(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await on.run("j-1", job_yaml("train"))
        await on.drop_curtain()  # before the loop has had a turn
        assert on.cluster.objects("batch/v1", "Job") == []
        await on.raise_curtain()
        await on.workload("train")


@pytest.mark.usefixtures("_silent")
async def test_a_crash_between_the_making_and_its_mark_changes_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await bound_pod(on)
        await on.ledger.close()
        on.ledger = Ledger.open(tmp_path / "ledger.sqlite")
        on.ledger._db.execute("UPDATE jobs SET created = 0, assignment = '[]'")
        await on.restart()
        await eventually("it is picked up", lambda: on.agent._jobs.get("j-1").created)  # type: ignore[union-attr]
        assert len(on.cluster.objects("batch/v1", "Job")) == 1
        assert len(on.bound("j-1")) == 1


async def lose_the_ledger(on: Stage, directory: Path) -> None:
    await on.drop_curtain()
    on.directory = directory
    on.reports.clear()
    await on.raise_curtain()


async def test_what_a_lost_ledger_forgot_is_removed_and_refused(tmp_path: Path) -> None:
    async with stage(tmp_path / "first", node("n1"), lost_after_s=0.05) as on:
        await bound_pod(on, MOUNTED)
        on.set_phase(on.pods("j-1")[0], "Running")
        await on.set_status("train", active=1, ready=1, startTime="now")
        before = await on.told("j-1", Event.RUNNING)
        on.later(seconds=30)
        await lose_the_ledger(on, tmp_path / "second")
        held: list[list[Report]] = []

        def look(verb: str, key: ObjectKey | None) -> None:
            if verb == "delete":
                held.append(list(on.reports))

        on.cluster.faults.append(look)
        await on.agent.welcomed([REF], 60.0)
        told = await on.told("j-1", Event.REFUSE)
        assert (told.ref, told.reason) == (REF, LOST)
        assert told.seq > before.seq  # or the hub would take it for an old one
        assert held
        assert all(reports == [] for reports in held)  # not a word before everything is gone
        for kind, version in (("Pod", "v1"), ("ConfigMap", "v1"), ("Job", "batch/v1")):
            assert on.cluster.objects(version, kind) == []
        await eventually("it is forgotten", lambda: on.agent._jobs.get("j-1") is None)
        assert on.events("j-1") == [Event.REFUSE]


async def test_what_the_hub_commands_again_after_its_welcome_is_not_lost(tmp_path: Path) -> None:
    async with stage(tmp_path / "first", node("n1"), lost_after_s=0.05) as on:
        await bound_pod(on)
        await lose_the_ledger(on, tmp_path / "second")
        on.agent._lost_after_s = 3600.0
        await on.agent.welcomed([REF], 60.0)
        await on.run("j-1", job_yaml("train"), epoch=1)
        assert on.agent._unheard_of == set()
        assert Event.REFUSE not in on.events("j-1")
        assert len(on.cluster.objects("batch/v1", "Job")) == 1


async def test_a_stop_of_what_a_lost_ledger_forgot_stops_it(tmp_path: Path) -> None:
    async with stage(tmp_path / "first", node("n1")) as on:
        await bound_pod(on, MOUNTED)
        await lose_the_ledger(on, tmp_path / "second")
        await on.agent.welcomed([REF], 60.0)
        await on.cancel("j-1")
        told = await on.told("j-1", Event.STOPPED)
        assert told.seq > NOW.timestamp() * 1000  # or the hub would take it for an old one
        for kind, version in (("Pod", "v1"), ("ConfigMap", "v1"), ("Job", "batch/v1")):
            assert on.cluster.objects(version, kind) == []


async def test_a_loss_is_remembered_over_a_restart(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), lost_after_s=0.01, acknowledge=False) as on:
        await on.agent.welcomed([REF], 60.0)
        first = await on.told("j-1", Event.REFUSE)
        on.reports.clear()
        await on.restart()
        assert await on.told("j-1", Event.REFUSE) == first


async def test_what_is_known_here_is_not_lost(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    [*_] = await ledger.note_lost([REF], LOST, 5)
    assert ledger.unknown([REF, JobRef("j-1", 2), JobRef("j-2", 1)]) == {JobRef("j-1", 2), JobRef("j-2", 1)}
    await ledger.forget(REF)
    assert ledger.unknown([REF]) == frozenset()  # it ended here, and the hub's word is older than that
    await ledger.close()


def test_the_hub_places_a_job_again_that_its_spoke_has_lost() -> None:
    for phase in HOLDING:
        assert next_phase(phase, Event.REFUSE) is (Phase.CANCELLED if phase is Phase.CANCELLING else Phase.QUEUED)
