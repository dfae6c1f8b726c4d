from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from placement.kinds.catalogue import Catalogue
from placement.overrides.applying import applied
from placement.overrides.override import Clusters, ImageRewrite, ObjectPatch, Override
from placement.workload import OverrideRefusal

CATALOGUE = Catalogue.builtin()
EVERYWHERE = Clusters(names=("*",))
ENV = ({"name": "NCCL_SOCKET_IFNAME", "value": "eth1"}, {"name": "HTTPS_PROXY", "value": "http://proxy:3128"})
NEEDED = {"key": "gpu", "operator": "Exists"}


def override(name: str = "eu", **changes: Any) -> Override:
    return Override(name, EVERYWHERE, **changes)


def of(objects: list[dict[str, Any]], *overrides: Override) -> tuple[dict[str, Any], ...]:
    before = deepcopy(objects)
    found = applied(objects, CATALOGUE, overrides)
    assert objects == before, "what was given is changed"
    assert not isinstance(found, OverrideRefusal), found
    return found


def refused(objects: list[dict[str, Any]], *overrides: Override) -> OverrideRefusal:
    found = applied(objects, CATALOGUE, overrides)
    assert isinstance(found, OverrideRefusal)
    return found


def job(**spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "trainer"}], **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train"}, "spec": {"template": {"spec": pod}}}


def pod_of(obj: dict[str, Any]) -> Any:
    return obj["spec"]["template"]["spec"]


def test_pods_get_what_the_override_says() -> None:
    given = job(
        initContainers=[
            {"name": "fetch", "env": [{"name": "HTTPS_PROXY", "value": "old"}, {"name": "A", "value": "1"}]}
        ],
        tolerations=[NEEDED],
        nodeSelector={"zone": "a", "disk": "ssd"},
    )
    change = override(env=ENV, tolerations=(NEEDED, {"key": "spot", "operator": "Exists"}), runtime_class="nvidia")
    (made,) = of([given], change, override("z", node_selector={"zone": "b"}))
    pod = pod_of(made)
    assert pod["containers"][0]["env"] == list(ENV)
    assert [one["name"] for one in pod["initContainers"][0]["env"]] == ["HTTPS_PROXY", "A", "NCCL_SOCKET_IFNAME"]
    assert pod["initContainers"][0]["env"][0]["value"] == "http://proxy:3128"
    assert pod["tolerations"] == [NEEDED, {"key": "spot", "operator": "Exists"}]
    assert pod["nodeSelector"] == {"zone": "b", "disk": "ssd"}
    assert pod["runtimeClassName"] == "nvidia"


def test_a_template_that_two_roles_share_is_changed_once() -> None:
    template = {"spec": {"containers": [{"name": "pytorch"}]}}
    replicas = {"replicas": 1, "template": template}
    given = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": "t"},
        "spec": {"pytorchReplicaSpecs": {"Master": replicas, "Worker": replicas}},
    }
    (made,) = of([given], override(tolerations=(NEEDED,)))
    for role in ("Master", "Worker"):
        assert made["spec"]["pytorchReplicaSpecs"][role]["template"]["spec"]["tolerations"] == [NEEDED]


def test_kinds_with_pods_in_words_of_their_own() -> None:
    change = override(env=ENV[:1], tolerations=(NEEDED,), node_selector={"disk": "ssd"})
    spark = {
        "apiVersion": "sparkoperator.k8s.io/v1beta2",
        "kind": "SparkApplication",
        "metadata": {"name": "s"},
        "spec": {"nodeSelector": {"a": "b"}, "driver": {"cores": 1}, "executor": {"cores": 1, "instances": 2}},
    }
    (made,) = of([spark], change)
    for part in ("driver", "executor"):
        assert made["spec"][part]["env"] == [ENV[0]]
        assert made["spec"][part]["tolerations"] == [NEEDED]
        assert "nodeSelector" not in made["spec"][part]
    assert made["spec"]["nodeSelector"] == {"a": "b", "disk": "ssd"}
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "w"},
        "spec": {
            "entrypoint": "a",
            "templates": [{"name": "a", "container": {"image": "x"}, "sidecars": [{"name": "s"}]}],
        },
    }
    (made,) = of([workflow], change)
    assert (made["spec"]["tolerations"], made["spec"]["nodeSelector"]) == ([NEEDED], {"disk": "ssd"})
    (template,) = made["spec"]["templates"]
    assert template["container"]["env"] == template["sidecars"][0]["env"] == [ENV[0]]
    assert "tolerations" not in template
    served = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "i"},
        "spec": {"predictor": {"model": {"modelFormat": {"name": "onnx"}, "storageUri": "pvc://models/a"}}},
    }
    (made,) = of([served], change, override("c", runtime_class="nvidia", claims={"models": "models-eu"}))
    predictor = made["spec"]["predictor"]
    assert predictor["model"]["env"] == [ENV[0]]
    assert (predictor["tolerations"], predictor["runtimeClassName"]) == ([NEEDED], "nvidia")
    assert predictor["model"]["storageUri"] == "pvc://models-eu/a"
    assert refused([spark], override(runtime_class="nvidia")).field == "runtime_class"


def test_claims_have_another_name_and_class() -> None:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {}}
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    volumes.append({"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "slow"}}}})
    made_claim, made = of(
        [claim, job(volumes=volumes)], override(claims={"data": "data-eu"}, storage_class="fast", env=ENV)
    )
    assert (made_claim["metadata"]["name"], made_claim["spec"]["storageClassName"]) == ("data-eu", "fast")
    first, second = pod_of(made)["volumes"]
    assert first["persistentVolumeClaim"]["claimName"] == "data-eu"
    assert second["ephemeral"]["volumeClaimTemplate"]["spec"]["storageClassName"] == "fast"


def test_patches_mean_objects_by_kind_and_name_and_see_what_came_before() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    image = "/spec/template/spec/containers/0/image"
    patches = (
        ObjectPatch(({"op": "test", "path": image, "value": "mirror/library/trainer"},)),
        ObjectPatch(({"op": "replace", "path": "/data/a", "value": "2"},), kind="ConfigMap", name="c*"),
        ObjectPatch(({"op": "remove", "path": "/data"},), kind="Secret", if_absent="skip"),
    )
    made_config, made = of([config, job()], override(images=(ImageRewrite("docker.io", "mirror"),), patches=patches))
    assert made_config["data"] == {"a": "2"}
    assert pod_of(made)["containers"][0]["image"] == "mirror/library/trainer"


def test_what_cannot_be_applied_names_override_field_and_mend() -> None:
    missing = override("b", patches=(ObjectPatch(({"op": "remove", "path": "/spec/suspend"},)),))
    found = refused([job()], override("a", env=ENV), missing)
    assert (found.override, found.field) == ("b", "patches[0].operations[0]")
    assert "remove /spec/suspend of Job train" in found.message
    absent = override("c", patches=(ObjectPatch(({"op": "remove", "path": "/data"},), kind="ConfigMap"),))
    assert (refused([job()], absent).message, refused([job()], absent).field) == (
        "the job has no ConfigMap *",
        "patches[0]",
    )


def test_later_overrides_have_the_last_word() -> None:
    (made,) = of([job()], override("a", runtime_class="one"), override("b", runtime_class="two"))
    assert pod_of(made)["runtimeClassName"] == "two"


@pytest.mark.parametrize("copies", [20])
def test_patches_do_not_make_objects_grow_without_end(copies: int) -> None:
    double = tuple({"op": "copy", "from": "/spec", "path": f"/spec/x{number}"} for number in range(copies))
    assert refused([job()], override(patches=(ObjectPatch(double),))).message.startswith("it makes more than")
