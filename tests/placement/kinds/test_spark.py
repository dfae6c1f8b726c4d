"""Spark's driver and executors, in Spark's own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from placement.kinds.catalogue import Catalogue
from placement.kinds.observe import observe
from placement.kinds.problems import Problem
from placement.kinds.reader import Submission
from placement.kinds.render import render
from placement.lifecycle import Event

Read = Callable[[str], Submission]


def spark(driver: dict[str, Any], executor: dict[str, Any], **spec: Any) -> str:
    body = {"apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication", "metadata": {"name": "s"}}
    return yaml.safe_dump(body | {"spec": {"type": "Scala", "driver": driver, "executor": executor} | spec})


def test_the_driver_starts_and_room_is_kept_for_its_executors(read_one: Read) -> None:
    workload = read_one(
        spark({"cores": 1}, {"cores": 4, "instances": 3, "gpu": {"name": "nvidia.com/gpu", "quantity": 2}})
    ).workload
    assert [(role.name, role.minimum, role.replicas, role.gpus_per_pod) for role in workload.roles] == [
        ("driver", 1, 1, 0),
        ("executor", 0, 3, 2),
    ]
    assert (workload.min_pods, workload.total_gpus) == (1, 6)


def test_the_least_of_dynamic_allocation_belongs_to_the_gang_and_is_not_waited_for(read_one: Read) -> None:
    dynamic = {"enabled": True, "minExecutors": 5, "maxExecutors": 100}
    workload = read_one(spark({}, {"instances": 50}, dynamicAllocation=dynamic)).workload
    assert [(role.name, role.minimum, role.replicas, role.maximum, role.late) for role in workload.roles] == [
        ("driver", 1, 1, None, False),
        ("executor", 5, 50, 100, True),
    ]
    assert (workload.min_pods, workload.awaited_pods) == (6, 1)


@pytest.mark.parametrize(
    ("executor", "spec", "cpu", "mib"),
    [
        ({}, {}, 1000, 1024 + 384),  # Spark's defaults: one core, 1 GiB, and the least overhead
        ({"memory": "16g"}, {}, 1000, 16384 + 1639),  # a tenth, rounded up
        ({"memory": "16g"}, {"type": "Python"}, 1000, 16384 + 6554),
        ({"memory": "16g"}, {"memoryOverheadFactor": "0.5"}, 1000, 24576),
        ({"memory": "2048m", "memoryOverhead": "1g"}, {}, 1000, 3072),
        ({"cores": 4}, {}, 4000, 1408),
        ({"cores": 4, "coreRequest": "1500m"}, {}, 1500, 1408),
    ],
)
def test_requests(read_one: Read, executor: dict[str, Any], spec: dict[str, Any], cpu: int, mib: int) -> None:
    role = read_one(spark({}, executor, **spec)).workload.roles[1]
    assert (role.requests["cpu"], role.requests["memory"]) == (cpu, mib)


def test_dynamic_allocation_is_a_range(read_one: Read) -> None:
    dynamic = {"enabled": True, "initialExecutors": 10, "minExecutors": 5, "maxExecutors": 100}
    role = read_one(spark({}, {}, dynamicAllocation=dynamic)).workload.roles[1]
    assert (role.replicas, role.maximum) == (10, 100)
    role = read_one(spark({}, {"instances": 50}, dynamicAllocation={**dynamic, "enabled": False})).workload.roles[1]
    assert (role.replicas, role.maximum) == (50, None)


def test_marks_are_written_where_the_operator_hands_them_on(read_one: Read, catalogue: Catalogue) -> None:
    text = spark({"labels": {"version": "3"}}, {}, arguments=["--input=s3a://raw/data"])
    submission = read_one(text)
    assert [use.name for use in submission.workload.data] == ["s3a://raw/data"]
    (rendered,) = render([submission.manifest], catalogue, job="j-1", epoch=1)
    driver, executor = rendered["spec"]["driver"], rendered["spec"]["executor"]
    assert driver["labels"] == {
        "version": "3",
        "muster.dev/job": "j-1",
        "muster.dev/epoch": "1",
        "muster.dev/role": "driver",
    }
    assert (driver["schedulerName"], executor["labels"]["muster.dev/role"]) == ("muster", "executor")


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        (spark({"memory": "16 GB"}, {}), "spec.driver.memory", "no amount of memory"),
        (spark({}, {"gpu": {"quantity": 1}}), "spec.executor.gpu.name", "is missing"),
        (spark({}, {"cores": "four"}), "spec.executor.cores", "whole number"),
        (spark({}, {}, memoryOverheadFactor="much"), "spec.memoryOverheadFactor", "no factor"),
    ],
)
def test_wrong_ones_say_where(
    problems_of: Callable[[str], tuple[Problem, ...]], text: str, path: str, said: str
) -> None:
    found = problems_of(text)
    assert any(each.path == path and said in each.message for each in found), found


@pytest.mark.parametrize(
    ("state", "event"),
    [
        ("SUBMITTED", Event.STARTING),
        ("RUNNING", Event.RUNNING),
        ("SUCCEEDING", Event.RUNNING),
        ("FAILING", Event.STARTING),  # it may be tried again
        ("COMPLETED", Event.SUCCEED),
        ("FAILED", Event.FAIL),
    ],
)
def test_status(catalogue: Catalogue, state: str, event: Event) -> None:
    kind = catalogue.find("sparkoperator.k8s.io/v1beta2", "SparkApplication")
    assert kind is not None
    status = {"applicationState": {"state": state, "errorMessage": "driver exited with 1"}}
    said = observe(kind, yaml.safe_load(spark({}, {})) | {"status": status})
    assert said.event is event
    if event is Event.FAIL:
        assert said.reason == "driver exited with 1"
