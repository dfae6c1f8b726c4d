"""TrainJobs whose runtime only the cluster has, on a cluster in memory: each runs by a copy of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from placement.lifecycle import Event
from spoke import status
from spoke.cluster.fake import DEFAULT_KINDS
from spoke.cluster.port import Object, ObjectKey
from tests.spoke.stage import Stage, eventually, node, stage
from wire.orders import JobRef

API = "trainer.kubeflow.org/v1alpha1"
KINDS = DEFAULT_KINDS | {f"{API}/{kind}" for kind in ("TrainJob", "TrainingRuntime", "ClusterTrainingRuntime")}
KINDS |= {"kubeflow.org/v1beta1/Experiment"}
OWN = ObjectKey(API, "TrainingRuntime", "team", "muster-llm")
STEP = "trainer.kubeflow.org/trainjob-ancestor-step"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "HOLD_BACK_S", 0.01)
    monkeypatch.setattr(status, "FAIL_HOLD_BACK_S", 0.01)


def runtime(kind: str = "ClusterTrainingRuntime", **metadata: Any) -> dict[str, Any]:
    def job(name: str, step: str) -> dict[str, Any]:
        pod = {"spec": {"containers": [{"name": name, "image": "torch:2"}]}}
        return {"name": name, "template": {"metadata": {"labels": {STEP: step}}, "spec": {"template": pod}}}

    jobs = [job("node", "trainer"), job("metrics", "")]
    named = {"name": "torch-distributed", "namespace": "", "labels": {"trainer.kubeflow.org/framework": "torch"}}
    spec = {"template": {"spec": {"replicatedJobs": jobs}}}
    return {"apiVersion": API, "kind": kind, "metadata": named | metadata, "spec": spec}


def trainjob(**ref: str) -> dict[str, Any]:
    trainer = {"numNodes": 2, "resourcesPerNode": {"limits": {"nvidia.com/gpu": 4}}}
    return {
        "apiVersion": API,
        "kind": "TrainJob",
        "metadata": {"name": "llm", "namespace": "team"},
        "spec": {"runtimeRef": {"name": "torch-distributed", **ref}, "trainer": trainer},
    }


def experiment() -> dict[str, Any]:
    trial = {key: value for key, value in trainjob().items() if key != "metadata"}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "llm", "namespace": "team"},
        "spec": {"parallelTrialCount": 1, "trialTemplate": {"trialSpec": trial}},
    }


def owned(on: Stage) -> list[str]:
    return [obj["metadata"]["name"] for obj in on.cluster.objects(API, "TrainingRuntime")]


async def there(on: Stage, kind: str = "TrainJob", api_version: str = API) -> Object:
    made = await on.workload("llm", kind, api_version)
    await eventually("that is on disk", lambda: on.agent._jobs.get("j-1").created)  # type: ignore[union-attr]
    return made


@pytest.mark.parametrize(("kind", "namespace"), [("ClusterTrainingRuntime", ""), ("TrainingRuntime", "team")])
async def test_it_runs_by_a_copy_with_the_marks_in_it(tmp_path: Path, kind: str, namespace: str) -> None:
    async with stage(tmp_path, node("n1"), kinds=KINDS) as on:
        on.cluster.put(runtime(kind, namespace=namespace))
        ack = await on.run("j-1", yaml.safe_dump(trainjob(kind=kind)))
        assert not ack.refused_code, ack.refused_message
        made = await there(on)
        assert made["spec"]["runtimeRef"] == {
            "apiGroup": "trainer.kubeflow.org",
            "kind": "TrainingRuntime",
            "name": "muster-llm",
        }
        copy = on.cluster._objects[OWN]
        jobs = copy["spec"]["template"]["spec"]["replicatedJobs"]
        nodes, metrics = (one["template"]["spec"]["template"] for one in jobs)
        assert nodes["spec"]["schedulerName"] == "muster"
        assert nodes["metadata"]["labels"] == {
            "muster.dev/job": "j-1",
            "muster.dev/epoch": "1",
            "muster.dev/role": "node",
        }
        assert "schedulerName" not in metrics["spec"]  # the hub knows nothing of it
        assert "muster.dev/role" not in metrics["metadata"]["labels"]
        assert copy["metadata"]["labels"]["trainer.kubeflow.org/framework"] == "torch"
        await on.cancel("j-1")
        await on.told("j-1", Event.STOPPED)
        assert "muster-llm" not in owned(on)
        assert on.cluster.objects(API, kind)  # the one that it was made of stays


async def test_the_trials_of_an_experiment_run_by_one_too(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), kinds=KINDS) as on:
        on.cluster.put(runtime())
        await on.run("j-1", yaml.safe_dump(experiment()))
        made = await there(on, "Experiment", "kubeflow.org/v1beta1")
        assert made["spec"]["trialTemplate"]["trialSpec"]["spec"]["runtimeRef"]["name"] == "muster-llm"
        assert owned(on) == ["muster-llm"]


async def test_a_cluster_without_the_runtime_hands_the_job_back(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), kinds=KINDS) as on:
        await on.run("j-1", yaml.safe_dump(trainjob()))
        refused = await on.told("j-1", Event.REFUSE)
        assert refused.reason == "the cluster has no ClusterTrainingRuntime torch-distributed"
        assert on.cluster.objects(API, "TrainJob") == []


@pytest.mark.parametrize(
    ("kind", "namespace", "event"),
    [("ClusterTrainingRuntime", "", Event.STARTING), ("TrainingRuntime", "team", Event.FAIL)],
)
async def test_a_runtime_of_a_namespace_is_judged_and_one_of_the_whole_cluster_is_its_owners(
    tmp_path: Path, kind: str, namespace: str, event: Event
) -> None:
    async with stage(tmp_path, node("n1"), kinds=KINDS) as on:
        given = runtime(kind, namespace=namespace)
        jobs = given["spec"]["template"]["spec"]["replicatedJobs"]
        jobs[0]["template"]["spec"]["template"]["spec"]["hostNetwork"] = True
        on.cluster.put(given)
        await on.run("j-1", yaml.safe_dump(trainjob(kind=kind)))
        told = await on.told("j-1", event)
        assert ("asks for the node's own network" in told.reason) == (event is Event.FAIL)
        assert ("muster-llm" in owned(on)) == (event is Event.STARTING)


async def test_the_next_attempt_has_a_copy_with_its_own_marks(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2"), kinds=KINDS) as on:
        on.cluster.put(runtime())
        await on.run("j-1", yaml.safe_dump(trainjob()))
        await there(on)
        ack = await on.run("j-1", yaml.safe_dump(trainjob()), epoch=2)
        assert not ack.refused_code, ack.refused_message
        await eventually("it is made anew", lambda: epoch_of(on) == "2")


async def test_somebody_elses_runtime_of_that_name_is_left_alone(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), kinds=KINDS) as on:
        on.cluster.put(runtime())
        on.cluster.put(runtime("TrainingRuntime", namespace="team", name="muster-llm"))
        await on.run("j-1", yaml.safe_dump(trainjob()))
        failed = await on.told("j-1", Event.FAIL)
        assert "TrainingRuntime team/muster-llm exists in the cluster and is not Muster's" in failed.reason
        assert owned(on) == ["muster-llm"]


async def test_of_a_ledger_that_was_lost_the_copy_is_removed_too(tmp_path: Path) -> None:
    async with stage(tmp_path / "first", node("n1"), kinds=KINDS, lost_after_s=0.02) as on:
        on.cluster.put(runtime())
        await on.run("j-1", yaml.safe_dump(trainjob()))
        await there(on)
        await on.drop_curtain()
        on.directory = tmp_path / "second"
        await on.raise_curtain()
        await on.agent.welcomed([JobRef("j-1", 1)], 60.0)
        await on.told("j-1", Event.REFUSE)
        assert owned(on) == []


def epoch_of(on: Stage) -> str:
    copy = on.cluster._objects.get(OWN)
    if copy is None:
        return ""
    first = copy["spec"]["template"]["spec"]["replicatedJobs"][0]
    return str(first["template"]["spec"]["template"]["metadata"]["labels"]["muster.dev/epoch"])
