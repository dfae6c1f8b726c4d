"""Katib's Experiments: trials of whatever kind, read by that kind's own file, and as many at once as it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from placement import marks
from placement.kinds.catalogue import Catalogue
from placement.kinds.observe import observe
from placement.kinds.problems import Problem
from placement.kinds.reader import Submission
from placement.kinds.render import render
from placement.lifecycle import Event
from placement.safety.reading import Reading, footprint

Read = Callable[[str], Submission]
ProblemsOf = Callable[[str], tuple[Problem, ...]]


def pod(container: str, gpus: int, **spec: Any) -> dict[str, Any]:
    resources = {"limits": {"nvidia.com/gpu": gpus}}
    args = ["--lr=${trialParameters.lr}"]
    return {"spec": {"containers": [{"name": container, "image": "t:1", "args": args, "resources": resources}], **spec}}


def pytorch(workers: int = 1, **spec: Any) -> dict[str, Any]:
    replicas = {
        "Master": {"replicas": 1, "template": pod("pytorch", 1)},
        "Worker": {"replicas": workers, "template": pod("pytorch", 2)},
    }
    return {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "spec": {"pytorchReplicaSpecs": replicas, **spec}}


def job(**spec: Any) -> dict[str, Any]:
    template = pod("main", 1, restartPolicy="Never")
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": template, **spec}}


def experiment(trial: Any, annotations: dict[str, str] | None = None, **spec: Any) -> str:
    body = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "sweep"} | ({"annotations": annotations} if annotations else {}),
        "spec": {"trialTemplate": {"trialParameters": [{"name": "lr", "reference": "lr"}], "trialSpec": trial}, **spec},
    }
    return yaml.safe_dump(body)


def test_room_is_for_all_trials_at_once_and_one_of_them_is_the_gang(read_one: Read) -> None:
    workload = read_one(experiment(pytorch(3), parallelTrialCount=4, maxTrialCount=12)).workload
    assert [(role.name, role.replicas, role.minimum, role.gpus_per_pod) for role in workload.roles] == [
        ("Master", 4, 1, 1),
        ("Worker", 12, 3, 2),
    ]
    assert (workload.min_pods, workload.total_gpus, workload.long_running) == (4, 28, False)


@pytest.mark.parametrize(("counts", "at_once"), [({}, 3), ({"maxTrialCount": 2}, 2), ({"parallelTrialCount": 1}, 1)])
def test_so_many_trials_run_at_once(read_one: Read, counts: dict[str, int], at_once: int) -> None:
    workload = read_one(experiment(job(), **counts)).workload
    assert [(role.name, role.replicas) for role in workload.roles] == [("worker", at_once)]
    assert workload.min_pods == 1


def test_a_trials_own_elastic_range_counts_for_each(read_one: Read) -> None:
    trial = pytorch(2, elasticPolicy={"minReplicas": 2, "maxReplicas": 4})
    workload = read_one(experiment(trial, parallelTrialCount=2)).workload
    worker = workload.roles[1]
    assert (worker.replicas, worker.minimum, worker.maximum, workload.min_pods) == (4, 1, 6, 2)


def test_a_hint_on_the_experiment_may_ask_for_more_at_the_start(read_one: Read, problems_of: ProblemsOf) -> None:
    hint = {"muster.dev/min-available": "3"}
    assert read_one(experiment(job(), hint, parallelTrialCount=4)).workload.min_pods == 3
    (problem,) = problems_of(experiment(job(), hint, parallelTrialCount=2))
    assert problem.message == "3 pods are to start together, there are 2"


def test_a_trial_that_is_a_trainjob_is_read_too(read_one: Read) -> None:
    trial = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "spec": {
            "runtimeRef": {"name": "torch-distributed"},
            "trainer": {"numNodes": 2, "resourcesPerNode": {"limits": {"nvidia.com/gpu": 4}}},
        },
    }
    workload = read_one(experiment(trial, parallelTrialCount=2)).workload
    assert [(role.name, role.replicas, role.gpus_per_pod) for role in workload.roles] == [("node", 4, 4)]
    assert workload.min_pods == 2


@pytest.mark.parametrize(
    ("trial", "path", "words"),
    [
        (None, "spec.trialTemplate.trialSpec", "what a trial runs is not known"),
        ({"apiVersion": "v2", "kind": "Nothing"}, "spec.trialTemplate.trialSpec.kind", "cannot be a Nothing"),
        (yaml.safe_load(experiment(job())), "spec.trialTemplate.trialSpec.kind", "cannot be a Experiment"),
        (
            {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pod("main", 1)}},
            "spec.trialTemplate.trialSpec.spec.template.spec.restartPolicy",
            "the kind allows Never or OnFailure",
        ),
        (
            {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "spec": {"pytorchReplicaSpecs": {"Wrker": {}}}},
            "spec.trialTemplate.trialSpec.spec.pytorchReplicaSpecs.Wrker",
            "no role is called Wrker",
        ),
    ],
)
def test_what_is_wrong_in_a_trial_is_told_where_it_is(
    problems_of: ProblemsOf, trial: Any, path: str, words: str
) -> None:
    problem = problems_of(experiment(trial))[0]
    assert problem.path == path
    assert words in problem.message


def test_marks_reach_the_pods_of_every_trial(read_one: Read, catalogue: Catalogue) -> None:
    volcano = {
        "apiVersion": "batch.volcano.sh/v1alpha1",
        "kind": "Job",
        "spec": {"schedulerName": "volcano", "tasks": [{"name": "w", "replicas": 2, "template": pod("main", 1)}]},
    }
    for trial in (pytorch(), job(), volcano):
        submission = read_one(experiment(trial))
        (rendered,) = render([submission.manifest], catalogue, job="j-1", epoch=2)
        assert rendered["metadata"]["labels"][marks.JOB] == "j-1"
        assert "labels" not in rendered["spec"]["trialTemplate"]["trialSpec"].get("metadata", {})
        text = yaml.safe_dump(rendered)
        assert text.count(f"{marks.JOB}: j-1") == 1 + len(submission.workload.roles)
        assert text.count("schedulerName: muster") == len(submission.workload.roles) + (trial is volcano)
        assert "schedulerName: volcano" not in text
    assert marks.JOB not in yaml.safe_dump(submission.manifest)


def test_a_trials_pods_are_judged_as_pods(read_one: Read, catalogue: Catalogue) -> None:
    trial = job()
    trial["spec"]["template"]["spec"]["hostNetwork"] = True
    found = footprint([read_one(experiment(trial)).manifest], catalogue, Reading("default"))
    assert ("hostNetwork", "spec.trialTemplate.trialSpec.spec.template.spec.hostNetwork") in [
        (breach.control, breach.path) for breach in found.breaches
    ]
    assert "unseen" not in {breach.control for breach in found.breaches}


def condition(name: str, status: str = "True", **words: str) -> dict[str, str]:
    return {"type": name, "status": status, **words}


@pytest.mark.parametrize(
    ("status", "event", "reason"),
    [
        ({"conditions": [condition("Created")]}, Event.STARTING, ""),
        ({"conditions": [condition("Created"), condition("Running")], "trialsPending": 2}, Event.STARTING, ""),
        ({"conditions": [condition("Running")], "trialsRunning": 2}, Event.RUNNING, ""),
        ({"conditions": [condition("Running")], "trialsSucceeded": 1}, Event.RUNNING, ""),
        (
            {"conditions": [condition("Running", "False"), condition("Succeeded", reason="ExperimentGoalReached")]},
            Event.SUCCEED,
            "",
        ),
        (
            {
                "conditions": [
                    condition("Failed", reason="ExperimentMaxFailedTrialCountReached", message="3 trials failed")
                ]
            },
            Event.FAIL,
            "ExperimentMaxFailedTrialCountReached: 3 trials failed",
        ),
        ({"odd": 1}, None, ""),
    ],
)
def test_its_conditions_tell(
    read_one: Read, catalogue: Catalogue, status: dict[str, Any], event: Event | None, reason: str
) -> None:
    kind = catalogue.find("kubeflow.org/v1beta1", "Experiment")
    assert kind is not None
    said = observe(kind, {**read_one(experiment(job())).manifest, "status": status})
    assert (said.event, said.reason) == (event, reason)
