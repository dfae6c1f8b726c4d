"""What configures clusters goes to those that a selector names: seen in their API servers' own objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import yaml

from e2e.lying_hub import LyingHub
from e2e.objects import ObjectClient
from e2e.processes import ProcessFederation
from e2e.waiting import until
from placement.distribution.states import State
from wire.distribution import Distribute, DistributionOrder, DistributionRef

pytestmark = pytest.mark.processes

NAMESPACE = "gpu-config"
ALLOWED = """
distributed:
  namespaces: [gpu-*]
  kinds: [builtin, apps/v1/DaemonSet]
"""
STORAGE = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "fast-scratch"},
    "provisioner": "csi.example.com",
    "allowVolumeExpansion": True,
}
PLUGIN = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "device-plugin", "namespace": NAMESPACE},
    "spec": {
        "selector": {"matchLabels": {"app": "device-plugin"}},
        "template": {
            "metadata": {"labels": {"app": "device-plugin"}},
            "spec": {
                # No node of the test bed is to run it: what counts here is the object.
                "nodeSelector": {"muster.dev/nowhere": "true"},
                "containers": [{"name": "plugin", "image": "plugin:1"}],
            },
        },
    },
}
MIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "mig-config", "namespace": NAMESPACE},
    "data": {"config.yaml": "all-1g.10gb"},
}
ALL = (STORAGE, PLUGIN, MIG)
NAMES = ["fast-scratch", "device-plugin", "mig-config"]


@pytest.fixture
def selected(federation: ProcessFederation) -> Iterator[ProcessFederation]:
    """Two clusters of prod, whose owners allow it, and one of dev, whose owner does not."""
    admin = federation.admin
    with ExitStack() as policies:
        for name, env in (("onprem-a", "prod"), ("cloud-b", "prod"), ("edge-c", "dev")):
            admin.label_cluster(name, {"env": env})
            if env == "prod":
                policies.enter_context(federation.spokes[name].with_policy(ALLOWED))
        yield federation
        for name in federation.clusters:
            admin.label_cluster(name, {"env": None})
    federation.wait_agreed()


def test_what_is_distributed_follows_labels_is_mended_and_leaves_nothing(selected: ProcessFederation) -> None:
    federation, admin = selected, selected.admin
    given = admin.distribute("gpu", text(*ALL), to="env=prod")
    assert {one.cluster for one in given.clusters} == {"onprem-a", "cloud-b"}
    wait_states(federation, {"onprem-a": State.APPLIED, "cloud-b": State.APPLIED})
    for name in ("onprem-a", "cloud-b"):
        assert found(federation, name) == NAMES
    assert found(federation, "edge-c") == []
    # Drift is mended, of what was changed as of what was deleted; what others add stays.
    client = federation.clusters["onprem-a"].client
    client.merge("v1", "ConfigMap", "mig-config", {"data": {"config.yaml": "all-disabled", "b": "2"}}, NAMESPACE)
    client.delete("apps/v1", "DaemonSet", "device-plugin", NAMESPACE)
    client.merge("storage.k8s.io/v1", "StorageClass", "fast-scratch", {"allowVolumeExpansion": False})
    until("the ConfigMap to be mended", lambda: data(client) == {"config.yaml": "all-1g.10gb", "b": "2"})
    until("the DaemonSet to be made again", lambda: found(federation, "onprem-a") == NAMES)
    until(
        "the StorageClass to be mended",
        lambda: (client.get("storage.k8s.io/v1", "StorageClass", "fast-scratch") or {})["allowVolumeExpansion"],
    )
    # A label moves it: one loses it, one is offered it and refuses.
    admin.label_cluster("cloud-b", {"env": "dev"})
    admin.label_cluster("edge-c", {"env": "prod"})
    wait_states(federation, {"onprem-a": State.APPLIED, "edge-c": State.REFUSED})
    assert found(federation, "cloud-b") == []
    assert found(federation, "edge-c") == []
    (refused,) = [one for one in admin.distribution("gpu").clusters if one.cluster == "edge-c"]
    assert "the policy of this cluster's owner" in refused.reason
    assert {one.state for one in refused.objects} == {State.REFUSED}
    # A spoke that is away is told when it is back.
    federation.spokes["onprem-a"].kill()
    changed = {**MIG, "data": {"config.yaml": "all-balanced"}}
    assert admin.distribute("gpu", text(STORAGE, changed), to="env=prod").revision == 2
    wait_states(federation, {"onprem-a": State.OFFLINE, "edge-c": State.REFUSED})
    assert data(client)["config.yaml"] == "all-1g.10gb"
    federation.spokes["onprem-a"].start()
    wait_states(federation, {"onprem-a": State.APPLIED, "edge-c": State.REFUSED})
    assert data(client) == {"config.yaml": "all-balanced", "b": "2"}
    assert client.get("apps/v1", "DaemonSet", "device-plugin", NAMESPACE) is None
    left = admin.delete_distribution("gpu")
    assert left is not None
    assert left.deleting
    until("it to be forgotten", lambda: admin.distributions() == [])
    for name in federation.clusters:
        assert found(federation, name) == []


def test_what_is_not_musters_is_left_alone_unless_both_say_otherwise(selected: ProcessFederation) -> None:
    federation, admin = selected, selected.admin
    client = federation.clusters["cloud-b"].client
    client.create_if_missing({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    theirs = client.create({**MIG, "data": {"config.yaml": "theirs"}})
    admin.distribute("mig", text(MIG), to="name=cloud-b")
    wait_states(federation, {"cloud-b": State.FAILED}, "mig")
    assert "not Muster's" in admin.distribution("mig").clusters[0].reason
    admin.distribute("mig", text(MIG), to="name=cloud-b", adopt=True)
    wait_states(federation, {"cloud-b": State.REFUSED}, "mig")
    assert "adopt: false" in admin.distribution("mig").clusters[0].reason
    assert data(client) == {"config.yaml": "theirs"}
    with federation.spokes["cloud-b"].with_policy(f"{ALLOWED}\nadopt: true"):
        wait_states(federation, {"cloud-b": State.APPLIED}, "mig")
        now = client.get("v1", "ConfigMap", "mig-config", NAMESPACE)
        assert now is not None
        assert (now["metadata"]["uid"], now["data"]) == (theirs["metadata"]["uid"], MIG["data"])
        admin.delete_distribution("mig")
        until("it to be forgotten", lambda: admin.distributions() == [])
    assert client.get("v1", "ConfigMap", "mig-config", NAMESPACE) is None


def test_a_hub_that_was_taken_over_distributes_nothing_past_the_clusters_owner(selected: ProcessFederation) -> None:
    evil: list[dict[str, Any]] = [
        {**PLUGIN, "metadata": {"name": "evil", "namespace": "kube-system"}},
        {**PLUGIN, "metadata": {"name": "evil", "namespace": NAMESPACE}, "spec": privileged()},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "evil"}},
        {**MIG, "metadata": {"name": "evil", "namespace": "muster-system"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "evil"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
        },
    ]
    federation = selected
    order = DistributionOrder(DistributionRef("evil", 1), Distribute(tuple(evil), adopt=True))
    federation.hub.kill()
    try:
        data_directory = federation.hub.directory / "data"
        with LyingHub(data_directory, federation.link_address, {}, {"onprem-a": [order]}) as hub:
            until("it to be answered", lambda: "evil" in hub.distributed and hub.distributed["evil"].objects)
            assert [one.state for one in hub.distributed["evil"].objects] == [State.REFUSED] * len(evil)
    finally:
        federation.hub.start()
    federation.wait_agreed()
    client = federation.clusters["onprem-a"].client
    for obj in evil:
        where = obj["metadata"].get("namespace", "")
        assert client.get(obj["apiVersion"], obj["kind"], "evil", where) is None


def privileged() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load(yaml.safe_dump(PLUGIN["spec"]))
    spec["template"]["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    return spec


def text(*objects: Any) -> bytes:
    return yaml.safe_dump_all(objects).encode()


def wait_states(federation: ProcessFederation, states: dict[str, State], name: str = "gpu") -> None:
    def stand() -> bool:
        shown = {one.cluster: one.state for one in federation.admin.distribution(name).clusters}
        assert shown == states, f"it stands {shown}"
        return True

    until(f"{name} to stand {states}", stand)


def found(federation: ProcessFederation, cluster: str) -> list[str]:
    """Of what is distributed, by name; everything with the mark counts."""
    client = federation.clusters[cluster].client
    objects = [
        obj
        for one in ALL
        for obj in client.list(str(one["apiVersion"]), str(one["kind"]), labels="muster.dev/distribution")
    ]
    return [obj["metadata"]["name"] for obj in objects]


def data(client: ObjectClient) -> dict[str, str]:
    obj = client.get("v1", "ConfigMap", "mig-config", NAMESPACE)
    return obj["data"] if obj is not None else {}
