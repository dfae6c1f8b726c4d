from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hub.errors import ConflictError, Forbidden, HubError, Invalid, NotFound
from hub.records import Actor, UserRole
from hub.store import datasets
from placement.data import DataPlace, Dataset, Replica
from placement.lifecycle import Event, Phase
from placement.money import Price, PriceBook
from placement.verdict import Placed
from placement.workload import DataUse
from tests.hub.loops.rig import ADMIN, ANN, START_OF_TIME, FakeSpoke, Hub, a_hub, manifest
from wire.orders import CommandAck, DataFound, JobRef, Report, Staging, Start

STORE = Replica("us-east", uri="s3://bucket/imagenet")
CLAIM = Replica("", "east", "pvc://ml/imagenet")
IMAGENET = Dataset("imagenet", 10**12, (CLAIM,), secret="keys")
BEN = Actor("ben", "team-b", UserRole.SUBMITTER)


async def member(hub: Hub, name: str = "east") -> FakeSpoke:
    spoke = FakeSpoke(name)
    await spoke.join(hub, region="eu")
    await spoke.connect(hub)
    return spoke


async def test_datasets_are_kept_over_a_restart_with_the_regions_of_their_clusters(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        await member(hub)
        region = hub.federation.members["east"]
        await hub.datasets.create(ADMIN, IMAGENET)
        await hub.datasets.put(ADMIN, [replace(IMAGENET, name="text", replicas=(STORE,))], force=True)
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        assert [one.name for one in await hub.datasets.list(ANN)] == ["imagenet", "text"]
        shown = await hub.datasets.show(ANN, "imagenet")
        assert shown == replace(IMAGENET, replicas=(replace(CLAIM, region=region),))
        assert hub.federation.fleet().data.datasets["imagenet"] == shown
        # Of a cluster that is no more, nobody knows where it is.
        await hub.clusters.remove(ADMIN, "east", force=True)
        assert hub.federation.fleet().data.datasets["imagenet"].replicas == (CLAIM,)
        await hub.datasets.delete(ADMIN, "imagenet")
        assert "imagenet" not in hub.federation.fleet().data.datasets
        with pytest.raises(NotFound, match="no dataset 'imagenet'"):
            await hub.datasets.show(ANN, "imagenet")


@pytest.mark.parametrize(
    ("wrong", "said", "mend"),
    [
        (replace(IMAGENET, replicas=()), "imagenet.replicas: there is none", "name a place"),
        (replace(IMAGENET, size_bytes=-1), "imagenet.size: it is -1", "0 bytes or more"),
        (replace(IMAGENET, replicas=(Replica("", "eest"),)), "no cluster 'eest'", "did you mean 'east'? known: east"),
        (replace(IMAGENET, replicas=(Replica("", "", "s3://x"),)), "neither cluster nor region", "give the cluster"),
        (replace(IMAGENET, replicas=(Replica("r", "east", "s3://x"),)), "both cluster and region", "give the cluster"),
        (replace(IMAGENET, replicas=(CLAIM, CLAIM)), "it is there twice", "leave one"),
        (replace(IMAGENET, replicas=(replace(CLAIM, uri="pvc://ml"),)), "'pvc://ml' is no claim", "namespace/claim"),
        (replace(IMAGENET, replicas=(replace(CLAIM, uri="s3:x"),)), "'s3:x' is no URI", "s3://bucket"),
        (replace(IMAGENET, replicas=(Replica("mars"),)), "region 'mars'", "known: eu; --force"),
        (replace(IMAGENET, residency=("mars",)), "residency is mars", "take the replica out"),
        (
            replace(IMAGENET, replicas=(STORE,), residency=("us-east",)),
            "no cluster is in us-east",
            "the clusters are in",
        ),
    ],
)
async def test_what_cannot_be_is_told_with_field_value_and_mend_and_changes_nothing(
    hub: Hub, wrong: Dataset, said: str, mend: str
) -> None:
    await member(hub)
    with pytest.raises(Invalid) as caught:
        await hub.datasets.put(ADMIN, [replace(IMAGENET, name="fine"), wrong])
    assert any(said in f"{one.path}: {one.message}" for one in caught.value.problems)
    assert any(mend in one.mend for one in caught.value.problems)
    assert await hub.datasets.list(ADMIN) == []


async def test_a_region_that_nobody_knows_yet_may_be_forced(hub: Hub) -> None:
    await member(hub)
    away = replace(IMAGENET, replicas=(STORE,), residency=("us-east",))
    assert await hub.datasets.create(ADMIN, away, force=True) == away
    # And is known from then on.
    await hub.datasets.put(ADMIN, [replace(IMAGENET, name="more", replicas=(STORE,))])
    with pytest.raises(ConflictError, match="there is a dataset imagenet already"):
        await hub.datasets.create(ADMIN, away)


async def test_a_tenants_datasets_are_its_own(hub: Hub) -> None:
    await member(hub)
    own = replace(IMAGENET, tenant=ANN.tenant)
    await hub.datasets.create(ANN, own)
    await hub.datasets.create(ADMIN, replace(IMAGENET, size_bytes=5))
    assert (await hub.datasets.show(ANN, "imagenet")).size_bytes == 10**12
    assert (await hub.datasets.show(BEN, "imagenet")).size_bytes == 5
    assert [one.tenant for one in await hub.datasets.list(BEN)] == [""]
    refused: list[tuple[Actor, Dataset]] = [(BEN, own), (ANN, IMAGENET), (replace(ANN, role=UserRole.VIEWER), own)]
    for actor, dataset in refused:
        with pytest.raises(Forbidden):
            await hub.datasets.put(actor, [dataset])
    with pytest.raises(HubError):
        await hub.datasets.delete(BEN, "imagenet", tenant=ANN.tenant)
    assert (await hub.datasets.show(ADMIN, "imagenet", tenant=ANN.tenant)).size_bytes == 10**12


async def test_copies_outlive_a_declaration_of_the_same_data(hub: Hub) -> None:
    await member(hub)
    await hub.datasets.create(ADMIN, IMAGENET)
    copy = Replica("", "east", "pvc://default/dataset-imagenet", copied=True)
    await hub.store.write(lambda session: datasets.add_replica(session, "imagenet", copy))
    await hub.store.write(lambda session: datasets.add_replica(session, "imagenet", copy))
    await hub.store.write(lambda session: datasets.add_replica(session, "gone", copy))
    [again] = await hub.datasets.put(ADMIN, [replace(IMAGENET, secret="")])
    assert [one.copied for one in again.replicas] == [False, True]
    [without] = await hub.datasets.put(ADMIN, [IMAGENET], forget_copies=True)
    assert [one.copied for one in without.replicas] == [False]
    await hub.store.write(lambda session: datasets.add_replica(session, "imagenet", copy))
    [other] = await hub.datasets.put(ADMIN, [replace(IMAGENET, size_bytes=2)])
    assert [one.copied for one in other.replicas] == [False]


async def test_a_job_of_another_tenant_does_not_know_a_tenants_dataset(hub: Hub) -> None:
    await member(hub)
    await hub.datasets.create(ANN, replace(IMAGENET, tenant=ANN.tenant, replicas=(replace(CLAIM, uri=""),)))
    for actor, name in ((ANN, "own"), (BEN, "foreign")):
        await hub.jobs.submit(actor, manifest(name, data=["imagenet"]))
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, "own")).phase is Phase.PLACED
    foreign = await hub.jobs.show(BEN, "foreign")
    assert (foreign.phase, foreign.reason) == (
        Phase.QUEUED,
        "nobody declared a dataset 'imagenet' (muster dataset list shows them)",
    )


COPY = Replica("eu", "east", "pvc://default/dataset-imagenet", copied=True)


async def staging(hub: Hub, *names: str) -> tuple[FakeSpoke, JobRef]:
    """A job whose data lies elsewhere, which the spoke of `east` has been told to start."""
    spoke = await member(hub)
    await hub.datasets.create(ADMIN, replace(IMAGENET, replicas=(STORE,)), force=True)
    await hub.jobs.submit(ANN, manifest("train", data=["imagenet"]))
    await hub.placing.settle()
    [command] = await hub.uplink.pending_commands("east")
    assert isinstance(command.order, Start)
    [move] = command.order.moves
    assert (move.dataset, move.source, move.place, move.secret) == ("imagenet", STORE, COPY.uri, "keys")
    [obj] = command.order.objects
    assert obj["data"] == (DataPlace("imagenet", COPY.uri, writes=False),)
    return spoke, command.ref


def tell(ref: JobRef, seq: int, done: int, *staged: str) -> Report:
    words = "copying imagenet" if done < 10 else "copied imagenet"
    return Report(ref, seq, Event.STAGING, words, START_OF_TIME, staging=Staging(done, 10, staged))


async def test_data_is_copied_before_the_job_starts_and_the_next_job_finds_it(hub: Hub) -> None:
    _, ref = await staging(hub)
    [command] = await hub.uplink.pending_commands("east")
    await hub.uplink.acknowledged("east", [CommandAck(command.id, ref)])
    job = await hub.jobs.show(ANN, "train")
    assert (job.phase, job.reason) == (Phase.STAGING, "accepted by east")
    await hub.uplink.reported("east", [tell(ref, 1, 4)])
    job = await hub.jobs.show(ANN, "train")
    assert (job.phase, job.reason) == (Phase.STAGING, "copying imagenet")
    [held] = hub.federation.fleet().reservations
    assert held.moves_usd == pytest.approx(90)  # a terabyte at the default of 9 cents
    assert hub.federation.fleet().data.datasets["imagenet"].replicas == (STORE,)
    # The same twice, and what nobody asked for, change nothing more.
    for _ in range(2):
        await hub.uplink.reported("east", [tell(ref, 2, 10, "imagenet", "other")])
    assert hub.federation.fleet().data.datasets["imagenet"].replicas == (STORE, COPY)
    started = Report(ref, 3, Event.STARTING, "", START_OF_TIME)
    await hub.uplink.reported("east", [started])
    assert (await hub.jobs.show(ANN, "train")).reason == ""
    await hub.jobs.submit(ANN, manifest("again", data=["imagenet"]))
    await hub.placing.settle()
    [command] = await hub.uplink.pending_commands("east")
    assert isinstance(command.order, Start)
    assert command.order.moves == ()


async def test_only_the_attempt_that_was_to_bring_it_can_have_brought_it(hub: Hub) -> None:
    _, ref = await staging(hub)
    west = FakeSpoke("west")
    await west.join(hub, region="eu")
    await west.connect(hub)
    await hub.uplink.reported("west", [tell(ref, 1, 10, "imagenet")])
    await hub.uplink.reported("east", [tell(replace(ref, epoch=2), 1, 10, "imagenet")])
    await hub.uplink.reported("east", [tell(replace(ref, job="j-other"), 1, 10, "imagenet")])
    assert hub.federation.fleet().data.datasets["imagenet"].replicas == (STORE,)


async def test_moves_and_their_price_outlive_a_restart(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        await staging(hub)
        before = hub.federation.fleet(), await hub.uplink.pending_commands("east")
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        assert hub.federation.fleet().reservations == before[0].reservations
        [now], [then] = await hub.uplink.pending_commands("east"), before[1]
        assert isinstance(now.order, Start)
        assert isinstance(then.order, Start)
        assert now.order.moves == then.order.moves


async def test_a_cluster_that_cannot_copy_it_is_left_out(hub: Hub) -> None:
    _, ref = await staging(hub)
    report = Report(ref, 1, Event.REFUSE, "imagenet cannot be copied: access denied", START_OF_TIME)
    await hub.uplink.reported("east", [report])
    await hub.placing.settle()
    job = await hub.jobs.show(ANN, "train")
    assert job.phase is Phase.QUEUED
    assert "access denied" in job.reason


def learnt(name: str, *clusters: str, size: int = 0) -> Dataset:
    return Dataset(name, size, tuple(Replica("eu", one, name) for one in clusters), learned=True)


IMAGES = "pvc://default/images"


async def test_claims_are_learned_and_a_job_goes_where_the_one_that_it_mounts_is(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        for name in ("east", "west"):
            await member(hub, name)
        await hub.uplink.data("east", [DataFound(IMAGES, 5), DataFound("pvc://default/a", 1)])
        await hub.uplink.data("west", [DataFound("pvc://default/a", 2)])
        assert await hub.datasets.list(ADMIN) == []
        both = [learnt("pvc://default/a", "east", "west", size=2), learnt(IMAGES, "east", size=5)]
        assert await hub.datasets.list(ADMIN, learned=True) == both
        await hub.jobs.submit(ANN, manifest("train", data=[IMAGES]))
        await hub.placing.settle()
        assert (await hub.jobs.show(ANN, "train")).cluster == "east"
        # What is gone is gone, and the rest stays as it was.
        await hub.uplink.data("east", [DataFound(IMAGES, 5)])
        assert (await hub.datasets.show(ADMIN, "pvc://default/a")).replicas == (
            Replica("eu", "west", "pvc://default/a"),
        )
        await hub.uplink.data("west", [])
        assert [one.name for one in await hub.datasets.list(ADMIN, learned=True)] == [IMAGES]
    async with a_hub(tmp_path / "hub.sqlite", seed=1) as hub:
        assert [one.name for one in await hub.datasets.list(ADMIN, learned=True)] == [IMAGES]
        # A cluster that is no more holds nothing, and holds up nobody.
        await hub.clusters.remove(ADMIN, "east", force=True)
        assert IMAGES not in hub.federation.data.datasets


async def test_what_was_learned_says_nothing_of_a_cluster_that_tells_nothing(hub: Hub) -> None:
    west = await member(hub, "west")
    await member(hub, "east")
    await hub.uplink.data("east", [DataFound(IMAGES, 5)])
    await hub.jobs.submit(ANN, manifest("anywhere", gpus=8, data=[IMAGES]))
    await hub.jobs.submit(ANN, manifest("else", gpus=8, data=[IMAGES]))
    await hub.jobs.submit(ANN, manifest("more", gpus=8, data=[IMAGES]))
    await hub.placing.settle()
    assert {(await hub.jobs.show(ANN, one)).cluster for one in ("anywhere", "else", "more")} == {"east", "west"}
    await hub.uplink.data("west", [])
    await hub.jobs.submit(ANN, manifest("last", gpus=8, data=[IMAGES]))
    await hub.placing.settle()
    decision = (await hub.jobs.explain(ANN, "last")).decision
    assert decision is not None
    reasons = {one.cluster: [reason.code for reason in one.reasons] for one in decision.candidates}
    assert reasons[west.name] == ["dataset-out-of-reach"]


async def test_what_is_declared_comes_before_what_was_learned(hub: Hub) -> None:
    await member(hub)
    await hub.uplink.data("east", [DataFound(IMAGES, 5)])
    declared = Dataset("images", 9, (Replica("", "east", IMAGES), STORE))
    await hub.datasets.create(ADMIN, declared, force=True)
    found = hub.federation.data.find(DataUse(f"{IMAGES}/train"))
    assert found is not None
    assert found.name == "images"
    await hub.uplink.data("east", [])
    assert (await hub.datasets.show(ADMIN, "images")).size_bytes == 9


async def test_a_report_that_overtakes_the_acknowledgement_counts(hub: Hub) -> None:
    _, ref = await staging(hub)
    await hub.uplink.reported("east", [Report(ref, 1, Event.STARTING, "", START_OF_TIME)])
    [command] = await hub.uplink.pending_commands("east")
    await hub.uplink.acknowledged("east", [CommandAck(command.id, ref)])
    assert (await hub.jobs.show(ANN, "train")).phase is Phase.STARTING


async def test_a_checkpoint_in_a_claim_draws_the_next_attempt_to_where_it_is(hub: Hub) -> None:
    east, west = await member(hub, "east"), await member(hub, "west")
    await hub.jobs.submit(ANN, manifest("train", data=["pvc://default/runs/1 checkpoint"]))
    await hub.placing.settle()
    job = await hub.jobs.show(ANN, "train")
    first = {"east": east, "west": west}[str(job.cluster)]
    await first.obey(hub)
    await first.send_reports(hub)
    ref = JobRef(job.id, 1)
    running = Report(ref, 9, Event.RUNNING, "", START_OF_TIME, checkpoint_at=START_OF_TIME)
    for seq in (9, 10):
        await hub.uplink.reported(first.name, [replace(running, seq=seq)])
    claim = "pvc://default/runs"
    assert hub.federation.data.datasets[claim].replicas == (Replica("eu", first.name, claim),)
    for cluster in ("east", "west"):
        await hub.prices.replace(ADMIN, PriceBook({(cluster, "*"): Price(1.0)}, default=Price(1.1)))
        planned = await hub.jobs.plan(ANN, manifest("again", data=["pvc://default/runs/1 checkpoint"]))
        decision = planned[0].decision
        assert isinstance(decision.verdict, Placed)
        assert decision.verdict.cluster == first.name


async def test_files_of_machines_are_an_admins_to_declare(hub: Hub) -> None:
    await member(hub)
    keys = Dataset("keys", 1, (Replica("", "east", "file:///etc"),), tenant=ANN.tenant)
    with pytest.raises(Invalid, match="only an admin may declare"):
        await hub.datasets.put(ANN, [keys], force=True)
    await hub.datasets.put(ADMIN, [keys])


async def test_a_copy_that_its_cluster_lost_is_known_no_more(hub: Hub) -> None:
    _, ref = await staging(hub)
    await hub.uplink.reported("east", [tell(ref, 1, 10, "imagenet")])
    await hub.uplink.data("east", [DataFound(COPY.uri, 10**12), DataFound(IMAGES, 5)])
    assert hub.federation.data.datasets["imagenet"].replicas == (STORE, COPY)
    assert [one.name for one in await hub.datasets.list(ADMIN, learned=True)] == ["imagenet", IMAGES]
    await hub.uplink.data("east", [DataFound(IMAGES, 5)])
    assert hub.federation.data.datasets["imagenet"].replicas == (STORE,)


async def test_a_cluster_that_joins_by_the_name_of_one_that_was_removed_has_nothing_of_it(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        _, ref = await staging(hub)
        await hub.uplink.reported("east", [tell(ref, 1, 10, "imagenet")])
        await hub.uplink.data("east", [DataFound(COPY.uri, 10**12), DataFound(IMAGES, 5)])
        await member(hub, "west")
        await hub.uplink.data("west", [DataFound(IMAGES, 5)])
        await hub.uplink.data("east", [DataFound(COPY.uri, 10**12), DataFound(IMAGES, 5), DataFound("pvc://a/b", 1)])
        await hub.clusters.remove(ADMIN, "east", force=True)
        left = [one.name for one in await hub.datasets.list(ADMIN, learned=True)]
        assert left == ["imagenet", IMAGES]
        await member(hub)
        assert hub.federation.data.told == {"west"}
        for name in left:
            assert "east" not in {one.cluster for one in hub.federation.data.datasets[name].replicas}
    async with a_hub(tmp_path / "hub.sqlite", seed=1) as hub:
        assert hub.federation.learned == 1


async def test_a_copy_of_what_was_declared_anew_while_it_came_is_none(hub: Hub) -> None:
    _, ref = await staging(hub)
    await hub.datasets.put(ADMIN, [replace(IMAGENET, size_bytes=2, replicas=(STORE,))], force=True)
    await hub.uplink.reported("east", [tell(ref, 1, 10, "imagenet")])
    assert hub.federation.fleet().data.datasets["imagenet"].replicas == (STORE,)
