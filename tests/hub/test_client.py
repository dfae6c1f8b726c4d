"""The client where the network and the hub misbehave; what the answers mean is tested with the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest

from hub.client import ApiError, HubNotReady, HubUnreachable, MusterClient

Answer = Callable[[httpx.Request], httpx.Response]

JOB = {
    "id": "j-1",
    "tenant": "red",
    "owner": "alice",
    "name": "train",
    "namespace": "ml",
    "kind": "Job",
    "queue": "default",
    "priority": 0,
    "phase": "QUEUED",
    "reason": "",
    "epoch": 1,
    "cluster": None,
    "total_gpus": 8,
    "min_pods": 1,
    "long_running": False,
    "roles": [],
    "spot": False,
    "usd_per_hour": None,
    "submitted_at": "2026-03-01T12:00:00Z",
    "placed_at": None,
    "started_at": None,
    "finished_at": None,
    "client_key": "k",
}
ME = {"user": "alice", "tenant": "red", "role": "submitter"}


class Wire(httpx.BaseTransport):
    """Answers by a script; what raises is a connection that broke. The last step is repeated."""

    def __init__(self, *script: Answer | Exception) -> None:
        self._script = list(script)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, Exception):
            raise step
        return step(request)


class Naps:
    """Counts instead of sleeping."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def says(body: Any, status: int = 200) -> Answer:
    return lambda request: httpx.Response(status, json=body)


def event(seq: int, **more: Any) -> str:
    body = {
        "seq": seq,
        "job": "j-1",
        "tenant": "red",
        "epoch": 1,
        "phase": "RUNNING",
        "event": "running",
        "message": "",
        "at": "2026-03-01T12:00:00Z",
        **more,
    }
    return f"event: job\nid: {seq}\ndata: {json.dumps(body)}\n\n"


class Broken(httpx.SyncByteStream):
    """A stream that breaks after its parts."""

    def __init__(self, parts: Sequence[str], breaks: bool = True) -> None:
        self._parts = parts
        self._breaks = breaks

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            yield part.encode()
        if self._breaks:
            raise httpx.ReadError("cut")


def streams(*parts: str, breaks: bool = False) -> Answer:
    headers = {"Content-Type": "text/event-stream"}
    return lambda request: httpx.Response(200, headers=headers, stream=Broken(parts, breaks))


def client(wire: Wire, **more: Any) -> MusterClient:
    return MusterClient("https://hub.test/", "t", transport=wire, sleep=Naps(), **more)


CUT = httpx.ReadError("cut")
REFUSED = httpx.ConnectError("refused")


def test_a_connection_that_fails_is_tried_again() -> None:
    wire = Wire(REFUSED, CUT, says(ME))
    assert client(wire).whoami().user == "alice"
    assert [str(one.url) for one in wire.requests] == ["https://hub.test/v1/whoami"] * 3
    assert wire.requests[0].headers["Authorization"] == "Bearer t"


NOT_LEADING = says({"error": {"code": "not-leading", "message": "standby; hub-1 leads"}}, 503)


def test_a_hub_that_does_not_lead_yet_is_asked_again() -> None:
    assert client(Wire(NOT_LEADING, NOT_LEADING, says(ME))).whoami().user == "alice"
    with pytest.raises(HubNotReady, match="does not serve yet: standby; hub-1 leads"):
        client(Wire(NOT_LEADING), patience_s=0).whoami()


def test_events_outlive_a_hub_that_does_not_lead_yet() -> None:
    wire = Wire(streams(event(1), breaks=True), NOT_LEADING, streams(event(2)), CUT)
    following = client(wire).events()
    assert [next(following).seq, next(following).seq] == [1, 2]


def test_patience_ends() -> None:
    with pytest.raises(HubUnreachable, match=r"https://hub\.test.*refused"):
        client(Wire(REFUSED), patience_s=0).whoami()


def test_a_submit_is_repeated_under_one_key_so_that_it_counts_once() -> None:
    wire = Wire(CUT, CUT, says({"jobs": [{"job": JOB, "created": True}]}, 201))
    assert client(wire).submit(b"text").jobs[0].job.id == "j-1"
    keys = {one.headers["Idempotency-Key"] for one in wire.requests}
    assert (len(wire.requests), len(keys)) == (3, 1)
    assert {one.content for one in wire.requests} == {b"text"}


def test_each_submit_has_a_key_of_its_own_unless_given() -> None:
    wire = Wire(says({"jobs": []}))
    muster = client(wire)
    muster.submit(b"a")
    muster.submit(b"a")
    muster.submit_many(["a", "b"], key="mine", if_too_large="wait", namespace="ml")
    keys = [one.headers["Idempotency-Key"] for one in wire.requests]
    assert (len(set(keys)), keys[2]) == (3, "mine")
    assert dict(wire.requests[2].url.params) == {"namespace": "ml", "if_too_large": "wait"}
    assert json.loads(wire.requests[2].content) == {"manifests": ["a", "b"]}


@pytest.mark.parametrize(
    "call",
    [
        lambda muster: muster.cluster_token("a"),
        lambda muster: muster.add_user("eve"),
        lambda muster: muster.join("t", "csr"),
    ],
)
def test_what_makes_a_secret_is_not_repeated(call: Callable[[MusterClient], object]) -> None:
    wire = Wire(CUT, says({}))
    with pytest.raises(HubUnreachable):
        call(client(wire))
    assert len(wire.requests) == 1


def test_a_refusal_is_not_tried_again_and_keeps_its_words() -> None:
    problem = {"document": 2, "path": "spec.x", "message": "no", "mend": "yes"}
    body = {"error": {"code": "invalid-manifest", "message": "spec.x: no", "mend": "yes", "problems": [problem]}}
    wire = Wire(says(body, 422))
    with pytest.raises(ApiError, match=r"spec\.x: no") as refused:
        client(wire).submit(b"x")
    assert refused.value.status == 422
    assert refused.value.error.problems[0].document == 2
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: httpx.Response(502, text="<html>bad gateway</html>"),
        lambda request: httpx.Response(200, text="<html>welcome to nginx</html>"),
        lambda request: httpx.Response(200, json={"user": "alice"}),
    ],
)
def test_answers_of_somebody_else(answer: Answer) -> None:
    with pytest.raises(HubUnreachable) as found:
        client(Wire(answer)).whoami()
    assert found.value.mend


def test_a_newer_hub_may_say_more() -> None:
    assert client(Wire(says({**ME, "since": "yesterday"}))).whoami().user == "alice"


def test_plans_of_one_and_of_many() -> None:
    plan = {
        "workload": {
            "kind": "Job",
            "name": "a",
            "namespace": "n",
            "roles": [],
            "gang": {"min_pods": 1},
            "total_gpus": 0,
        },
        "verdict": "waiting",
        "chosen": None,
        "candidates": [],
    }
    assert [one.workload.name for one in client(Wire(says(plan))).plan(b"x")] == ["a"]
    assert len(client(Wire(says([plan, plan]))).plan(b"x")) == 2


def test_names_are_quoted_in_paths() -> None:
    wire = Wire(says(JOB))
    client(wire).cancel("a/../b?c")
    assert wire.requests[0].url.raw_path == b"/v1/jobs/a%2F..%2Fb%3Fc/cancel"


def test_events_are_taken_up_where_the_stream_broke() -> None:
    wire = Wire(streams(event(4), event(5), breaks=True), REFUSED, streams(event(6, more="new"), ": ping\n\n"))
    seen = []
    for one in client(wire).events(job="j-1", after=3):
        seen.append(one.seq)
        if len(seen) == 3:
            break
    assert seen == [4, 5, 6]
    assert [one.headers.get("Last-Event-ID") for one in wire.requests] == ["3", "5", "5"]
    assert wire.requests[0].url.params["job"] == "j-1"


def test_events_that_end_are_asked_for_again_only_while_following() -> None:
    wire = Wire(streams(event(4)), streams(event(5)))
    assert [one.seq for one in client(wire).events(follow=False)] == [4]
    following = client(Wire(streams(event(4)), streams(event(5)))).events()
    assert [next(following).seq, next(following).seq] == [4, 5]


def test_an_error_among_the_events() -> None:
    error = {"error": {"code": "internal", "message": "the hub failed (id 7)"}}
    wire = Wire(streams(event(4), f"event: error\ndata: {json.dumps(error)}\n\n"))
    events = client(wire).events()
    assert next(events).seq == 4
    with pytest.raises(ApiError, match="id 7"):
        next(events)


def test_a_job_that_is_not_there_has_no_events() -> None:
    body = {"error": {"code": "no-such-job", "message": "there is no job x"}}
    with pytest.raises(ApiError) as refused:
        next(client(Wire(says(body, 404))).events(job="x"))
    assert refused.value.status == 404


def test_what_is_no_event_stream() -> None:
    with pytest.raises(HubUnreachable, match="no event stream"):
        next(client(Wire(says({})), patience_s=-1).events(follow=False))


END = json.dumps({"pod": "", "data": "", "end": True}) + "\n"


def line(pod: str, data: str, position: str = "") -> str:
    return json.dumps({"pod": pod, "data": data, "position": position}) + "\n"


def test_logs_line_by_line_until_they_break() -> None:
    lines = [line("m-0", "a\nb\n"), line("w-0", "é\n")]
    assert [one.data for one in client(Wire(streams(*lines, END))).logs("x")] == ["a\nb\n", "é\n"]
    broken = client(Wire(streams(*lines, breaks=True))).logs("x", follow=True)
    assert [next(broken).pod, next(broken).pod] == ["m-0", "w-0"]
    with pytest.raises(HubUnreachable):
        next(broken)  # without positions it would begin anew
    error = json.dumps({"error": {"code": "log-refused", "message": "the pod is gone"}}) + "\n"
    ended = client(Wire(streams(lines[0], error))).logs("x")
    next(ended)
    with pytest.raises(ApiError, match="the pod is gone"):
        next(ended)


def test_a_broken_log_goes_on_after_the_last_line_of_each_pod() -> None:
    lost = json.dumps({"error": {"code": "cluster-not-connected", "message": "east is away"}}) + "\n"
    wire = Wire(
        streams(line("m-0", "a\n", "1"), line("w-0", "b\n", "7"), line("m-0", "c\n", "2"), breaks=True),
        streams(line("w-0", "d\n", "8"), lost),
        streams(),  # a hub that stops ends its streams
        streams(line("m-0", "e\n", "3"), END),
    )
    told: list[str] = []
    logs = client(wire).logs("x", follow=True, tail=5, rank=0, told=told.append)
    assert [one.data for one in logs] == ["a\n", "b\n", "c\n", "d\n", "e\n"]
    asked = [json.loads(request.content) for request in wire.requests]
    assert [one["after"] for one in asked] == [{}, {"m-0": "2", "w-0": "7"}, *[{"m-0": "2", "w-0": "8"}] * 2]
    assert all((one["tail"], one["rank"], one["follow"]) == (5, 0, True) for one in asked)
    assert len(told) == 3
    assert "east is away" in told[1]


def test_a_log_line_about_an_error_is_a_log_line() -> None:
    line = json.dumps({"pod": "m-0", "data": '{"error": 1}\n'}) + "\n"
    assert [one.data for one in client(Wire(streams(line, END))).logs("x")] == ['{"error": 1}\n']
