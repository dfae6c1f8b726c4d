from collections.abc import Callable
from typing import Any

import yaml

from placement.kinds import reader, references
from placement.kinds.catalogue import Catalogue
from placement.kinds.reader import Submission
from placement.workload import Brought, Reference


def pod(name: str, **more: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c"}], **more}
    metadata = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def thing(kind: str, name: str, spec: Any = None, api_version: str = "v1", **more: Any) -> dict[str, Any]:
    extra = {} if spec is None else {"spec": spec}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **extra, **more}


def read(catalogue: Catalogue, *objects: dict[str, Any]) -> tuple[Submission, ...]:
    return reader.read(yaml.safe_dump_all(objects).encode(), catalogue)


def names(submission: Submission) -> list[str]:
    return [each["metadata"]["name"] for each in submission.dependencies]


def test_with_one_workload_everything_goes_along(catalogue: Catalogue) -> None:
    config = {**thing("ConfigMap", "far"), "metadata": {"name": "far", "namespace": "other"}}
    (submission,) = read(catalogue, config, pod("a"), thing("Secret", "s"))
    assert names(submission) == ["far", "s"]
    assert [each["metadata"]["namespace"] for each in submission.dependencies] == ["other", "default"]
    assert submission.workload.warnings == ()


def test_with_several_each_takes_what_it_uses(catalogue: Catalogue) -> None:
    volumes = [{"name": "v", "configMap": {"name": "shared"}}]
    first, second = read(
        catalogue,
        pod("a", volumes=volumes, serviceAccountName="robot"),
        pod("b", volumes=[*volumes, {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]),
        thing("ConfigMap", "shared"),
        thing("PersistentVolumeClaim", "data"),
        thing("ServiceAccount", "robot", imagePullSecrets=[{"name": "pull"}]),
        thing("Secret", "pull"),
        thing("Service", "to-b", {"selector": {"app": "b"}}),
        thing("PodDisruptionBudget", "for-a", {"selector": {"matchLabels": {"app": "a"}}}, "policy/v1"),
        thing("NetworkPolicy", "both", {"podSelector": {}}, "networking.k8s.io/v1"),
        thing("HorizontalPodAutoscaler", "hpa", {"scaleTargetRef": {"kind": "Pod", "name": "b"}}, "autoscaling/v2"),
        thing("ConfigMap", "idle"),
    )
    assert names(first) == ["shared", "robot", "pull", "for-a", "both"]
    assert names(second) == ["shared", "data", "to-b", "both", "hpa"]
    for each in (first, second):
        assert each.workload.warnings == (
            "ConfigMap default/idle is used by no workload of the file and is not applied;"
            " what configures clusters goes by muster distribute",
        )
        assert each.workload.references == ()


def test_labels_that_controllers_add_count_for_selectors(catalogue: Catalogue) -> None:
    job = thing(
        "Job", "j", {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}}, "batch/v1"
    )
    service = thing("Service", "peers", {"clusterIP": "None", "selector": {"batch.kubernetes.io/job-name": "j"}})
    first, second = read(catalogue, job, pod("a"), service)
    assert (names(first), names(second)) == (["peers"], [])


def test_what_the_file_holds_is_no_reference(read_one: Callable[[str], Submission]) -> None:
    spec = {"envFrom": [{"configMapRef": {"name": "here"}}, {"secretRef": {"name": "gone"}}]}
    one = pod("a", containers=[{"name": "c", **spec}])
    submission = read_one(yaml.safe_dump_all([one, thing("ConfigMap", "here")]))
    assert submission.workload.references == (Reference("Secret", "gone"),)


def test_every_place_that_names_an_object() -> None:
    template = {
        "metadata": {"annotations": {"k8s.v1.cni.cncf.io/networks": "team/rdma@net1, plain"}},
        "spec": {
            "volumes": [
                {"persistentVolumeClaim": {"claimName": "claim"}},
                {"configMap": {"name": "config"}},
                {"configMap": {"name": "maybe", "optional": True}},
                {"secret": {"secretName": "secret"}},
                {"projected": {"sources": [{"configMap": {"name": "config2"}}, {"secret": {"name": "secret2"}}]}},
                {"emptyDir": {}},
            ],
            "initContainers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "config3", "key": "k"}}}]}],
            "containers": [{"envFrom": [{"secretRef": {"name": "secret3"}}], "env": [{"name": "A", "value": "1"}]}],
            "imagePullSecrets": [{"name": "pull"}],
            "serviceAccountName": "robot",
            "priorityClassName": "high",
        },
    }
    assert list(references.of_templates([template])) == [
        Reference("NetworkAttachmentDefinition", "rdma", "team"),
        Reference("NetworkAttachmentDefinition", "plain"),
        Reference("PersistentVolumeClaim", "claim"),
        Reference("ConfigMap", "config"),
        Reference("Secret", "secret"),
        Reference("ConfigMap", "config2"),
        Reference("Secret", "secret2"),
        Reference("ConfigMap", "config3"),
        Reference("Secret", "secret3"),
        Reference("Secret", "pull"),
        Reference("ServiceAccount", "robot"),
        Reference("PriorityClass", "high"),
    ]


def test_networks_as_json_and_what_kubernetes_itself_has() -> None:
    networks = '[{"name": "rdma", "namespace": "n"}, {"interface": "x"}]'
    template = {
        "metadata": {"annotations": {"k8s.v1.cni.cncf.io/networks": networks}},
        "spec": {"serviceAccountName": "default", "priorityClassName": "system-node-critical"},
    }
    assert list(references.of_templates([template])) == [Reference("NetworkAttachmentDefinition", "rdma", "n")]
    broken = {"metadata": {"annotations": {"k8s.v1.cni.cncf.io/networks": "[" * 5000}}}
    assert list(references.of_templates([broken])) == []


def test_monitors_and_datasets_go_along_with_what_they_are_for(catalogue: Catalogue) -> None:
    monitoring, fluid = "monitoring.coreos.com/v1", "data.fluid.io/v1alpha1"
    service = thing("Service", "to-a", {"selector": {"app": "a"}})
    service["metadata"]["labels"] = {"scraped": "yes"}
    first, second = read(
        catalogue,
        pod("a"),
        pod("b", volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "corpus"}}]),
        service,
        thing("ServiceMonitor", "through", {"selector": {"matchLabels": {"scraped": "yes"}}}, monitoring),
        thing("PodMonitor", "direct", {"selector": {"matchLabels": {"app": "b"}}}, monitoring),
        thing("Dataset", "corpus", {"mounts": []}, fluid),
        thing("AlluxioRuntime", "corpus", {"replicas": 1}, fluid),
        thing("JuiceFSRuntime", "other", {}, fluid),
    )
    assert names(first) == ["to-a", "through"]
    assert names(second) == ["direct", "corpus", "corpus"]
    assert first.workload.brings == (Brought(f"{monitoring}/ServiceMonitor", "through", False),)
    assert [(one.words, one.needed) for one in second.workload.brings] == [
        ("PodMonitor direct", False),
        ("Dataset corpus", True),
        ("AlluxioRuntime corpus", True),
    ]
    # Fluid makes the claim that the pod mounts, and it holds nothing that is known yet.
    assert second.workload.references == ()
    assert second.workload.data == ()
    assert "JuiceFSRuntime default/other is used by no workload" in second.workload.warnings[0]


def test_a_network_of_another_namespace_is_not_the_one_in_the_file(catalogue: Catalogue) -> None:
    network = thing("NetworkAttachmentDefinition", "rdma", {"config": "{}"}, "k8s.cni.cncf.io/v1")
    attached = pod("a")
    attached["metadata"]["annotations"] = {"k8s.v1.cni.cncf.io/networks": "rdma, default/rdma, fabric/rdma"}
    (submission,) = read(catalogue, attached, network)
    assert submission.workload.references == (Reference("NetworkAttachmentDefinition", "rdma", "fabric"),)
