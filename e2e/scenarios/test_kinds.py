"""Every kind on a real API server: whole gangs, what goes along with them, success, failure and its reason, and nothing
left once they are cancelled. All kinds at once: what one does must not disturb another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from e2e import truth
from e2e.federation import Federation
from e2e.kinds.operators import Player
from e2e.kinds.rows import PLAYED, ROWS, Row
from e2e.manifests import Manifest
from e2e.objects import bound
from e2e.pods import Course
from e2e.provider import MemberCluster
from e2e.waiting import until
from hub.api.schemas import TallyOut
from placement.lifecycle import Phase

PRODUCT = "nvidia.com/gpu.product"

pytestmark = pytest.mark.standard_shapes


@pytest.fixture(autouse=True)
def operators(clusters: Mapping[str, MemberCluster]) -> Iterator[Player]:
    player = Player(clusters[PLAYED])
    yield player
    player.stop()


def test_every_kind_starts_as_a_gang_and_succeeds(federation: Federation) -> None:
    jobs = {row: federation.submit(*row.manifest("ok", Course(run_for="6s" if row.ends else ""))).id for row in ROWS}

    def starts(row: Row) -> None:
        shown = federation.wait_phase(jobs[row], Phase.RUNNING, Phase.SUCCEEDED, timeout_s=60)
        assert shown.cluster == row.cluster
        asking = [role for role in shown.workload.roles if role.gpus_per_pod]
        assert {role.device_class for role in asking} == {row.product or "nvidia.com/gpu"}

    each(starts, ROWS)
    each(lambda row: is_whole(federation, row, jobs[row]), ROWS)
    ending = [row for row in ROWS if row.ends]
    each(lambda row: federation.wait_phase(jobs[row], Phase.SUCCEEDED, timeout_s=60), ending)
    serving = [row for row in ROWS if not row.ends]
    each(lambda row: still_runs(federation, jobs[row]), serving)
    for row in serving:
        federation.admin.cancel(jobs[row])
    each(lambda row: is_gone(federation, row, jobs[row], "ok"), serving)


def test_every_kind_says_why_it_failed(federation: Federation) -> None:
    failing = [row for row in ROWS if row.fails]
    jobs = {row: federation.submit(*row.manifest("bad", Course(fail_after="1s"))).id for row in failing}

    def fails(row: Row) -> None:
        def failed() -> str:
            seen = federation.admin.job(jobs[row])
            assert seen.phase == Phase.FAILED, f"it is {seen.phase}: {seen.reason}"
            return seen.reason

        reason = until(f"{row.name} to fail", failed, timeout_s=60)
        assert f"{row.name}-bad" in reason, reason
        assert "fail" in reason.lower(), reason

    each(fails, failing)


def test_a_cancelled_job_of_every_kind_leaves_nothing(federation: Federation) -> None:
    jobs = {row: federation.submit(*row.manifest("off", Course())).id for row in ROWS}
    each(lambda row: federation.wait_phase(jobs[row], Phase.RUNNING, timeout_s=60), ROWS)
    for row in ROWS:
        federation.admin.cancel(jobs[row])
    each(lambda row: is_gone(federation, row, jobs[row], "off"), ROWS)


def test_progress_is_shown_and_a_status_that_is_not_understood_is_said(
    federation: Federation, operators: Player
) -> None:
    row = next(row for row in ROWS if row.kind == "Workflow")
    job = federation.submit(*row.manifest("odd", Course())).id
    federation.wait_phase(job, Phase.RUNNING, timeout_s=60)
    until("its progress", lambda: federation.admin.job(job).progress == TallyOut(done=0, of=2))
    operators.stop()
    client, words = federation.member(row.cluster).client, "status not understood: phase Paused"

    def status(**said: str) -> None:
        client.merge(row.api, row.kind, f"{row.name}-odd", {"status": said}, sub="status")

    status(phase="Paused")
    until("it to be said", lambda: federation.admin.job(job).reason == words)
    status(phase="Paused", message="since noon")
    shown = federation.admin.job(job)
    assert (shown.phase, shown.progress) == (Phase.RUNNING, TallyOut(done=0, of=2))
    status(phase="Succeeded", progress="2/2")
    done = federation.wait_phase(job, Phase.SUCCEEDED, timeout_s=60)
    assert (done.reason, done.progress) == ("", TallyOut(done=2, of=2))
    said = [event.message for event in federation.admin.explain(job).history]
    assert said.count(words) == 1, said


def each(check: Callable[[Row], object], rows: Iterator[Row] | tuple[Row, ...] | list[Row]) -> None:
    """Of every row, so that one that is wrong hides none of the others."""
    wrong: list[Exception] = []
    for row in rows:
        try:
            check(row)
        except Exception as error:
            error.add_note(f"of {row.name}")
            wrong.append(error)
    if wrong:
        raise ExceptionGroup("kinds", wrong)


def is_whole(federation: Federation, row: Row, job: str) -> None:
    cluster = federation.member(row.cluster)
    nodes = cluster.client.list("v1", "Node")
    product_of = {node["metadata"]["name"]: node["metadata"]["labels"].get(PRODUCT) for node in nodes}

    def whole() -> bool:
        pods = bound(truth.pods_of(cluster, job))
        assert len(pods) == row.pods, f"{len(pods)} of {row.pods} pods are bound"
        assert sum(len(truth.indices_of(pod)) for pod in pods) == row.gpus, [truth.indices_of(pod) for pod in pods]
        assert {pod["spec"]["schedulerName"] for pod in pods} == {"muster"}
        if row.product:
            there = {product_of[pod["spec"]["nodeName"]] for pod in pods if truth.gpus_of(pod)}
            assert there == {row.product}, there
        return True

    until(f"every pod of {row.name}", whole)
    config = cluster.client.get("v1", "ConfigMap", f"{row.name}-ok")
    assert config is not None, "the ConfigMap did not travel along"


def left_by(row: Row, suffix: str) -> Iterator[Manifest]:
    """What is applied of its file, and what is made besides."""
    *_, body = given = row.manifest(suffix, Course())
    yield from (obj for obj in given if obj["kind"] != "PodGroup")
    if row.kind == "TrainJob":
        yield body | {"kind": "TrainingRuntime", "metadata": {"name": f"muster-{body['metadata']['name']}"}}


def still_runs(federation: Federation, job: str) -> None:
    assert federation.admin.job(job).phase == Phase.RUNNING


def is_gone(federation: Federation, row: Row, job: str, suffix: str) -> None:
    federation.wait_phase(job, Phase.CANCELLED, timeout_s=60)
    cluster = federation.member(row.cluster)

    def gone() -> bool:
        for obj in left_by(row, suffix):
            found = cluster.client.get(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])
            assert found is None, f"{obj['kind']} {obj['metadata']['name']} is left"
        assert not truth.pods_of(cluster, job)
        return True

    until(f"nothing to be left of {row.name}", gone, timeout_s=30)
