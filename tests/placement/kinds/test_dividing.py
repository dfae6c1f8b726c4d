from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from placement.kinds.documents import Problem
from placement.kinds.reader import Submission
from placement.workload import Divide, DivideBy

Read = Callable[[str], Submission]
Problems = Callable[[str], tuple[Problem, ...]]
TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c"}]}}


def deployment(**annotations: str) -> str:
    return a(
        "apps/v1",
        "Deployment",
        {"replicas": 6, "selector": {"matchLabels": {"app": "a"}}, "template": TEMPLATE},
        annotations,
    )


def a(version: str, kind: str, spec: dict[str, Any], annotations: dict[str, str]) -> str:
    hints = {"muster.dev/" + name.replace("_", "-"): value for name, value in annotations.items()}
    return yaml.safe_dump(
        {"apiVersion": version, "kind": kind, "metadata": {"name": "x", "annotations": hints}, "spec": spec}
    )


def job(completion_mode: str, **annotations: str) -> str:
    spec = {"parallelism": 4, "completions": 8, "completionMode": completion_mode, "template": _never()}
    return a("batch/v1", "Job", spec, annotations)


def _never() -> dict[str, Any]:
    return {"spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}


def pytorch(*roles: str, **annotations: str) -> str:
    template = {"spec": {"containers": [{"name": "pytorch"}]}}
    specs = {role: {"replicas": 1 if role == "Master" else 4, "template": template} for role in roles}
    return a("kubeflow.org/v1", "PyTorchJob", {"pytorchReplicaSpecs": specs}, annotations)


def test_without_the_hint_all_runs_in_one_cluster(read_one: Read) -> None:
    assert read_one(deployment()).workload.hints.divide is None


def test_all_that_can_be_said(read_one: Read) -> None:
    text = deployment(
        divide="weights", divide_weights="eu-a=2, us-b=1", divide_min_per_region="1", divide_max_clusters="3"
    )
    assert read_one(text).workload.hints.divide == Divide(DivideBy.WEIGHTS, (("eu-a", 2), ("us-b", 1)), 1, 3)


@pytest.mark.parametrize("way", ["free", "price", "duplicate"])
def test_the_other_ways(read_one: Read, way: str) -> None:
    assert read_one(deployment(divide=way)).workload.hints.divide == Divide(DivideBy(way))


def test_training_is_divided_only_where_it_says_so(read_one: Read) -> None:
    assert read_one(job("NonIndexed")).workload.hints.divide is None
    assert read_one(job("NonIndexed", divide="free")).workload.hints.divide == Divide(DivideBy.FREE)
    assert read_one(pytorch("Worker", divide="free")).workload.hints.divide == Divide(DivideBy.FREE)


@pytest.mark.parametrize(
    ("text", "path", "message", "mend"),
    [
        (
            deployment(divide="by-chance"),
            "muster.dev/divide",
            '"by-chance" is wrong',
            "write one of weights, free, price, duplicate",
        ),
        (
            deployment(divide_weights="a=1"),
            "muster.dev/divide-weights",
            "muster.dev/divide-weights says how and nothing says that",
            "add muster.dev/divide: weights",
        ),
        (
            deployment(divide="free", divide_weights="a=1"),
            "muster.dev/divide-weights",
            "weights go with muster.dev/divide: weights, not free",
            "keep one of the two",
        ),
        (
            deployment(divide="weights", divide_weights="a=0"),
            "muster.dev/divide-weights",
            '"a=0" is no weight',
            "write cluster=2,another=1",
        ),
        (
            deployment(divide="weights", divide_weights="a=1,a=2"),
            "muster.dev/divide-weights",
            "a has two weights",
            "keep one",
        ),
        (
            deployment(divide="free", divide_max_clusters="none"),
            "muster.dev/divide-max-clusters",
            '"none" is wrong',
            "give a whole number from 1 to 10000",
        ),
        (
            deployment(divide="duplicate", divide_min_per_region="1"),
            "muster.dev/divide-min-per-region",
            "where all is duplicated every region has all of it",
            "remove it",
        ),
        (
            job("Indexed", divide="free"),
            "muster.dev/divide",
            "this Job cannot be divided: its indexes are the ranks of one gang",
            "remove muster.dev/divide: it then runs in one cluster",
        ),
        (
            pytorch("Master", "Worker", divide="free"),
            "muster.dev/divide",
            "it has the roles Master, Worker, and only one role can be divided",
            "remove muster.dev/divide: it then runs in one cluster",
        ),
        (
            a("v1", "Pod", _never()["spec"], {"divide": "free"}),
            "muster.dev/divide",
            "a Pod cannot be divided: its pods belong together",
            "remove muster.dev/divide: it then runs in one cluster",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_mend(
    problems_of: Problems, text: str, path: str, message: str, mend: str
) -> None:
    (problem,) = problems_of(text)
    assert (problem.path, problem.message, problem.mend) == (f'metadata.annotations["{path}"]', message, mend)
