from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from placement.data import DataMove, Replica
from placement.lifecycle import Event
from spoke.cluster.backoff import Backoff
from spoke.cluster.port import ObjectKey, Unavailable
from spoke.staging.host import HostStager
from spoke.staging.port import CannotStage, Copy, Told
from spoke.staging.staging import in_words
from tests.spoke.stage import eventually, job_yaml, node, stage
from wire.orders import JobRef, Staging


def move(name: str = "images", source: str = "s3://b/images", place: str = "", secret: str = "") -> DataMove:
    place = place or f"pvc://team/dataset-{name}"
    return DataMove(name, 100, Replica("us", "", source), "", 0.0, 0.0, place, secret)


@dataclass
class Puppet:
    """A stager that a test moves: each copy waits until it is let go, or fails as told."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    failures: list[Exception] = field(default_factory=list)
    copying: list[Copy] = field(default_factory=list)
    copied: list[Copy] = field(default_factory=list)
    forgotten: list[JobRef] = field(default_factory=list)
    tell: Callable[[int, int], None] = lambda done, total: None

    async def copy(self, wanted: Copy, told: Told) -> None:
        self.copying.append(wanted)
        self.tell = told
        told(40, 120)
        if self.failures:
            raise self.failures.pop(0)
        await self.go.wait()
        self.copied.append(wanted)

    async def forget(self, ref: JobRef) -> None:
        self.forgotten.append(ref)


async def test_data_comes_first_and_its_progress_is_told(tmp_path: Path) -> None:
    puppet = Puppet()
    async with stage(tmp_path, node("n1"), stager=puppet) as s:
        assert (await s.run("j-1", job_yaml("a"), moves=[move()])).refused_code == ""
        report = await s.told("j-1", Event.STAGING)
        await eventually("there is progress", lambda: s.last("j-1").staging == Staging(40, 120))
        assert s.last("j-1").reason == "copying images: 40 of 120 B"
        assert report.roles == ()
        assert not s.cluster.objects("batch/v1", "Job")
        puppet.go.set()
        await s.workload("a")
        await eventually("it starts", lambda: s.events("j-1") == [Event.STAGING, Event.STARTING])
        told = [one for one in s.reports if one.event is Event.STAGING][-1]
        assert (told.reason, told.staging) == ("copied images", Staging(120, 120, ("images",)))


async def test_a_restarted_spoke_goes_on_with_it(tmp_path: Path) -> None:
    puppet = Puppet()
    async with stage(tmp_path, node("n1"), stager=puppet) as s:
        await s.run("j-1", job_yaml("a"), moves=[move(), move("text")])
        await s.told("j-1", Event.STAGING)
        await s.restart()
        await eventually("it is asked for again", lambda: len(puppet.copying) == 2)
        puppet.go.set()
        await s.workload("a")
        assert [one.dataset for one in puppet.copied] == ["images", "text"]
        assert [one.staging for one in s.reports if one.reason == "copied text"] == [
            Staging(240, 240, ("images", "text"))
        ]


async def test_what_cannot_be_brought_is_refused_and_nothing_of_the_job_stays(tmp_path: Path) -> None:
    puppet = Puppet(failures=[CannotStage("access denied")])
    async with stage(tmp_path, node("n1"), stager=puppet) as s:
        await s.run("j-1", job_yaml("a"), moves=[move()])
        report = await s.told("j-1", Event.REFUSE)
        assert report.reason == "access denied"
        assert not s.cluster.objects("batch/v1", "Job")
        # And may come again, with another epoch.
        puppet.go.set()
        await s.run("j-1", job_yaml("a"), epoch=2, moves=[move()])
        await s.workload("a")


async def test_a_stager_that_fails_is_asked_again(tmp_path: Path) -> None:
    puppet = Puppet(failures=[RuntimeError("the network")])
    puppet.go.set()
    async with stage(tmp_path, node("n1"), stager=puppet) as s:
        await s.run("j-1", job_yaml("a"), moves=[move()])
        await s.workload("a")
        assert len(puppet.copying) == 2


async def test_a_cluster_that_is_away_for_a_while_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next_s", lambda self: 0.0)
    puppet = Puppet(failures=[Unavailable("connection refused") for _ in range(20)])
    puppet.go.set()
    async with stage(tmp_path, node("n1"), stager=puppet) as s:
        await s.run("j-1", job_yaml("a"), moves=[move()])
        await s.workload("a")
        assert len(puppet.copying) == 21


async def test_an_attempt_that_a_newer_one_replaces_copies_no_longer(tmp_path: Path) -> None:
    puppet = Puppet()
    async with stage(tmp_path, node("n1"), stager=puppet) as s:
        await s.run("j-1", job_yaml("a"), moves=[move()])
        await eventually("it copies", lambda: puppet.copying)
        await s.run("j-1", job_yaml("a"), epoch=2, moves=[move()])
        await eventually("the newer one copies", lambda: puppet.copying[-1].ref == JobRef("j-1", 2))
        assert puppet.forgotten == [JobRef("j-1", 1)]
        puppet.go.set()
        await s.workload("a")
        assert [one.ref for one in puppet.copied] == [JobRef("j-1", 2)]


async def test_room_is_held_while_data_is_copied_and_given_back_at_once(tmp_path: Path) -> None:
    puppet = Puppet()
    async with stage(tmp_path, node("n1"), stager=puppet) as s:
        await s.run("j-1", job_yaml("a", gpus=8), moves=[move()])
        await s.told("j-1", Event.STAGING)
        assert (await s.run("j-2", job_yaml("b", gpus=1))).refused_code == "no-room"
        await s.restart()
        assert (await s.run("j-2", job_yaml("b", gpus=1))).refused_code == "no-room"
        await s.cancel("j-1")
        await s.told("j-1", Event.STOPPED)
        assert (await s.run("j-2", job_yaml("b", gpus=8))).refused_code == ""


async def test_room_on_a_node_that_goes_while_data_is_copied_is_held_elsewhere(tmp_path: Path) -> None:
    puppet = Puppet()
    async with stage(tmp_path, node("n1"), node("n2"), node("n3"), stager=puppet) as s:
        await s.run("j-1", job_yaml("a", pods=2, gpus=8), moves=[move()])
        await s.told("j-1", Event.STAGING)
        gone, stays = (slot.node for slot in s.agent._inventory.slots(JobRef("j-1", 1)).values())
        s.cluster.remove(ObjectKey("v1", "Node", "", gone))
        await eventually("it is seen", lambda: not s.agent._inventory.has_node(gone))
        await asyncio.sleep(0.05)
        assert (await s.run("j-2", job_yaml("b", gpus=8))).refused_code == "no-room"
        puppet.go.set()
        await s.make_pods("a", range(2))
        await eventually("it is bound", lambda: len(s.bound("j-1")) == 2)
        assert {at for at, _ in s.bound("j-1").values()} == {"n1", "n2", "n3"} - {gone}
        assert stays != gone


async def test_room_that_can_be_held_nowhere_else_is_held_where_it_was(tmp_path: Path) -> None:
    puppet = Puppet()
    nodes = node("n1"), node("n2")
    async with stage(tmp_path, *nodes, stager=puppet) as s:
        await s.run("j-1", job_yaml("a", pods=2, gpus=8), moves=[move()])
        await s.told("j-1", Event.STAGING)
        s.cluster.remove(ObjectKey("v1", "Node", "", "n1"))
        await eventually("it is seen", lambda: not s.agent._inventory.has_node("n1"))
        await asyncio.sleep(0.05)
        assert (await s.run("j-2", job_yaml("b", gpus=1))).refused_code == "no-room"
        s.cluster.put(nodes[0])
        puppet.go.set()
        await s.make_pods("a", range(2))
        await eventually("it is bound", lambda: len(s.bound("j-1")) == 2)


@pytest.mark.parametrize("source", ["pvc://ml/images", ""])
async def test_what_no_other_cluster_can_read_is_refused(tmp_path: Path, source: str) -> None:
    async with stage(tmp_path, node("n1"), stager=Puppet()) as s:
        await s.run("j-1", job_yaml("a"), moves=[move(source=source)])
        assert "no other cluster can read it" in (await s.told("j-1", Event.REFUSE)).reason


@pytest.mark.parametrize("claim", ["", "..", "a/b"])
async def test_what_is_no_name_of_a_claim_is_refused(tmp_path: Path, claim: str) -> None:
    async with stage(tmp_path, node("n1"), stager=Puppet()) as s:
        await s.run("j-1", job_yaml("a"), moves=[move(place=f"pvc://team/{claim}")])
        assert "is no claim" in (await s.told("j-1", Event.REFUSE)).reason


async def test_nothing_is_copied_into_another_namespace(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), stager=Puppet()) as s:
        ack = await s.run("j-1", job_yaml("a"), moves=[move(place="pvc://others/theirs")])
        assert ack.refused_code == "policy"
        assert "would be copied to pvc://others/theirs" in ack.refused_message


async def test_cancelled_it_copies_no_longer(tmp_path: Path) -> None:
    puppet = Puppet()
    async with stage(tmp_path, node("n1"), stager=puppet) as s:
        await s.run("j-1", job_yaml("a"), moves=[move()])
        await s.told("j-1", Event.STAGING)
        await s.cancel("j-1")
        await s.told("j-1", Event.STOPPED)
        assert puppet.forgotten == [JobRef("j-1", 1)]
        puppet.go.set()
        await asyncio.sleep(0.05)
        assert puppet.copied == []
        assert not s.cluster.objects("batch/v1", "Job")


async def test_two_jobs_do_not_copy_one_dataset_at_once(tmp_path: Path) -> None:
    puppet = Puppet()
    async with stage(tmp_path, node("n1"), stager=puppet) as s:
        await s.run("j-1", job_yaml("a"), moves=[move()])
        await s.run("j-2", job_yaml("b"), moves=[move()])
        assert "waiting for another job" in (await s.told("j-2", Event.STAGING)).reason
        assert [one.ref.job for one in puppet.copying] == ["j-1"]
        puppet.go.set()
        await s.workload("b")
        assert [one.ref.job for one in puppet.copied] == ["j-1", "j-2"]


async def test_without_a_stager_data_must_be_there_already(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as s:
        await s.run("j-1", job_yaml("a"), moves=[move()])
        assert "copies no data" in (await s.told("j-1", Event.REFUSE)).reason


async def test_the_host_cluster_fills_the_directory_of_the_claim(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/x").write_bytes(b"data")
    async with stage(tmp_path / "state", node("n1")) as s:
        stager = HostStager(s.cluster, tmp_path / "claims")
        wanted = Copy(JobRef("j-1", 1), "x", f"file://{tmp_path}/source", 4, "team", "dataset-x", "")
        await stager.copy(wanted, lambda done, total: None)
        assert (tmp_path / "claims/team/dataset-x/x").read_bytes() == b"data"
        with pytest.raises(CannotStage, match="Secret keys is not in namespace team"):
            await stager.copy(
                Copy(wanted.ref, "x", wanted.source, 4, "team", "dataset-x", "keys"), lambda done, total: None
            )


@pytest.mark.parametrize(
    ("done", "copied", "took_s", "words"),
    [
        (40e9, 0, 60, "copying x: 40 of 120 GB"),
        (40e9, 40e9, 90, "copying x: 40 of 120 GB, 3 min left"),
        (119e9, 119e9, 119, "copying x: 119 of 120 GB, 1 s left"),
        (1e9, 1e9, 3600, "copying x: 1 of 120 GB, 119.0 h left"),
        (120e9, 120e9, 60, "copying x: 120 of 120 GB"),
    ],
)
def test_progress_in_words(done: float, copied: float, took_s: float, words: str) -> None:
    assert in_words("x", int(done), 120_000_000_000, int(copied), took_s) == words
