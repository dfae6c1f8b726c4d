from __future__ import annotations

import asyncio
import logging

import pytest

from hub.errors import ConflictError, Forbidden, HubError, Invalid, NotFound, TooLarge
from hub.records import JobFilter
from placement.lifecycle import Event, Phase
from placement.verdict import Placed, Waiting
from placement.workload import IfTooLarge
from tests.hub.loops.rig import ADMIN, ANN, BOB, EVE, FakeSpoke, Hub, manifest
from wire.orders import LogLines, LogQuery, Stop

# ---- submit ----


async def test_a_submit_queues_every_document_in_their_order(hub: Hub) -> None:
    found = await hub.jobs.submit(ANN, b"\n".join(manifest(name) for name in "cab"))
    assert [(one.job.name, one.job.phase, one.job.epoch, one.created) for one in found] == [
        (name, Phase.QUEUED, 1, True) for name in "cab"
    ]
    page = await hub.jobs.list(ANN, JobFilter())
    assert [job.name for job in page.jobs] == list("bac")
    assert tuple(reversed(page.jobs)) == tuple(one.job for one in found)
    assert all(len(job.id) == 12 and job.id.startswith("j-") for job in page.jobs)


async def test_one_bad_document_stops_all_of_them(hub: Hub) -> None:
    with pytest.raises(Invalid) as refused:
        await hub.jobs.submit(ANN, manifest("a") + b"\n" + manifest("b", queue="reserch"))
    (problem,) = refused.value.problems
    assert (problem.document, problem.path, problem.mend) == (2, "muster.dev/queue", "did you mean 'research'?")
    assert (await hub.jobs.list(ANN, JobFilter())).total == 0


async def test_what_cannot_be_read_is_refused_with_the_readers_problems(hub: Hub) -> None:
    with pytest.raises(Invalid) as refused:
        await hub.jobs.submit_many(ANN, [manifest("a"), b"{"])
    assert refused.value.code == "invalid-manifest"
    assert refused.value.problems[0].message.startswith("file 2: ")
    assert (await hub.jobs.list(ANN, JobFilter())).total == 0


async def test_a_live_name_is_taken_for_its_own_tenant(hub: Hub) -> None:
    (first,) = await hub.jobs.submit(ANN, manifest("a"))
    with pytest.raises(ConflictError, match=first.job.id) as refused:
        await hub.jobs.submit(ANN, manifest("new") + b"\n" + manifest("a"))
    assert refused.value.code == "name-taken"
    assert first.job.id in refused.value.mend
    await hub.jobs.submit(BOB, manifest("a"))
    await hub.jobs.submit(ANN, manifest("a"), namespace="other")
    await hub.jobs.cancel(ANN, first.job.id)
    assert (await hub.jobs.submit(ANN, manifest("a")))[0].created
    assert (await hub.jobs.list(ANN, JobFilter(name="new"))).total == 0


async def test_two_of_one_name_in_one_submit_are_refused(hub: Hub) -> None:
    with pytest.raises(Invalid, match="2 objects are called Job default/a"):
        await hub.jobs.submit_many(ANN, [manifest("a"), manifest("a")])


async def test_of_two_that_race_for_a_name_one_gets_it(hub: Hub) -> None:
    answers = await asyncio.gather(*(hub.jobs.submit(ANN, manifest("a")) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(one, tuple) for one in answers) == 1
    assert {one.code for one in answers if isinstance(one, HubError)} == {"name-taken"}


async def test_a_client_key_answers_the_same_jobs_again(hub: Hub) -> None:
    text = manifest("a") + b"\n" + manifest("b")
    first = await hub.jobs.submit(ANN, text, client_key="k")
    again = await hub.jobs.submit(ANN, text, client_key="k")
    assert [(one.job, one.created) for one in again] == [(one.job, False) for one in first]
    for job in first:
        await hub.jobs.cancel(ANN, job.job.id)
    assert [one.job.phase for one in await hub.jobs.submit(ANN, text, client_key="k")] == [Phase.CANCELLED] * 2
    assert (await hub.jobs.submit(BOB, text, client_key="k"))[0].created


async def test_submits_of_one_key_at_the_same_moment_make_one_set_of_jobs(hub: Hub) -> None:
    answers = await asyncio.gather(*(hub.jobs.submit(ANN, manifest("a"), client_key="k") for _ in range(8)))
    assert {answer[0].job.id for answer in answers} == {answers[0][0].job.id}
    assert [answer[0].created for answer in answers].count(True) == 1
    assert (await hub.jobs.list(ANN, JobFilter())).total == 1


@pytest.mark.parametrize("change", [{"text": manifest("b")}, {"namespace": "other"}, {"if_too_large": "reject"}])
async def test_a_key_does_not_stand_for_other_content(hub: Hub, change: dict[str, str]) -> None:
    await hub.jobs.submit(ANN, manifest("a"), client_key="k")
    with pytest.raises(ConflictError) as refused:
        await hub.jobs.submit(ANN, **{"text": manifest("a"), "client_key": "k", **change})  # type: ignore[arg-type]
    assert refused.value.code == "client-key-reused"


async def test_viewers_only_look(hub: Hub) -> None:
    await hub.jobs.submit(ANN, manifest("a"))
    for attempt in (hub.jobs.submit(EVE, manifest("b")), hub.jobs.cancel(EVE, "a")):
        with pytest.raises(Forbidden, match="eve is a viewer"):
            await attempt
    assert (await hub.jobs.show(EVE, "a")).phase is Phase.QUEUED


async def test_if_too_large_of_the_call_wins_over_the_manifests(hub: Hub) -> None:
    (one,) = await hub.jobs.submit(ANN, manifest("a", if_too_large="wait"), if_too_large="reject")
    assert one.job.workload.hints.if_too_large is IfTooLarge.REJECT
    with pytest.raises(Invalid, match="'perhaps'"):
        await hub.jobs.submit(ANN, manifest("b"), if_too_large="perhaps")


async def test_limits_on_what_one_call_may_bring(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.jobs.MAX_JOBS_PER_SUBMIT", 2)
    with pytest.raises(TooLarge):
        await hub.jobs.submit_many(ANN, [manifest(name) for name in "abc"])
    with pytest.raises(Invalid, match="client key"):
        await hub.jobs.submit(ANN, manifest("a"), client_key="k" * 300)


async def test_a_number_that_no_store_takes_is_the_manifests_fault(hub: Hub) -> None:
    with pytest.raises(Invalid, match="cannot be stored"):
        await hub.jobs.submit(ANN, manifest("a", gpus=2**70))
    assert (await hub.jobs.list(ANN, JobFilter())).total == 0


# ---- look ----


async def test_another_tenants_job_is_not_there(hub: Hub) -> None:
    (one,) = await hub.jobs.submit(ANN, manifest("a"))
    for attempt in (
        hub.jobs.show(BOB, one.job.id),
        hub.jobs.show(BOB, "a"),
        hub.jobs.cancel(BOB, one.job.id),
        hub.jobs.explain(BOB, one.job.id),
        anext(hub.jobs.logs(BOB, one.job.id, follow=False, tail_lines=0)),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await hub.jobs.list(BOB, JobFilter())).jobs == ()
    assert (await hub.jobs.list(BOB, JobFilter(tenant="red"))).jobs == ()
    assert (await hub.jobs.list(ADMIN, JobFilter(tenant="red"))).jobs == (one.job,)


async def test_a_name_means_the_live_job_or_else_the_last_one(hub: Hub) -> None:
    (old,) = await hub.jobs.submit(ANN, manifest("a"))
    await hub.jobs.cancel(ANN, "a")
    hub.clock.advance(1)
    assert (await hub.jobs.show(ANN, "a")).id == old.job.id
    (new,) = await hub.jobs.submit(ANN, manifest("a"))
    assert (await hub.jobs.show(ANN, "a")).id == new.job.id
    (namesake,) = await hub.jobs.submit(ANN, manifest("a"), namespace="other")
    with pytest.raises(ConflictError) as refused:
        await hub.jobs.show(ANN, "a")
    assert refused.value.code == "ambiguous-name"
    assert new.job.id in refused.value.message
    assert namesake.job.id in refused.value.message


async def test_pages_hold_every_job_once(hub: Hub) -> None:
    for space in range(3):
        await hub.jobs.submit_many(ANN, [manifest(f"a{number}") for number in range(7)], namespace=f"n{space}")
    seen, cursor = [], None
    while True:
        page = await hub.jobs.list(ANN, JobFilter(limit=4, cursor=cursor))
        seen += [job.id for job in page.jobs]
        assert page.total == 21
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        await hub.jobs.submit(BOB, manifest(f"late-{len(seen)}"))  # what comes meanwhile shifts nothing
    assert len(seen) == len(set(seen)) == 21


async def test_filters(hub: Hub) -> None:
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.jobs.submit_many(
        ANN, [manifest("train_1"), manifest("train-2", queue="research"), manifest("big", gpus=64)]
    )
    await hub.placing.settle()

    async def names(wanted: JobFilter) -> set[str]:
        page = await hub.jobs.list(ANN, wanted)
        assert page.total == len(page.jobs)
        return {job.name for job in page.jobs}

    assert await names(JobFilter(phases=frozenset({Phase.QUEUED}))) == {"big"}
    assert await names(JobFilter(phases=frozenset({Phase.PLACED, Phase.QUEUED}))) == {"train_1", "train-2", "big"}
    assert await names(JobFilter(cluster="east")) == {"train_1", "train-2"}
    assert await names(JobFilter(queue="research")) == {"train-2"}
    assert await names(JobFilter(name="rain_")) == {"train_1"}  # no wildcard
    assert await names(JobFilter(name="%")) == set()


@pytest.mark.parametrize("cursor", ["nonsense", "", "!!", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk6ag"])
async def test_a_cursor_that_is_none(hub: Hub, cursor: str) -> None:
    with pytest.raises(Invalid) as refused:
        await hub.jobs.list(ANN, JobFilter(cursor=cursor))
    assert refused.value.code == "bad-cursor"


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_limit_that_is_none(hub: Hub, limit: int) -> None:
    with pytest.raises(Invalid, match=str(limit)):
        await hub.jobs.list(ANN, JobFilter(limit=limit))


# ---- plan, explain ----


async def test_a_plan_reads_the_fleet_and_stores_nothing(hub: Hub) -> None:
    spoke = FakeSpoke("east", nodes=1, gpus=8)
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.jobs.submit(ANN, manifest("first", gpus=6))
    await hub.placing.settle()
    planned = await hub.jobs.plan(EVE, manifest("a", gpus=2) + b"\n" + manifest("b", gpus=2))
    assert [type(one.decision.verdict) for one in planned] == [Placed, Waiting]
    assert (await hub.jobs.list(ANN, JobFilter())).total == 1
    assert len(hub.federation.fleet().reservations) == 1


async def test_an_explanation_says_why_it_waits_and_where_it_went(hub: Hub) -> None:
    await hub.jobs.submit(ANN, manifest("a"))
    await hub.placing.settle()
    found = await hub.jobs.explain(ANN, "a")
    assert found.decision is not None
    assert [reason.code for reason in found.decision.verdict.reasons] == ["no-clusters"]  # type: ignore[union-attr]
    assert found.job.reason.startswith("no cluster has joined")
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.placing.settle()
    found = await hub.jobs.explain(ANN, "a")
    assert found.decision is not None
    assert isinstance(found.decision.verdict, Placed)
    assert found.decision.verdict.cluster == "east"
    assert [event.event for event in found.history] == ["submit", "place"]
    assert found.job.usd_per_hour == 2.0


# ---- cancel, logs ----


async def test_cancelling_a_placed_job_stops_it_where_it_is_and_only_once(hub: Hub) -> None:
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.jobs.submit(ANN, manifest("a"))
    await hub.placing.settle()
    await spoke.obey(hub)
    assert [(await hub.jobs.cancel(ANN, "a")).phase for _ in range(2)] == [Phase.CANCELLING] * 2
    (command,) = await hub.uplink.pending_commands("east")
    assert isinstance(command.order, Stop)
    assert command.order.reason == "cancelled by ann"
    await spoke.obey(hub)
    await spoke.send_reports(hub)
    assert (await hub.jobs.show(ANN, "a")).phase is Phase.CANCELLED
    assert (await hub.jobs.cancel(ANN, "a")).phase is Phase.CANCELLED
    assert hub.federation.fleet().reservations == ()


async def test_logs_come_from_the_cluster_also_after_the_end(hub: Hub) -> None:
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    (one,) = await hub.jobs.submit(ANN, manifest("a"))
    with pytest.raises(ConflictError, match="is QUEUED and has no pods"):
        await anext(hub.jobs.logs(ANN, "a", follow=False, tail_lines=0))
    await hub.placing.settle()
    await spoke.obey(hub)
    (ref,) = spoke.live
    spoke.advance(ref, Event.SUCCEED)
    await spoke.send_reports(hub)
    with pytest.raises(ConflictError, match="east, which is not connected"):
        await anext(hub.jobs.logs(ANN, "a", follow=False, tail_lines=0))
    hub.streams.logs["east"] = [LogLines("p-0", b"hello\n")]
    assert [line async for line in hub.jobs.logs(ANN, "a", role="worker", follow=True, tail_lines=5)] == [
        LogLines("p-0", b"hello\n")
    ]
    assert hub.streams.asked == [("east", LogQuery(ref, "worker", True, 5))]
    assert one.job.id == ref.job


async def test_a_thousand_documents_in_one_call(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = await hub.jobs.submit_many(ANN, [manifest(f"a{number}") for number in range(1000)])
    assert len({one.job.id for one in found}) == 1000
    assert len(hub.copies.backlog) == 1000
    assert not caplog.records
