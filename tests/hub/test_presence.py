"""Names that are in no cluster are refused, those that are in some decide where a job goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hub.errors import Invalid
from hub.presence import Presence
from hub.records import Actor
from placement.data import Dataset, Replica
from placement.lifecycle import Phase
from placement.presence import ObjectName
from placement.workload import DataUse, Reference, Workload
from tests.hub.loops.rig import ADMIN, ANN, Clock, FakeSpoke, Hub, Read, workload
from wire.orders import CommandAck

TOKEN = ObjectName("Secret", "default", "token")
CONFIG = ObjectName("ConfigMap", "default", "config")


def naming(*names: ObjectName, **more: Any) -> Workload:
    return replace(workload(**more), references=tuple(Reference(one.kind, one.name) for one in names))


async def member(hub: Hub, name: str, *absent: ObjectName, answers: bool = True) -> FakeSpoke:
    spoke = FakeSpoke(name)
    await spoke.join(hub)
    await spoke.connect(hub)
    if answers:
        hub.streams.absent[name] = frozenset(absent)
    return spoke


@pytest.fixture
def submit(hub: Hub) -> Any:
    """Of workloads as they are, past the reader of the rig."""

    async def send(asked: Workload, actor: Actor = ANN) -> str:
        hub.jobs._read = lambda text, *, namespace: (Read(asked, {"kind": "Job", "name": asked.name}),)
        return (await hub.jobs.submit(actor, b"{}"))[0].job.id

    return send


async def test_what_is_in_no_cluster_is_refused_with_its_name(hub: Hub, submit: Any) -> None:
    await member(hub, "east", TOKEN, CONFIG)
    await member(hub, "west", TOKEN)
    with pytest.raises(Invalid, match="Job train names Secret default/token, which is in none") as error:
        await submit(naming(TOKEN, CONFIG))
    assert "optional: true" in error.value.mend
    with pytest.raises(Invalid, match="Secret default/token"):
        await hub.jobs.plan(ANN, b"{}")  # read as the same


async def test_a_job_goes_to_the_cluster_that_has_what_it_names(hub: Hub, submit: Any) -> None:
    await member(hub, "east", TOKEN)
    await member(hub, "west")
    id_ = await submit(naming(TOKEN))
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, id_)).cluster == "west"


async def test_a_job_whose_own_lists_leave_out_who_has_it_is_refused(hub: Hub, submit: Any) -> None:
    await member(hub, "east", TOKEN)
    await member(hub, "west")
    with pytest.raises(Invalid, match="token"):
        await submit(naming(TOKEN, hints={"clusters": ("east",)}))


@pytest.mark.parametrize("away", ["too old", "disconnected"])
async def test_what_a_cluster_does_not_tell_is_no_reason(hub: Hub, submit: Any, clock: Clock, away: str) -> None:
    await member(hub, "east", TOKEN)
    spoke = await member(hub, "west", answers=away != "too old")
    if away == "disconnected":
        await hub.uplink.detach("west", f"session of {spoke.name}")
        del hub.streams.absent["west"]
    await submit(naming(TOKEN))


async def test_a_job_that_waits_starts_once_somebody_has_made_what_it_names(hub: Hub, submit: Any) -> None:
    await member(hub, "east", TOKEN)
    await member(hub, "west", CONFIG)
    id_ = await submit(naming(TOKEN, CONFIG))
    await hub.placing.settle()
    job = await hub.jobs.show(ANN, id_)
    assert job.phase is Phase.QUEUED
    assert "east has no Secret default/token" in job.reason
    assert "west has no ConfigMap default/config" in job.reason
    asked = len(hub.streams.names_asked)
    await hub.presence.look_again()
    await hub.placing.settle()
    assert [names for _, names in hub.streams.names_asked[asked:]] == [(TOKEN,), (CONFIG,)]
    assert (await hub.jobs.show(ANN, id_)).phase is Phase.QUEUED
    hub.streams.absent["west"] = frozenset()
    await hub.presence.look_again()
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, id_)).cluster == "west"


async def test_what_was_found_out_is_not_asked_again_for_a_while(hub: Hub, clock: Clock) -> None:
    await member(hub, "east", TOKEN)
    presence = Presence(hub.streams, hub.federation, hub.copies.backlog, clock=clock)
    asked = naming(TOKEN, CONFIG)
    for _ in range(3):
        await presence.ask([asked], hub.federation.fleet())
    assert len(hub.streams.names_asked) == 1
    assert presence.missing(asked, hub.federation.fleet()) == {"east": (TOKEN,)}
    clock.advance(61)
    assert presence.missing(asked, hub.federation.fleet()) == {}
    await presence.ask([asked], hub.federation.fleet())
    assert hub.streams.names_asked[1:] == [("east", (TOKEN,))]


async def test_a_spokes_own_refusal_counts_for_a_minute(hub: Hub, submit: Any) -> None:
    spoke = await member(hub, "east", answers=False)
    id_ = await submit(naming(TOKEN))
    await hub.placing.settle()
    (command,) = await hub.uplink.pending_commands("east")
    refused = CommandAck(command.id, command.ref, "no-such-object", "the cluster has no Secret default/token")
    await hub.uplink.acknowledged("east", [refused])
    await spoke.send_summary(hub)
    await hub.placing.settle()
    job = await hub.jobs.show(ANN, id_)
    assert (job.phase, job.epoch) == (Phase.QUEUED, 2)
    assert "the cluster has no Secret default/token" in job.reason
    hub.clock.advance(61)
    hub.copies.backlog.reconsider_all()
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, id_)).phase is Phase.PLACED


async def test_a_claim_that_is_filled_before_the_job_starts_need_not_be_there(hub: Hub, submit: Any) -> None:
    """West lacks the claim that the job mounts, and gets a copy of its dataset there first."""
    claim = ObjectName("PersistentVolumeClaim", "default", "images")
    other = ObjectName("PersistentVolumeClaim", "default", "other")
    await member(hub, "west", claim, other)
    replicas = (Replica("eu", uri="s3://b/images"), Replica("", "east", "pvc://default/images"))
    await hub.datasets.put(ADMIN, [Dataset("images", 1 << 30, replicas)], force=True)
    mounting = replace(naming(claim), data=(DataUse("pvc://default/images"),))
    assert hub.presence.missing(mounting, hub.federation.fleet()) == {}
    id_ = await submit(mounting)
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, id_)).cluster == "west"
    with pytest.raises(Invalid, match="PersistentVolumeClaim default/other"):
        await submit(replace(naming(other), name="b"))
