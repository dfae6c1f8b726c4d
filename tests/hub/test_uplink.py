from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from hub.api import present
from hub.api.schemas import TallyOut
from hub.link.port import NotWelcome
from hub.pki import RequestRefused
from hub.records import Job
from placement.lifecycle import Event, Phase
from placement.tally import Tally
from tests.hub.loops.rig import ADMIN, ANN, START_OF_TIME, FakeSpoke, Hub, manifest
from wire.orders import CommandAck, JobRef, Report, ReportAck, Start, Stop


@pytest.fixture
async def spoke(hub: Hub) -> FakeSpoke:
    made = FakeSpoke("east")
    await made.join(hub)
    await made.connect(hub)
    return made


async def placed(hub: Hub, name: str = "a", gpus: int = 1) -> JobRef:
    (one,) = await hub.jobs.submit(ANN, manifest(name, gpus))
    await hub.placing.settle()
    return JobRef(one.job.id, 1)


async def show(hub: Hub, ref: JobRef) -> Job:
    return await hub.jobs.show(ADMIN, ref.job)


def report(ref: JobRef, seq: int, event: Event) -> Report:
    return Report(ref, seq, event, event.value, START_OF_TIME + timedelta(days=1))


# ---- who is let in ----


async def test_a_stream_begins_with_what_must_be_live(hub: Hub, spoke: FakeSpoke) -> None:
    ref = await placed(hub)
    attached = await hub.uplink.attach("east", spoke.serial, "1.1", "s2")
    assert (attached.live, attached.heartbeat_s, attached.lease_s) == ((ref,), 5, 60)
    assert (await hub.clusters.show(ADMIN, "east")).agent_version == "1.1"


@pytest.mark.parametrize(("name", "serial", "code"), [("mars", "1", "unknown"), ("east", "99", "certificate")])
async def test_strangers(hub: Hub, spoke: FakeSpoke, name: str, serial: str, code: str) -> None:
    with pytest.raises(NotWelcome) as refused:
        await hub.uplink.attach(name, serial, "1.0", "s")
    assert refused.value.code == code


async def test_a_removed_cluster_is_heard_no_more(hub: Hub, spoke: FakeSpoke) -> None:
    await hub.clusters.remove(ADMIN, "east", force=False)
    for attempt in (
        hub.uplink.attach("east", spoke.serial, "1.0", "s"),
        hub.uplink.heartbeat("east"),
        hub.uplink.summary("east", spoke.summary()),
        hub.uplink.acknowledged("east", []),
        hub.uplink.reported("east", []),
        hub.uplink.renew("east", spoke.serial, b"CSR"),
    ):
        with pytest.raises(NotWelcome) as refused:
            await attempt
        assert refused.value.code == "removed"


async def test_a_certificate_that_was_replaced_by_joining_anew_is_not_welcome(hub: Hub, spoke: FakeSpoke) -> None:
    old = spoke.serial
    await spoke.join(hub)
    with pytest.raises(NotWelcome):
        await hub.uplink.attach("east", old, "1.0", "s")
    assert ("east", "certificate") in hub.streams.closed
    await hub.uplink.attach("east", spoke.serial, "1.0", "s")


def serial_of(pem: bytes) -> str:
    return pem.decode().rpartition("#")[2]


async def test_a_renewal_whose_answer_is_lost_locks_nobody_out(hub: Hub, spoke: FakeSpoke) -> None:
    await hub.uplink.renew("east", spoke.serial, b"CSR")
    await hub.uplink.attach("east", spoke.serial, "1.0", "s")
    pem, ca = await hub.uplink.renew("east", spoke.serial, b"CSR")
    newer = serial_of(pem)
    await hub.uplink.attach("east", newer, "1.0", "s")
    assert ca == b"CA"
    with pytest.raises(NotWelcome):  # the new one has arrived: the old one is of no use to its owner any more
        await hub.uplink.attach("east", spoke.serial, "1.0", "s")


async def test_renewals_in_a_row_on_one_long_stream(hub: Hub, spoke: FakeSpoke) -> None:
    second = serial_of((await hub.uplink.renew("east", spoke.serial, b"CSR"))[0])
    await hub.uplink.renew("east", second, b"CSR")  # this answer is lost
    await hub.uplink.attach("east", second, "1.0", "s")


async def test_a_bad_signing_request(hub: Hub, spoke: FakeSpoke) -> None:
    with pytest.raises(RequestRefused):
        await hub.uplink.renew("east", spoke.serial, b"nonsense")


# ---- commands ----


async def test_an_accepted_start_is_sent_no_more(hub: Hub, spoke: FakeSpoke) -> None:
    ref = await placed(hub)
    (command,) = await hub.uplink.pending_commands("east")
    assert isinstance(command.order, Start)
    assert command.ref == ref
    assert command.order.objects[0]["labels"] == {"muster.dev/job": ref.job, "muster.dev/epoch": "1"}
    await hub.uplink.acknowledged("east", [CommandAck(command.id, ref)])
    assert (await show(hub, ref)).phase is Phase.STARTING
    assert await hub.uplink.pending_commands("east") == ()


async def test_commands_are_waited_for(hub: Hub, spoke: FakeSpoke) -> None:
    waiting = asyncio.ensure_future(hub.uplink.wait_for_commands("east", 0))
    ref = await placed(hub)
    (command,) = await asyncio.wait_for(waiting, 10)
    assert command.ref == ref


async def test_a_start_that_finds_no_room_is_queued_again_and_not_sent_back_at_once(hub: Hub, spoke: FakeSpoke) -> None:
    spoke.taken_elsewhere = 8  # the hub has not heard
    ref = await placed(hub)
    await spoke.obey(hub)
    job = await show(hub, ref)
    assert (job.phase, job.epoch, job.reason) == (Phase.QUEUED, 2, "refused by east: 0 of 1 pods fit")
    assert hub.federation.fleet().reservations == ()
    await hub.placing.settle()
    job = await show(hub, ref)
    assert job.phase is Phase.QUEUED
    assert "the spoke of east refused it: 0 of 1 pods fit" in job.reason
    spoke.taken_elsewhere = 0
    await spoke.send_summary(hub)  # its revision moves on
    await hub.placing.settle()
    assert (await show(hub, ref)).phase is Phase.PLACED


async def test_an_interrupted_job_may_be_placed_where_it_was(hub: Hub, spoke: FakeSpoke) -> None:
    """The cluster has other nodes: unlike a refusal, it keeps no cluster away."""
    ref = await placed(hub)
    await spoke.obey(hub)
    await hub.uplink.reported("east", [report(ref, 9, Event.INTERRUPTED)])
    assert (await show(hub, ref)).epoch == 2
    await hub.placing.settle()
    job = await show(hub, ref)
    assert (job.phase, job.cluster, job.epoch) == (Phase.PLACED, "east", 2)


async def test_a_refused_job_goes_to_another_cluster(hub: Hub, spoke: FakeSpoke) -> None:
    west = FakeSpoke("west")
    await west.join(hub)
    await west.connect(hub)
    ref = await placed(hub)
    first = (await show(hub, ref)).cluster
    for one in (spoke, west):
        one.taken_elsewhere = 8 if one.name == first else 0
        await one.obey(hub)
    await hub.placing.settle()
    job = await show(hub, ref)
    assert (job.phase, {first, job.cluster}) == (Phase.PLACED, {"east", "west"})


async def test_invalid_objects_fail_the_job_with_the_clusters_words(hub: Hub, spoke: FakeSpoke) -> None:
    spoke.invalid = {"a"}
    ref = await placed(hub)
    await spoke.obey(hub)
    job = await show(hub, ref)
    assert (job.phase, job.reason) == (Phase.FAILED, "spec.template is required")
    assert hub.federation.fleet().reservations == ()


async def test_a_spoke_that_knows_a_newer_epoch_than_a_restored_hub(hub: Hub, spoke: FakeSpoke) -> None:
    ref = await placed(hub)
    spoke.newest[ref.job] = 3
    for _ in range(2):
        await spoke.obey(hub)
        await spoke.send_summary(hub)
        hub.clock.advance(10)
        await hub.placing.settle()
    await spoke.obey(hub)
    job = await show(hub, ref)
    assert (job.phase, job.epoch) == (Phase.STARTING, 3)


@pytest.mark.parametrize("forged", [{"cluster": "west"}, {"id": 99}, {"ref": JobRef("j-other", 1)}])
async def test_acknowledgements_that_fit_nothing_change_nothing(
    hub: Hub, spoke: FakeSpoke, forged: dict[str, object]
) -> None:
    west = FakeSpoke("west")
    await west.join(hub)
    ref = await placed(hub)
    (command,) = await hub.uplink.pending_commands("east")
    ack = CommandAck(**{"id": command.id, "ref": ref, **{k: v for k, v in forged.items() if k != "cluster"}})  # type: ignore[arg-type]
    await hub.uplink.acknowledged(str(forged.get("cluster", "east")), [ack])
    assert (await show(hub, ref)).phase is Phase.PLACED


@pytest.mark.parametrize(
    ("code", "phase"), [("older-epoch", Phase.CANCELLED), ("invalid", Phase.CANCELLING), ("other", Phase.CANCELLING)]
)
async def test_a_stop_for_which_nothing_is_there_is_done(hub: Hub, spoke: FakeSpoke, code: str, phase: Phase) -> None:
    ref = await placed(hub)
    await spoke.obey(hub)
    await hub.jobs.cancel(ANN, ref.job)
    (command,) = await hub.uplink.pending_commands("east")
    await hub.uplink.acknowledged("east", [CommandAck(command.id, ref, code, "")])
    assert (await show(hub, ref)).phase is phase
    assert bool(hub.federation.holding("east")) is (phase is Phase.CANCELLING)


async def test_a_stop_that_is_taken_is_not_done_yet(hub: Hub, spoke: FakeSpoke) -> None:
    ref = await placed(hub)
    await spoke.obey(hub)
    await hub.jobs.cancel(ANN, ref.job)
    (command,) = await hub.uplink.pending_commands("east")
    await hub.uplink.acknowledged("east", [CommandAck(command.id, ref)])
    assert (await show(hub, ref)).phase is Phase.CANCELLING


async def test_an_acknowledgement_that_comes_twice(hub: Hub, spoke: FakeSpoke) -> None:
    ref = await placed(hub)
    (command,) = await hub.uplink.pending_commands("east")
    for _ in range(2):
        await hub.uplink.acknowledged("east", [CommandAck(command.id, ref)])
    assert [event.event for event in (await hub.jobs.explain(ANN, "a")).history] == ["submit", "place", "accept"]


# ---- reports ----


async def test_reports_move_the_job_and_are_acknowledged_up_to_the_last(hub: Hub, spoke: FakeSpoke) -> None:
    ref, other = await placed(hub, "a"), await placed(hub, "b")
    acks = await hub.uplink.reported(
        "east",
        [report(ref, 1, Event.STARTING), report(other, 1, Event.FAIL), report(ref, 2, Event.RUNNING)],
    )
    assert acks == (ReportAck(ref, 2), ReportAck(other, 1))
    assert ((await show(hub, ref)).phase, (await show(hub, other)).phase) == (Phase.RUNNING, Phase.FAILED)
    assert (await show(hub, ref)).started_at == hub.clock()  # not the spoke's clock, a day ahead


@pytest.mark.parametrize(
    "said",
    [
        report(JobRef("j-none", 1), 1, Event.SUCCEED),
        report(JobRef("", 2), 1, Event.SUCCEED),  # a later epoch of the job
        report(JobRef("", 0), 1, Event.SUCCEED),
        report(JobRef("", 1), 1, Event.CANCEL),  # the user's to say
        report(JobRef("", 1), 1, Event.PLACE),
        report(JobRef("", 1), 1, Event.STOPPED),  # nobody asked for it
    ],
)
async def test_a_report_that_does_not_fit_is_acknowledged_and_changes_nothing(
    hub: Hub, spoke: FakeSpoke, said: Report
) -> None:
    ref = await placed(hub)
    before = await show(hub, ref)
    said = Report(JobRef(said.ref.job or ref.job, said.ref.epoch), said.seq, said.event, "", said.at)
    assert await hub.uplink.reported("east", [said]) == (ReportAck(said.ref, 1),)
    assert await show(hub, ref) == before


async def test_a_spoke_cannot_report_for_another_clusters_job(hub: Hub, spoke: FakeSpoke) -> None:
    west = FakeSpoke("west")
    await west.join(hub)
    ref = await placed(hub)
    assert await hub.uplink.reported("west", [report(ref, 1, Event.SUCCEED)]) == (ReportAck(ref, 1),)
    assert (await show(hub, ref)).phase is Phase.PLACED


async def test_a_gang_that_cannot_be_bound_after_all_is_queued_again(hub: Hub, spoke: FakeSpoke) -> None:
    ref = await placed(hub)
    await spoke.obey(hub)
    await spoke.send_reports(hub)
    await hub.uplink.reported("east", [report(ref, 9, Event.REFUSE)])
    job = await show(hub, ref)
    assert (job.phase, job.epoch) == (Phase.QUEUED, 2)
    await hub.placing.settle()
    assert (await show(hub, ref)).phase is Phase.QUEUED  # not back to where it was just refused


async def test_a_drained_job_runs_again_elsewhere_only_after_it_was_stopped(hub: Hub, spoke: FakeSpoke) -> None:
    ref = await placed(hub)
    await spoke.obey(hub)
    west = FakeSpoke("west")
    await west.join(hub)
    await west.connect(hub)
    assert await hub.clusters.drain(ADMIN, "east") == 1
    await hub.placing.settle()
    assert (await show(hub, ref)).phase is Phase.EVICTING
    (command,) = await hub.uplink.pending_commands("east")
    assert isinstance(command.order, Stop)
    await spoke.obey(hub)
    await spoke.send_reports(hub)
    await hub.placing.settle()
    job = await show(hub, ref)
    assert (job.phase, job.cluster, job.epoch) == (Phase.PLACED, "west", 2)


async def test_a_job_that_stands_still_is_shown_until_it_goes_on(hub: Hub, spoke: FakeSpoke) -> None:
    ref = await placed(hub)
    await spoke.obey(hub)
    since = START_OF_TIME - timedelta(hours=1)
    still = Report(ref, 2, Event.RUNNING, "stalled: no progress for 30m", since, stalled_since=since)
    await hub.uplink.reported("east", [report(ref, 1, Event.RUNNING), still])
    shown = await show(hub, ref)
    assert (shown.phase, shown.stalled_since, shown.reason) == (Phase.RUNNING, since, "stalled: no progress for 30m")
    told = await hub.jobs.explain(ADMIN, ref.job)
    assert "stalled: no progress for 30m" in [event.message for event in told.history]
    await hub.uplink.reported("east", [Report(ref, 3, Event.RUNNING, "", since)])
    assert (await show(hub, ref)).stalled_since is None
    await hub.uplink.reported("east", [Report(ref, 4, Event.RUNNING, "stalled", since, stalled_since=since)])
    await hub.uplink.reported("east", [Report(ref, 5, Event.INTERRUPTED, "stalled", since)])
    shown = await show(hub, ref)
    assert (shown.epoch, shown.stalled_since) == (2, None)


async def test_progress_and_retries_are_those_of_the_present_attempt(hub: Hub, spoke: FakeSpoke) -> None:
    ref = await placed(hub)
    await spoke.obey(hub)
    some = Report(ref, 1, Event.RUNNING, "", START_OF_TIME, progress=Tally(3, 10), retries=Tally(1))
    await hub.uplink.reported("east", [some])
    shown = await show(hub, ref)
    assert (shown.progress, shown.retries) == (Tally(3, 10), Tally(1))
    out = present.job(shown)
    assert (out.progress, out.retries) == (TallyOut(done=3, of=10), TallyOut(done=1, of=None))
    await hub.uplink.reported("east", [report(ref, 2, Event.RUNNING)])
    assert (await show(hub, ref)).progress == Tally(3, 10), "a spoke that says nothing of it takes nothing back"
    await hub.uplink.reported("east", [Report(ref, 3, Event.INTERRUPTED, "a node", START_OF_TIME)])
    shown = await show(hub, ref)
    assert (shown.epoch, shown.progress, shown.retries) == (2, None, None)
