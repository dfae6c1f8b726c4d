from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.pki import Authority
from placement.inventory import Summary
from placement.lifecycle import Event
from placement.objects import ObjectKey
from spoke import identity
from spoke.link import MustJoinAgain, Pace, wait_s
from spoke.log_sender import whole_lines
from spoke.session import _Window
from tests.wire.cutting_proxy import CuttingProxy
from tests.wire.fakes import QUICK, WORKLOAD, Federation, eventually, now
from wire import capabilities, lanes
from wire.distribution import (
    Distribute,
    DistributionAck,
    DistributionOrder,
    DistributionRef,
    DistributionReport,
    Withdraw,
)
from wire.orders import DataFound, JobRef, Report, ReportAck, Start, Stop


@pytest.fixture
async def federation(tmp_path: Path) -> AsyncIterator[Federation]:
    made = Federation(tmp_path)
    yield made
    await made.close()


async def test_a_job_goes_down_and_its_reports_come_up(federation: Federation) -> None:
    agent, link = federation.spoke("onprem-a", await federation.listen())
    federation.hub.live = (JobRef("j-x", 3),)
    federation.run(link)
    ref = JobRef("j-a", 1)
    await federation.hub.order("onprem-a", ref)
    await federation.hub.until(lambda: len(federation.hub.applied.get("onprem-a", [])) == 2)
    assert [(ack.ref, ack.refused_code) for _, ack in federation.hub.acks] == [(ref, "")]
    assert [(r.ref, r.event) for r in federation.hub.applied["onprem-a"]] == [
        (ref, Event.RUNNING),
        (ref, Event.SUCCEED),
    ]
    assert agent.welcomes == [(JobRef("j-x", 3),)]
    entry = await agent.ledger.entry("j-a")
    assert entry is not None
    assert (entry.workload, entry.objects[0]["kind"]) == (WORKLOAD, "Job")
    await federation.hub.until(lambda: federation.hub.heartbeats["onprem-a"] >= 3)  # every 0.1 s of the 0.2 asked
    await eventually(lambda: not agent.waiting)


async def test_summaries_go_up_when_they_change_and_at_most_once_a_second(federation: Federation) -> None:
    agent, link = federation.spoke("a", await federation.listen())
    federation.run(link)
    await federation.hub.until(lambda: "a" in federation.hub.summaries)
    began = time.monotonic()
    for revision in range(2, 30):
        await agent.publish(Summary(revision, (), (), (), (), frozenset(), gpus_total=revision))
    await federation.hub.until(lambda: federation.hub.summaries["a"].gpus_total == 29)
    assert time.monotonic() - began > 0.5


async def test_what_data_a_cluster_holds_goes_up_whole_on_every_stream(federation: Federation) -> None:
    agent, link = federation.spoke("a", await federation.listen())
    agent.data, agent.data_revision = (DataFound("pvc://ml/images", 5), DataFound("pvc://ml/other", 0)), 1
    federation.run(link)
    await federation.hub.until(lambda: "a" in federation.hub.data_of)
    assert federation.hub.data_of["a"] == list(agent.data)


async def test_what_is_distributed_goes_down_with_all_that_stands_and_its_state_comes_up(
    federation: Federation,
) -> None:
    agent, link = federation.spoke("a", await federation.listen())
    ref, older = DistributionRef("storage", 7), DistributionRef("old", 3)
    federation.hub.distributions["a"] = [
        DistributionOrder(older, Withdraw((ObjectKey("v1", "ConfigMap", "gpu", "mig"),))),
        DistributionOrder(ref, Distribute((CONFIG,), adopt=True)),
    ]
    federation.run(link)
    await federation.hub.until(lambda: len(federation.hub.distribution_news) == 4)
    assert agent.standing == {ref, older}
    assert {one for _, one in federation.hub.distribution_news} == {
        DistributionAck(older),
        DistributionAck(ref),
        DistributionReport(older),
        DistributionReport(ref),
    }
    kept = {one.ref: one for one in await agent.ledger.distributions()}
    assert (kept[ref].objects, kept[ref].adopt) == ((CONFIG,), True)
    assert kept[older].left == (ObjectKey("v1", "ConfigMap", "gpu", "mig"),)


async def test_a_distribution_that_cannot_be_read_is_refused_and_the_stream_goes_on(federation: Federation) -> None:
    agent, link = federation.spoke("a", await federation.listen())
    bad = DistributionRef("bad", 1)
    federation.hub.distributions["a"] = [DistributionOrder(bad, Distribute(({"kind": "ConfigMap"},)))]
    federation.run(link)
    await federation.hub.until(lambda: bool(federation.hub.distribution_news))
    ((_, ack),) = federation.hub.distribution_news
    assert isinstance(ack, DistributionAck)
    assert (ack.ref, ack.refused_code) == (bad, "invalid")
    assert "no apiVersion, kind or metadata.name" in ack.refused_message
    assert await agent.ledger.distributions() == ()
    assert link.connected


async def test_a_spoke_that_cannot_distribute_is_sent_nothing(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capabilities, "OURS", capabilities.OURS - {capabilities.DISTRIBUTE})
    agent, link = federation.spoke("a", await federation.listen())
    federation.hub.distributions["a"] = [DistributionOrder(DistributionRef("s", 1), Distribute((CONFIG,)))]
    federation.run(link)
    await federation.hub.until(lambda: federation.hub.heartbeats["a"] >= 2)
    assert agent.standing is None


CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mig", "namespace": "gpu"}}


async def test_a_command_that_cannot_be_read_is_refused_and_the_others_are_done(federation: Federation) -> None:
    _, link = federation.spoke("a", await federation.listen())
    await federation.hub.order("a", JobRef("j-bad", 1), Start((), WORKLOAD))
    await federation.hub.order("a", JobRef("j-good", 1))
    federation.run(link)
    await federation.hub.until(lambda: len(federation.hub.acks) == 2)
    answers = {ack.ref.job: ack for _, ack in federation.hub.acks}
    assert answers["j-bad"].refused_code == "invalid"
    assert "start.objects_json" in answers["j-bad"].refused_message
    assert answers["j-good"].refused_code == ""


@pytest.mark.parametrize("seed", range(6))
async def test_cut_at_any_point_everything_arrives_and_counts_once(federation: Federation, seed: int) -> None:
    """Jobs come in waves and half of them are stopped again, while the connection is cut after some random number of
    bytes (in the handshake, in the middle of a message), the hub's store fails and the hub itself is replaced."""
    rng = Random(seed)
    proxy = CuttingProxy(await federation.listen(), lambda: rng.choice([rng.randrange(6_000), rng.randrange(60_000)]))
    agent, link = federation.spoke("a", await proxy.listen())
    federation.run(link)
    refs = [JobRef(f"j-{number}", 1) for number in range(240)]
    stopped = refs[::2]
    for start in range(0, len(refs), 40):
        await federation.hub.order_all("a", refs[start : start + 40])
        await asyncio.sleep(rng.random() * 0.15)
        if rng.random() < 0.5:
            federation.hub.fail_next_reports = 1
        if rng.random() < 0.5:
            await federation.hub.order_all("a", stopped[start // 2 : start // 2 + 20], Stop(0, "cancelled"))
        else:
            proxy.cut_all()
            await federation.hub.order_all("a", stopped[start // 2 : start // 2 + 20], Stop(0, "cancelled"))
        if start == 120 and federation.server is not None:
            await federation.server.stop(0)
            proxy.target_port = await federation.listen()
    cuts = 0
    while proxy.cuts < 10:  # the hub's acknowledged commands alone would let a lucky connection live on
        await agent.publish(replace(agent.present, revision=agent.present.revision + 1))
        await asyncio.sleep(0.02)
        cuts += 1
        assert cuts < 1500
    proxy.budget = lambda: float("inf")
    proxy.cut_all()

    outcomes = {(ref, Event.SUCCEED) for ref in refs} | {(ref, Event.STOPPED) for ref in stopped}

    def said() -> list[tuple[JobRef, Event]]:
        reports = federation.hub.applied.get("a", [])
        return [(report.ref, report.event) for report in reports if report.event is not Event.RUNNING]

    await federation.hub.until(lambda: set(said()) == outcomes and not federation.hub.commands["a"], 30)
    assert len(said()) == len(outcomes)
    assert all(not ack.refused_code for _, ack in federation.hub.acks)
    assert len(federation.hub.acks) == len(refs) + len(stopped)
    assert agent.started == dict.fromkeys(refs, 1)
    assert agent.stopped == dict.fromkeys(stopped, 1)
    by_job: dict[JobRef, list[int]] = {}
    for report in federation.hub.applied["a"]:
        by_job.setdefault(report.ref, []).append(report.seq)
    assert all(numbers == sorted(set(numbers)) for numbers in by_job.values())
    await eventually(lambda: not agent.waiting)
    await proxy.close()


async def test_a_machine_that_vanished_is_noticed_and_left(federation: Federation) -> None:
    """Nothing comes back and nothing is closed, until a cut stands for what keepalive would find out in time."""
    proxy = CuttingProxy(await federation.listen())
    agent, link = federation.spoke("a", await proxy.listen())
    federation.run(link)
    await federation.hub.until(lambda: "a" in federation.hub.summaries)
    proxy.stall()
    await federation.hub.order("a", JobRef("j-a", 1))
    await asyncio.sleep(0.2)
    assert agent.started == {}
    proxy.cut_all()
    proxy.flow()
    await federation.hub.until(lambda: len(federation.hub.applied.get("a", [])) == 2)


async def test_a_spoke_of_another_hub_never_gets_in(federation: Federation, tmp_path: Path) -> None:
    port = await federation.listen()
    foreign = federation.member("a", Authority.open(tmp_path / "foreign", now()))
    # It would not even trust this hub. One that does is refused by the hub all the same.
    trusting = replace(foreign, ca_pem=federation.authority.ca_pem)
    for own in (foreign, trusting):
        _, link = federation.spoke("a", port, own)
        federation.run(link)
        await eventually(lambda link=link: link.last_end is not None)  # type: ignore[misc]  # bound now
        assert link.last_end is not None
        assert (link.last_end.code, link.connected) == ("lost", False)
    assert federation.hub.streams == []


async def test_a_removed_cluster_learns_it_at_once(federation: Federation) -> None:
    agent, link = federation.spoke("a", await federation.listen())
    running = federation.run(link)
    await federation.hub.until(lambda: "a" in federation.hub.summaries)
    federation.hub.removed.add("a")
    federation.streams.close("a", "removed", "by somebody")
    await asyncio.wait_for(running, 1)
    assert agent.was_removed.is_set()

    again, link = federation.spoke("a", federation.server.port)  # type: ignore[union-attr]  # it listens
    await asyncio.wait_for(federation.run(link), 5)
    assert again.was_removed.is_set()
    assert again.welcomes == []


async def test_of_two_agents_of_one_cluster_the_older_stands_back(federation: Federation) -> None:
    port = await federation.listen()
    own = federation.member("a")
    _, older = federation.spoke("a", port, own, replace(QUICK, displaced_wait_s=30))
    federation.run(older)
    await federation.hub.until(lambda: len(federation.hub.streams) == 1)
    _, newer = federation.spoke("a", port, own)
    federation.run(newer)
    await eventually(lambda: older.last_end is not None and newer.connected)
    assert older.last_end is not None
    assert older.last_end.code == "displaced"
    await asyncio.sleep(0.3)
    assert federation.hub.streams == [("attach", "a")] * 2


async def test_the_certificate_is_renewed_in_time_and_nothing_is_lost_over_it(federation: Federation) -> None:
    port = await federation.listen()
    agent, link = federation.spoke("a", port)
    old = link.identity

    def clock() -> datetime:
        """Two thirds of the life are over, until there is a new certificate: it is made by the true clock."""
        return now() + timedelta(hours=17 if federation.hub.renewals == 0 and orders_given else 0)

    orders_given = False
    link._clock = clock
    federation.run(link)
    await federation.hub.until(lambda: "a" in federation.hub.summaries)
    assert federation.hub.renewals == 0
    refs = [JobRef(f"j-{number}", 1) for number in range(300)]
    for start in range(0, 300, 30):
        await federation.hub.order_all("a", refs[start : start + 30])
        orders_given = start >= 90
        await asyncio.sleep(0.02)
    outcomes = {(ref, Event.SUCCEED) for ref in refs}
    await federation.hub.until(
        lambda: outcomes <= {(report.ref, report.event) for report in federation.hub.applied.get("a", [])}
    )
    assert federation.hub.renewals == 1
    assert agent.started == dict.fromkeys(refs, 1)
    fresh = link.identity
    assert federation.hub.serials == [old.certificate.serial, fresh.certificate.serial]
    assert fresh.key_pem != old.key_pem
    assert identity.load(link._directory) == fresh  # a restart goes on with it
    assert federation.hub.streams.count(("detach", "a")) <= 1


async def test_a_renewal_that_fails_is_tried_again_and_breaks_nothing(
    federation: Federation, caplog: pytest.LogCaptureFixture
) -> None:
    port = await federation.listen()
    agent, link = federation.spoke("a", port)
    link._clock = lambda: now() + timedelta(hours=17 if federation.hub.renewals == 0 else 0)
    renew = federation.hub.renew
    tries = 0

    async def failing(cluster: str, serial: str, csr_pem: bytes) -> tuple[bytes, bytes]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError("the store is away")
        if tries == 2:  # for somebody else
            return federation.authority.sign_spoke(csr_pem, "b", now()).pem, federation.authority.ca_pem
        return await renew(cluster, serial, csr_pem)

    federation.hub.renew = failing  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR):
        federation.run(link)
        await federation.hub.until(lambda: len(federation.hub.serials) == 2)
    assert tries == 3
    assert link.identity.cluster == "a"
    assert caplog.text.count("was not renewed") == 2
    await federation.hub.order("a", JobRef("j-a", 1))
    await federation.hub.until(lambda: agent.started[JobRef("j-a", 1)] == 1)


async def test_an_expired_certificate_ends_the_link_with_what_to_do(federation: Federation) -> None:
    _, link = federation.spoke("a", await federation.listen())
    link._clock = lambda: now() + timedelta(hours=25)
    with pytest.raises(MustJoinAgain, match="muster cluster token a"):
        await asyncio.wait_for(link.run(), 5)


async def test_an_agent_that_stumbles_is_served_again(federation: Federation) -> None:
    agent, link = federation.spoke("a", await federation.listen())
    commanded = agent.commanded
    stumbles = 2

    async def stumbling(commands: object) -> object:
        nonlocal stumbles
        if stumbles:
            stumbles -= 1
            raise RuntimeError("a bug of the agent")
        return await commanded(commands)  # type: ignore[arg-type]

    agent.commanded = stumbling  # type: ignore[method-assign, assignment]
    federation.run(link)
    await federation.hub.order("a", JobRef("j-a", 1))
    await federation.hub.until(lambda: len(federation.hub.applied.get("a", [])) == 2)
    assert federation.hub.streams.count(("attach", "a")) == 3


async def test_more_reports_than_the_window_holds_arrive(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "REPORT_WINDOW", 8)
    monkeypatch.setattr(lanes, "REPORTS_PER_MESSAGE", 4)
    agent, link = federation.spoke("a", await federation.listen())
    refs = [JobRef(f"j-{number}", 1) for number in range(100)]
    await federation.hub.order_all("a", refs)
    federation.run(link)
    await federation.hub.until(lambda: len(federation.hub.applied.get("a", [])) == 200)
    await eventually(lambda: not agent.waiting)
    assert max(federation.hub.batches) <= 8


def test_reports_under_way_are_held_to_the_window() -> None:
    async def run() -> None:
        window = _Window(4)
        one, two = JobRef("a", 1), JobRef("b", 1)
        await window.sending([report(one, 1), report(one, 2), report(two, 1)])
        waiting = asyncio.ensure_future(window.sending([report(two, 2), report(two, 3)]))
        await asyncio.sleep(0)
        window.acknowledged([ReportAck(JobRef("c", 1), 9)])
        await asyncio.sleep(0)
        assert not waiting.done()
        window.acknowledged([ReportAck(one, 2)])  # this one and every earlier one
        await asyncio.wait_for(waiting, 1)
        window.acknowledged([ReportAck(two, 3)])
        await asyncio.wait_for(window.sending([report(one, n) for n in range(3, 99)]), 1)  # one batch always goes

    asyncio.run(run())


def report(ref: JobRef, seq: int) -> Report:
    return Report(ref, seq, Event.RUNNING, "", now())


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_waits_grow_and_end_at_the_limit(failures: int, more: int) -> None:
    pace = Pace()
    assert pace.first_wait_s <= wait_s(failures, pace) <= wait_s(failures + more, pace) <= pace.longest_wait_s


@given(st.lists(st.binary(max_size=40)).map(b"\n".join), st.integers(1, 30))
def test_a_log_is_cut_at_lines(data: bytes, limit: int) -> None:
    parts = list(whole_lines(data, limit))
    assert b"".join(parts) == data
    assert all(0 < len(part) <= limit for part in parts)
    assert all(part.endswith(b"\n") or b"\n" not in part for part in parts[:-1])


def test_no_message_is_beyond_the_limit() -> None:
    assert lanes.COMMANDS_BYTES_PER_MESSAGE + 2 * 1024 * 1024 < lanes.MESSAGE_LIMIT
