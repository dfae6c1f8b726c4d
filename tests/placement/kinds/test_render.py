from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.data import DataPlace
from placement.kinds import reader, render, roles
from placement.kinds.catalogue import Catalogue

TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "pytorch"}]}}
ONCE = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}


def of_kind(kind: str, replicas: int = 2) -> dict[str, Any]:
    """A minimal workload of each kind, with `replicas` pods in each of its roles (a Pod has one)."""
    selector = {"matchLabels": {"app": "a"}}
    each = {"replicas": replicas, "template": TEMPLATE}
    specs: dict[str, tuple[str, dict[str, Any]]] = {
        "Pod": ("v1", TEMPLATE["spec"]),
        "Job": ("batch/v1", {"parallelism": replicas, "template": ONCE}),
        "Deployment": ("apps/v1", {**each, "selector": selector}),
        "StatefulSet": ("apps/v1", {**each, "selector": selector}),
        "PyTorchJob": ("kubeflow.org/v1", {"pytorchReplicaSpecs": {"Master": {"template": TEMPLATE}, "Worker": each}}),
        "VolcanoJob": ("batch.volcano.sh/v1alpha1", {"tasks": [{**each, "name": "a"}, {**each, "name": "b"}]}),
    }
    api_version, spec = specs[kind]
    return {"apiVersion": api_version, "kind": kind.removeprefix("Volcano"), "metadata": {"name": "w"}, "spec": spec}


KINDS = ("Pod", "Job", "Deployment", "StatefulSet", "PyTorchJob", "VolcanoJob")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_labelled_and_given_the_scheduler(catalogue: Catalogue, kind: str) -> None:
    given_object = of_kind(kind)
    before = yaml.safe_dump(given_object)
    (rendered,) = render.render([given_object], catalogue, job="j-0000000000", epoch=3)
    assert yaml.safe_dump(given_object) == before
    marks = {"muster.dev/job": "j-0000000000", "muster.dev/epoch": "3"}
    assert marks.items() <= rendered["metadata"]["labels"].items()
    assert rendered["metadata"]["namespace"] == "default"
    found = catalogue.find(rendered["apiVersion"], rendered["kind"])
    assert found is not None
    for role in roles.shape(found, rendered).roles:
        own = {} if kind == "Pod" else {"app": "a"}
        assert role.template["metadata"]["labels"] == {**own, **marks, "muster.dev/role": role.name}
        assert role.template["spec"]["schedulerName"] == "muster"
    assert ("muster.dev/role" in rendered["metadata"]["labels"]) == (kind == "Pod")
    assert rendered["spec"].get("schedulerName") == ("muster" if kind in ("Pod", "VolcanoJob") else None)
    if kind in ("Deployment", "StatefulSet"):
        assert rendered["spec"]["selector"] == {"matchLabels": {"app": "a"}}


def test_what_belongs_to_another_cluster_is_dropped(catalogue: Catalogue) -> None:
    obj = of_kind("Deployment")
    obj["status"] = {"replicas": 2}
    obj["metadata"] |= {
        "uid": "u",
        "resourceVersion": "7",
        "managedFields": [{}],
        "ownerReferences": [{"uid": "o"}],
        "creationTimestamp": "2024-01-01T00:00:00Z",
        "annotations": {"keep": "me"},
        "namespace": "team",
    }
    (rendered,) = render.render([obj], catalogue, job="j-1", epoch=1, scheduler="other")
    assert set(rendered) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(rendered["metadata"]) == {"name", "namespace", "annotations", "labels"}
    assert rendered["metadata"]["namespace"] == "team"
    assert rendered["spec"]["template"]["spec"]["schedulerName"] == "other"


def test_dependencies_come_first_and_unlabelled(catalogue: Catalogue) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    rendered = render.render([of_kind("Job"), config], catalogue, job="j-1", epoch=1, namespace="n")
    assert [each["kind"] for each in rendered] == ["ConfigMap", "Job"]
    assert rendered[0] == {**config, "metadata": {"name": "c", "namespace": "n"}}


def test_a_template_shared_in_memory_is_not_shared_in_the_copy(catalogue: Catalogue) -> None:
    (rendered,) = render.render([of_kind("PyTorchJob")], catalogue, job="j-1", epoch=1)
    specs = rendered["spec"]["pytorchReplicaSpecs"]
    labels = {name: spec["template"]["metadata"]["labels"]["muster.dev/role"] for name, spec in specs.items()}
    assert labels == {"Master": "Master", "Worker": "Worker"}


@pytest.mark.parametrize("objects", [[], [of_kind("Job"), of_kind("Pod")]])
def test_there_is_exactly_one_workload(catalogue: Catalogue, objects: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        render.render(objects, catalogue, job="j-1", epoch=1)


@settings(deadline=None)
@given(kind=st.sampled_from(KINDS), replicas=st.integers(1, 2000), epoch=st.integers(1, 99))
def test_rendering_changes_nothing_that_is_read(catalogue: Catalogue, kind: str, replicas: int, epoch: int) -> None:
    text = yaml.safe_dump(of_kind(kind, replicas))
    (submission,) = reader.read(text.encode(), catalogue)
    (rendered,) = render.render([submission.manifest], catalogue, job="j-1", epoch=epoch)
    found = catalogue.find(rendered["apiVersion"], rendered["kind"])
    assert found is not None
    shape = roles.shape(found, rendered)
    assert [(role.name, role.replicas, role.minimum) for role in shape.roles] == [
        (role.name, role.replicas, role.minimum) for role in submission.workload.roles
    ]
    assert shape.min_pods == submission.workload.min_pods
    assert render.render([rendered], catalogue, job="j-1", epoch=epoch) == (rendered,)


def test_containers_are_told_where_their_datasets_are(catalogue: Catalogue) -> None:
    data = (
        DataPlace("imagenet", "pvc://default/dataset-imagenet/train", writes=False),
        DataPlace("ck.pt", "pvc://default/checkpoints", writes=True),
        DataPlace("text", "s3://bucket/text", writes=False),
        DataPlace("own", "file:///data/own", writes=False),
    )
    job = of_kind("Job")
    job["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "MUSTER_DATASET_OWN", "value": "mine"}]
    job = yaml.safe_load(yaml.safe_dump(job))
    before = yaml.safe_dump(job)
    (rendered,) = render.render([job], catalogue, job="j-0000000000", epoch=3, data=data)
    assert yaml.safe_dump(job) == before
    spec = rendered["spec"]["template"]["spec"]
    claims = [(one["name"], one["persistentVolumeClaim"]["claimName"]) for one in spec["volumes"]]
    assert claims == [("muster-dataset-0", "dataset-imagenet"), ("muster-dataset-1", "checkpoints")]
    [container] = spec["containers"]
    at = "/muster/datasets"
    assert container["volumeMounts"] == [
        {"name": "muster-dataset-0", "mountPath": f"{at}/imagenet", "subPath": "train", "readOnly": True},
        {"name": "muster-dataset-1", "mountPath": f"{at}/ck.pt"},
    ]
    assert {one["name"]: one["value"] for one in container["env"]} == {
        "MUSTER_DATASET_OWN": "mine",
        "MUSTER_DATASET_IMAGENET": f"{at}/imagenet",
        "MUSTER_DATASET_CK_PT": f"{at}/ck.pt",
        "MUSTER_DATASET_TEXT": "s3://bucket/text",
    }
