"""KServe's and Seldon's services: pods written into the service's own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from placement.kinds import reader
from placement.kinds.catalogue import Catalogue
from placement.kinds.observe import observe
from placement.kinds.podforms.kserve import FRAMEWORKS
from placement.kinds.problems import Problem
from placement.kinds.reader import Submission
from placement.kinds.render import render
from placement.lifecycle import Event
from placement.workload import Reference

Read = Callable[[str], Submission]


def service(annotations: dict[str, str] | None = None, **spec: Any) -> str:
    metadata = {"name": "m"} | ({"annotations": annotations} if annotations else {})
    body = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": metadata}
    return yaml.safe_dump(body | {"spec": spec})


def server(gpus: int = 1, uri: str = "s3://bucket/model") -> dict[str, Any]:
    return {"storageUri": uri, "resources": {"limits": {"nvidia.com/gpu": gpus, "memory": "8Gi"}}}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_server_by_framework_is_a_pod_and_its_model_is_data(read_one: Read, framework: str) -> None:
    workload = read_one(service(predictor={framework: server()})).workload
    assert [(role.name, role.replicas, role.gpus_per_pod) for role in workload.roles] == [("predictor", 1, 1)]
    assert [use.name for use in workload.data] == ["s3://bucket/model"]
    assert (workload.min_pods, workload.long_running) == (1, True)


def test_replicas_are_a_range(read_one: Read) -> None:
    workload = read_one(service(predictor={"model": server(4), "minReplicas": 2, "maxReplicas": 6})).workload
    (role,) = workload.roles
    assert (role.replicas, role.maximum, workload.total_gpus, workload.min_pods) == (2, 6, 8, 1)


def test_knatives_annotations_are_a_range_too(read_one: Read) -> None:
    bounds = {"autoscaling.knative.dev/minScale": "2", "autoscaling.knative.dev/maxScale": "10"}
    (role,) = read_one(service(bounds, predictor={"model": server(4)})).workload.roles
    assert (role.replicas, role.maximum) == (2, 10)


def test_a_container_of_the_servers_name_counts_and_not_the_model_beside_it(read_one: Read) -> None:
    own = {"name": "kserve-container", "image": "vllm", "resources": {"limits": {"nvidia.com/gpu": 4}}}
    predictor = {
        "model": {"modelFormat": {"name": "x"}, "storageUri": "s3://b/m"},
        "containers": [own],
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"},
    }
    workload = read_one(service(predictor=predictor)).workload
    (role,) = workload.roles
    assert (role.gpus_per_pod, role.products) == (4, ("NVIDIA-A100-SXM4-80GB",))
    assert [use.name for use in workload.data] == ["s3://b/m"]
    assert not workload.warnings


def test_transformer_explainer_and_workers_are_roles(read_one: Read) -> None:
    plain = {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": 1}}}]}
    workers = {"pipelineParallelSize": 3, "containers": [{"name": "w", "resources": {"limits": {"nvidia.com/gpu": 8}}}]}
    predictor = {"model": server(8), "workerSpec": workers}
    workload = read_one(service(predictor=predictor, transformer=plain, explainer={**plain, "minReplicas": 2})).workload
    assert [(role.name, role.replicas) for role in workload.roles] == [
        ("predictor", 1),
        ("worker", 3),
        ("transformer", 1),
        ("explainer", 2),
    ]


def test_a_model_without_resources_is_said_to_be_unknown(read_one: Read) -> None:
    model = {"modelFormat": {"name": "sklearn"}, "runtime": "kserve-sklearnserver", "storageUri": "gs://b/m"}
    warnings = read_one(service(predictor={"model": model})).workload.warnings
    assert any("runtime kserve-sklearnserver" in each and "not counted" in each for each in warnings)


@pytest.mark.parametrize(
    ("spec", "path", "said"),
    [
        ({}, "spec.predictor", "is missing"),
        ({"predictor": {}}, "spec.predictor.spec.containers", "at least one container"),
        ({"predictor": {"sklearn": server(), "onnx": server()}}, "spec.predictor.onnx", "a component has one"),
        (
            {"predictor": {"model": server(), "minReplicas": 5, "maxReplicas": 2}},
            "spec.predictor.minReplicas",
            "maximum",
        ),
        ({"predictor": {"containers": 3}}, "spec.predictor.containers", "must be a list"),
    ],
)
def test_wrong_ones_say_where(
    problems_of: Callable[[str], tuple[Problem, ...]], spec: dict[str, Any], path: str, said: str
) -> None:
    found = problems_of(service(**spec))
    assert any(each.path == path and said in each.message for each in found), found


def test_marks_are_written_where_kserve_hands_them_on(read_one: Read, catalogue: Catalogue) -> None:
    given = read_one(service(predictor={"model": server(), "labels": {"team": "x"}}))
    (rendered,) = render([given.manifest], catalogue, job="j-1", epoch=1)
    predictor = rendered["spec"]["predictor"]
    assert predictor["labels"]["team"] == "x"
    assert predictor["labels"]["muster.dev/role"] == "predictor"
    assert predictor["schedulerName"] == "muster"
    assert "schedulerName" not in given.manifest["spec"]["predictor"]


READY = {"conditions": [{"type": "Ready", "status": "True"}]}
BROKEN = {
    "conditions": [{"type": "Ready", "status": "False"}],
    "modelStatus": {
        "transitionStatus": "BlockedByFailedLoad",
        "lastFailureInfo": {"reason": "ModelLoadFailed", "message": "no such bucket"},
    },
}


@pytest.mark.parametrize(
    ("status", "event", "reason"),
    [
        (READY, Event.RUNNING, ""),
        (BROKEN, Event.FAIL, "ModelLoadFailed: no such bucket"),
        ({"conditions": [{"type": "PredictorReady", "status": "False", "message": "waits"}]}, Event.STARTING, "waits"),
    ],
)
def test_status(catalogue: Catalogue, status: dict[str, Any], event: Event, reason: str) -> None:
    kind = catalogue.find("serving.kserve.io/v1beta1", "InferenceService")
    assert kind is not None
    said = observe(kind, yaml.safe_load(service(predictor={"model": server()})) | {"status": status})
    assert (said.event, said.reason) == (event, reason)


def test_a_rollout_that_fails_while_the_old_model_serves_is_no_failure(catalogue: Catalogue) -> None:
    kind = catalogue.find("serving.kserve.io/v1beta1", "InferenceService")
    assert kind is not None
    serves = BROKEN["modelStatus"] | {"states": {"activeModelState": "Loaded"}}
    assert observe(
        kind, yaml.safe_load(service(predictor={})) | {"status": {**BROKEN, "modelStatus": serves}}
    ).event is (Event.STARTING)


def seldon(**spec: Any) -> str:
    body = {"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "metadata": {"name": "s"}}
    return yaml.safe_dump(body | {"spec": spec})


def component(gpus: int, **more: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": gpus}}}]}, **more}


def test_replicas_of_seldon_are_those_of_the_nearest_level(read_one: Read) -> None:
    predictors = [
        {"name": "main", "componentSpecs": [component(1, replicas=5), component(2)], "replicas": 3},
        {"name": "canary", "componentSpecs": [component(1)]},
    ]
    workload = read_one(seldon(predictors=predictors, replicas=2)).workload
    assert [(role.name, role.replicas, role.gpus_per_pod) for role in workload.roles] == [
        ("main-0", 5, 1),
        ("main-1", 3, 2),
        ("canary-0", 2, 1),
    ]
    assert workload.min_pods == 1


@pytest.mark.parametrize(
    ("status", "event"),
    [
        ({"state": "Available"}, Event.RUNNING),
        ({"state": "Failed", "description": "no image"}, Event.FAIL),
        ({"state": "Creating"}, Event.STARTING),
    ],
)
def test_status_of_seldon(catalogue: Catalogue, status: dict[str, Any], event: Event) -> None:
    kind = catalogue.find("machinelearning.seldon.io/v1", "SeldonDeployment")
    assert kind is not None
    assert observe(kind, yaml.safe_load(seldon(predictors=[])) | {"status": status}).event is event


def test_a_predictor_without_pods_of_its_own_says_what_is_missing(
    problems_of: Callable[[str], tuple[Problem, ...]],
) -> None:
    graph = {"name": "c", "implementation": "SKLEARN_SERVER", "modelUri": "s3://b/m"}
    (problem,) = problems_of(seldon(predictors=[{"name": "main", "graph": graph}]))
    assert (problem.path, problem.mend) == ("spec.predictors[0].componentSpecs", "add it, with its resources")


# ---- a runtime in the file ----


def runtime(name: str = "vllm", **spec: Any) -> str:
    limits = {"nvidia.com/gpu": 2, "memory": "8Gi"}
    main = {"name": "kserve-container", "image": "vllm:1", "resources": {"limits": limits}}
    side = {"name": "metrics", "resources": {"requests": {"cpu": 1}}}
    body = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime", "metadata": {"name": name}}
    formats = [{"name": "vllm", "autoSelect": True}]
    return yaml.safe_dump(body | {"spec": {"supportedModelFormats": formats, "containers": [main, side]} | spec})


def served(**model: Any) -> str:
    return service(predictor={"model": {"modelFormat": {"name": "vllm"}, "storageUri": "s3://b/m", **model}})


def read_file(catalogue: Catalogue, *documents: str) -> tuple[Submission, ...]:
    return reader.read("---\n".join(documents).encode(), catalogue)


@pytest.mark.parametrize("model", [{"runtime": "vllm"}, {}], ids=["named", "chosen by its format"])
def test_its_containers_count_where_the_model_leaves_them_out(catalogue: Catalogue, model: dict[str, Any]) -> None:
    wanted = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    more = {"nodeSelector": wanted, "imagePullSecrets": [{"name": "registry"}]}
    (read,) = read_file(catalogue, runtime(**more), served(**model))
    (role,) = read.workload.roles
    assert (role.gpus_per_pod, role.requests["memory"], role.requests["cpu"]) == (2, 8192, 1000)
    assert role.products == ("NVIDIA-A100-SXM4-80GB",)
    assert Reference("Secret", "registry") in read.workload.references
    assert [one["kind"] for one in read.dependencies] == ["ServingRuntime"]
    assert (read.workload.warnings, [use.name for use in read.workload.data]) == ((), ["s3://b/m"])


def test_what_the_model_says_itself_goes_before(catalogue: Catalogue) -> None:
    resources = {"limits": {"nvidia.com/gpu": 4}}
    (read,) = read_file(catalogue, runtime(), served(runtime="vllm", resources=resources))
    (role,) = read.workload.roles
    assert (role.gpus_per_pod, role.requests["memory"]) == (4, 8192)


@pytest.mark.parametrize(
    ("documents", "gpus"),
    [
        ([runtime("other"), served(runtime="vllm")], 0),
        ([runtime(), runtime("twin"), served()], 0),  # which of them is KServe's to say
        ([runtime(disabled=True), served()], 0),
        ([runtime(disabled=True), runtime("other"), served()], 2),
        ([runtime(supportedModelFormats=[{"name": "vllm"}]), served()], 0),
        ([runtime(), service(predictor={"sklearn": {"storageUri": "s3://b/m"}})], 0),
    ],
)
def test_only_the_runtime_that_serves_it_counts(catalogue: Catalogue, documents: list[str], gpus: int) -> None:
    (read,) = read_file(catalogue, *documents)
    assert read.workload.total_gpus == gpus
    assert bool(read.workload.warnings) == (gpus == 0)


def test_its_workers_count_for_a_predictor_on_several_nodes(catalogue: Catalogue) -> None:
    worker = {"name": "worker", "resources": {"limits": {"nvidia.com/gpu": 8}}}
    spec = {"model": {"modelFormat": {"name": "vllm"}}, "workerSpec": {"pipelineParallelSize": 2}}
    (read,) = read_file(catalogue, runtime(workerSpec={"containers": [worker]}), service(predictor=spec))
    assert [(role.name, role.replicas, role.gpus_per_pod) for role in read.workload.roles] == [
        ("predictor", 1, 2),
        ("worker", 2, 8),
    ]


def test_each_service_of_a_file_takes_its_own_runtime_along(catalogue: Catalogue) -> None:
    other = served(runtime="other").replace("name: m\n", "name: n\n")
    found = read_file(catalogue, runtime(), runtime("other"), served(runtime="vllm"), other)
    assert [[one["metadata"]["name"] for one in read.dependencies] for read in found] == [["vllm"], ["other"]]


def test_marks_stay_on_the_predictor(catalogue: Catalogue) -> None:
    (read,) = read_file(catalogue, runtime(), served())
    travels, rendered = render([*read.dependencies, read.manifest], catalogue, job="j-1", epoch=1)
    assert rendered["spec"]["predictor"]["schedulerName"] == "muster"
    assert travels == read.dependencies[0]
    assert "containers" not in rendered["spec"]["predictor"]


def test_one_of_the_whole_cluster_is_refused_with_what_to_do(
    problems_of: Callable[[str], tuple[Problem, ...]],
) -> None:
    (problem,) = problems_of("---\n".join([runtime().replace("ServingRuntime", "ClusterServingRuntime"), served()]))
    assert "a ServingRuntime goes along with its InferenceService" in problem.message
    assert "muster distribute" in problem.mend
