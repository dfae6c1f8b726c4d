from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from hub.api import standing, streams
from hub.errors import ConflictError
from hub.happenings import Happening
from tests.hub.api.conftest import As
from tests.hub.api.fakes import FakeHub, Lines

BROKEN = ConflictError("the spoke of onprem-a is not connected", code="not-connected", mend="try again later")


def sent(text: str) -> list[dict[str, str]]:
    events = []
    for block in text.split("\n\n"):
        fields = [line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")]
        if fields:
            events.append(dict(fields))
    return events


async def test_events_carry_their_number_and_a_reader_resumes_after_it(as_: As, hub: FakeHub) -> None:
    client = as_("alice-token")
    answer = await client.get("/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [(e["event"], e["id"], json.loads(e["data"])["phase"]) for e in sent(answer.text)] == [
        ("job", "1", "QUEUED"),
        ("job", "2", "PLACED"),
        ("job", "4", "RUNNING"),
    ]
    resumed = await client.get("/events?after=0", headers={"Last-Event-ID": "2"})
    assert [e["id"] for e in sent(resumed.text)] == ["4"]
    assert [e["id"] for e in sent((await client.get("/events?after=1&follow=false")).text)] == ["2", "4"]
    assert hub.jobs.calls[-1] == ("events", 1, None, False)


async def test_events_of_one_job_by_its_name(as_: As, hub: FakeHub) -> None:
    answer = await as_("admin-token").get("/events?job=llama-70b")
    assert [e["id"] for e in sent(answer.text)] == ["1", "2", "4"]
    assert (await as_("admin-token").get("/events?job=nothing")).status_code == 404
    assert (await as_("bob-token").get("/events?job=llama-70b")).status_code == 404
    assert [e["id"] for e in sent((await as_("bob-token").get("/events")).text)] == ["3"]


async def test_an_event_number_that_is_none(as_: As) -> None:
    answer = await as_("alice-token").get("/events", headers={"Last-Event-ID": "yesterday"})
    assert answer.status_code == 422


async def test_logs_as_ndjson(as_: As, hub: FakeHub) -> None:
    hub.jobs.lines = [Lines("m-0", b"step 1\nstep 2\n"), Lines("w-1", b"\xff\xfe caf\xc3\xa9\n")]
    answer = await as_("vic-token").get("/jobs/llama-70b/logs?role=Worker&tail=10")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.text.splitlines()] == [
        {"pod": "m-0", "data": "step 1\nstep 2\n"},
        {"pod": "w-1", "data": "\ufffd\ufffd café\n"},
    ]
    assert hub.jobs.calls[-1] == ("logs", "llama-70b", "Worker", False, 10)
    assert hub.jobs.closed == 1


async def test_logs_as_text(as_: As, hub: FakeHub) -> None:
    hub.jobs.lines = [Lines("m-0", b"step 1\nstep 2\n"), Lines("w-1", b"step 1\n")]
    answer = await as_("alice-token").get("/jobs/llama-70b/logs", headers={"Accept": "text/plain"})
    assert answer.text == "[m-0] step 1\n[m-0] step 2\n[w-1] step 1\n"


async def test_logs_that_cannot_begin_have_a_status_of_their_own(as_: As, hub: FakeHub) -> None:
    assert (await as_("bob-token").get("/jobs/llama-70b/logs")).status_code == 404
    hub.jobs.lines = [BROKEN]
    answer = await as_("alice-token").get("/jobs/llama-70b/logs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not-connected")


async def test_logs_that_break_say_so_at_their_end(as_: As, hub: FakeHub) -> None:
    hub.jobs.lines = [Lines("m-0", b"step 1\n"), BROKEN]
    client = as_("alice-token")
    lines = (await client.get("/jobs/llama-70b/logs")).text.splitlines()
    assert json.loads(lines[1])["error"]["code"] == "not-connected"
    plain = await client.get("/jobs/llama-70b/logs", headers={"Accept": "text/plain"})
    assert plain.text.splitlines()[1] == "[muster] error: the spoke of onprem-a is not connected"


async def test_followed_logs_end_with_the_hub(as_: As, hub: FakeHub) -> None:
    hub.jobs.lines = [Lines("m-0", b"step 1\n")]
    asking = asyncio.create_task(as_("alice-token").get("/jobs/llama-70b/logs?follow=true"))
    await hub.jobs.all_sent.wait()
    assert not asking.done()
    hub.closing.set()
    assert (await asking).text == '{"pod":"m-0","data":"step 1\\n"}\n'
    assert hub.jobs.closed == 1


async def test_a_stream_nobody_reads_is_closed_with_its_request(hub: FakeHub) -> None:
    from contextlib import AsyncExitStack

    source = hub.jobs.logs(  # never ends by itself
        (await hub.access.authenticate("alice-token")), "llama-70b", follow=True, tail_lines=0
    )
    hub.jobs.lines = [Lines("m-0", b"x\n")]
    async with AsyncExitStack() as resources:
        await streams.opened(streams.until_closed(source, asyncio.Event()), resources)
    assert hub.jobs.closed == 1


async def test_a_log_is_taken_up_again_and_says_its_end(as_: As, hub: FakeHub) -> None:
    hub.jobs.lines = [Lines("m-0", b"step 2\n", "p-2")]
    body = {"rank": 0, "since": "2026-11-26T08:00:00Z", "previous": True, "timestamps": True, "after": {"m-0": "p-1"}}
    answer = await as_("alice-token").post("/jobs/llama-70b/logs", json=body)
    assert [json.loads(one) for one in answer.text.splitlines()] == [
        {"pod": "m-0", "data": "step 2\n", "position": "p-2"},
        {"pod": "", "data": "", "end": True},
    ]
    assert hub.jobs.log_options == {
        "rank": 0,
        "since": datetime(2026, 11, 26, 8, tzinfo=UTC),
        "previous": True,
        "timestamps": True,
        "after": {"m-0": "p-1"},
    }
    refused = await as_("alice-token").post("/jobs/llama-70b/logs", json={"rank": -1})
    assert refused.status_code == 422
    assert refused.json()["error"]["problems"][0]["path"].endswith("rank")


async def test_who_may_not_read_any_more_loses_the_stream(
    as_: As, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "LOOK_S", 0.01)
    hub.jobs.lines = [Lines("m-0", b"step 1\n", "p-1")]
    asking = asyncio.create_task(as_("alice-token").post("/jobs/llama-70b/logs", json={"follow": True}))
    await hub.jobs.all_sent.wait()
    assert not asking.done()
    hub.access.actors.pop("alice-token")
    last = (await asking).text.splitlines()[-1]
    assert json.loads(last)["error"]["code"] == "bad-token"
    assert hub.jobs.closed == 1


async def test_what_happened_to_one_job(as_: As, hub: FakeHub) -> None:
    at = datetime(2026, 11, 26, 8, tzinfo=UTC)
    hub.happenings.found = [Happening(at, at, 2, "kubelet", True, "BackOff", "again", "Pod m-0", "e-1")]
    answer = await as_("alice-token").get("/jobs/llama-70b/events")
    first, last = [json.loads(line) for line in answer.text.splitlines()]
    assert (first["at"], first["count"], first["reason"], first["warning"]) == (
        "2026-11-26T08:00:00Z",
        2,
        "BackOff",
        True,
    )
    assert last == {"end": True}
    assert (await as_("alice-token").get("/jobs/nowhere/events")).status_code == 404
