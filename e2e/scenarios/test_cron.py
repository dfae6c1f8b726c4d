"""CronJobs on real API servers: each run a gang of its own on the cluster that is best then, once whatever befalls the
hub. A calendar of minutes is waited for, never longer than for its next one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2e import manifests, truth
from e2e.federation import Federation
from e2e.objects import bound
from e2e.processes import ProcessFederation
from e2e.waiting import holds_for, until
from placement.lifecycle import TERMINAL, Phase

EVERY_MINUTE_S = 75  # for a run to be there
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cron-config"}, "data": {"a": "b"}}


def cron(name: str, *, run_for: str = "", fail_after: str = "", **spec: Any) -> manifests.Manifest:
    """Of gangs of two pods with two GPUs each, which mount the ConfigMap."""
    job = manifests.indexed_job("unnamed", pods=2, gpus=2, run_for=run_for, fail_after=fail_after)
    pod = job["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": "config", "configMap": {"name": "cron-config"}}]
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job["spec"]}, **spec},
    }


@pytest.fixture(autouse=True)
def no_calendar_left(federation: Federation) -> Iterator[None]:
    yield
    for one in federation.admin.crons():
        federation.admin.delete_cron(one.id)


@pytest.mark.processes
def test_runs_come_by_the_calendar_and_once_whatever_befalls_the_hub(federation: ProcessFederation) -> None:
    admin = federation.admin
    answer = admin.submit(manifests.text(CONFIG, cron("minutely", concurrencyPolicy="Forbid")))
    assert answer.jobs == []
    assert [(one.cron.name, one.created) for one in answer.crons] == [("minutely", True)]
    (run,) = until("the first run", lambda: admin.cron("minutely").runs, EVERY_MINUTE_S)
    federation.hub.kill()
    federation.hub.start()
    assert run.scheduled_at is not None
    assert run.name == f"minutely-{int(run.scheduled_at.timestamp()) // 60}"
    job = federation.wait_phase(run.job, Phase.RUNNING, timeout_s=60)
    client = federation.member(job.cluster).client
    obj = client.get("batch/v1", "Job", run.name)
    assert obj is not None
    stamp = obj["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert stamp == f"{run.scheduled_at:%Y-%m-%dT%H:%M:%SZ}"
    assert client.get("v1", "ConfigMap", "cron-config") is not None
    pods = bound(truth.pods_of(federation.member(job.cluster), run.job))
    assert sum(len(truth.indices_of(pod)) for pod in pods) == 4
    assert client.get("batch/v1", "CronJob", "minutely") is None  # no cluster keeps a calendar of its own

    def kept_back() -> bool:
        one = admin.cron("minutely")
        assert [each.job for each in one.runs] == [run.job]
        return "the one before has not ended" in one.note

    until("the next to be kept back", kept_back, EVERY_MINUTE_S)
    assert [obj["metadata"]["name"] for obj in jobs_of(federation, "minutely")] == [run.name]
    admin.cancel(run.job)

    def started_after_all() -> list[str]:
        return [one for one in admin.cron("minutely").running if one != run.job]

    (second,) = until("it to be started after all", started_after_all)
    federation.wait_phase(second, Phase.RUNNING, timeout_s=60)
    assert admin.delete_cron("minutely") == [second]
    federation.wait_phase(second, Phase.CANCELLED, timeout_s=60)
    assert admin.crons() == []
    until("nothing to be left", lambda: not jobs_of(federation, "minutely"))
    until("its ConfigMap to be gone", lambda: client.get("v1", "ConfigMap", "cron-config") is None)


def test_runs_by_hand_succeed_and_fail_as_their_jobs_do_while_the_calendar_is_suspended(
    federation: Federation,
) -> None:
    admin = federation.admin
    admin.submit(manifests.text(CONFIG, cron("failing", fail_after="1s", suspend=True)))
    admin.submit(manifests.text(CONFIG, cron("working", run_for="1s", suspend=True)))
    failing, working = admin.run_cron("failing"), admin.run_cron("working")
    federation.wait_phase(working.id, Phase.SUCCEEDED)

    def failed() -> bool:
        seen = admin.job(failing.id)
        assert seen.phase in TERMINAL
        assert seen.phase == Phase.FAILED
        return "failing-run-" in seen.reason

    until("the run to fail with its reason", failed, 60)
    shown = {one.name: [(run.phase, run.scheduled_at) for run in one.runs] for one in admin.crons()}
    assert shown == {"failing": [(Phase.FAILED, None)], "working": [(Phase.SUCCEEDED, None)]}
    holds_for("no run while it is suspended", lambda: len(admin.cron("failing").runs) == 1, 2)


def jobs_of(federation: Federation, name: str) -> list[Any]:
    return [
        obj
        for cluster in federation.clusters.values()
        for obj in cluster.client.list("batch/v1", "Job", "default")
        if obj["metadata"]["name"].startswith(f"{name}-")
    ]
