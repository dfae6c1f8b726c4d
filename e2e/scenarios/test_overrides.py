"""One manifest on unlike clusters, each with what its admins override; and what travels along, or is nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2e import manifests, truth
from e2e.federation import Federation
from e2e.kinds.operators import Player
from e2e.kinds.rows import PLAYED
from e2e.kinds.travelling import travellers
from e2e.manifests import Manifest
from e2e.objects import Object, bound
from e2e.waiting import until
from hub.client import ApiError
from placement.lifecycle import Phase
from spoke.dependencies import says

pytestmark = pytest.mark.standard_shapes

TAINT = {"key": "example.com/team", "value": "training", "effect": "NoSchedule"}
OVERRIDES = b"""
apiVersion: muster.dev/v1
kind: Override
metadata: {name: cloud}
spec:
  clusters: {names: cloud-*}
  workloads: {kinds: [batch/v1/Job]}
  images: [{from: docker.io, to: mirror.cloud.example.com/hub}]
  storage_class: cloud-ssd
  env: [{name: NCCL_SOCKET_IFNAME, value: ens5}]
---
apiVersion: muster.dev/v1
kind: Override
metadata: {name: onprem}
spec:
  clusters: {regions: beijing}
  images: [{from: "*", to: "registry.beijing.example.com:5000"}]
  storage_class: ceph
  claims: {scratch: scratch-onprem}
  env: [{name: NCCL_SOCKET_IFNAME, value: bond0}, {name: HTTPS_PROXY, value: "http://proxy.beijing:3128"}]
  tolerations: [{key: example.com/team, operator: Exists}]
  patches:
  - operations: [{op: add, path: /spec/ttlSecondsAfterFinished, value: 86400}]
  - {kind: ConfigMap, operations: [{op: replace, path: /data/site, value: beijing}]}
"""


@pytest.fixture(autouse=True)
def no_overrides_are_left(federation: Federation) -> Iterator[None]:
    yield
    for one in federation.admin.overrides():
        federation.admin.delete_override(one.name)


@pytest.fixture
def tainted(federation: Federation) -> Iterator[None]:
    """Nobody but who tolerates it runs on onprem-a's nodes."""
    client = federation.clusters["onprem-a"].client
    names = [node["metadata"]["name"] for node in client.list("v1", "Node")]
    for name in names:
        client.merge("v1", "Node", name, {"spec": {"taints": [TAINT]}}, "")
    yield
    for name in names:
        client.merge("v1", "Node", name, {"spec": {"taints": None}}, "")


def file(name: str, cluster: str = "") -> tuple[Manifest, ...]:
    """A job with a claim and a ConfigMap of its own."""
    hints = {"clusters": cluster} if cluster else None
    job = manifests.indexed_job(name, pods=2, gpus=1, hints=hints)
    pod = job["spec"]["template"]["spec"]
    pod["containers"][0]["image"] = "pytorch/pytorch:2.9"
    pod["volumes"] = [
        {"name": "scratch", "persistentVolumeClaim": {"claimName": "scratch"}},
        {"name": "site", "configMap": {"name": f"{name}-site"}},
    ]
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "scratch"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-site"}, "data": {"site": "any"}}
    return claim, config, job


def test_one_manifest_is_what_each_cluster_wants(federation: Federation, tainted: None) -> None:
    until("the hub to know of the taint", lambda: _stops_others(federation))
    federation.admin.apply(OVERRIDES)
    found: dict[str, tuple[Object, Object | None, Object | None]] = {}
    for cluster in ("cloud-b", "onprem-a"):
        name = f"same-{cluster}"
        told = federation.admin.manifests(manifests.text(*file(name, cluster)), cluster)[0]
        assert told.would_go_there
        id_ = federation.submit(*file(name, cluster)).id
        federation.wait_phase(id_, Phase.STARTING, Phase.RUNNING)
        client = federation.member(cluster).client
        job = until(f"the Job in {cluster}", lambda c=client, n=name: c.get("batch/v1", "Job", n))  # type: ignore[misc]
        claim_name = "scratch-onprem" if cluster == "onprem-a" else "scratch"
        found[cluster] = (
            job,
            client.get("v1", "PersistentVolumeClaim", claim_name),
            client.get("v1", "ConfigMap", f"{name}-site"),
        )
        # What was shown before is what was applied, but for the id that the job was given.
        for shown in told.objects:
            metadata = shown["metadata"]
            present = client.get(shown["apiVersion"], shown["kind"], metadata["name"])
            assert present is not None
            assert says(present, _with_id(shown, id_)), shown
        history = federation.admin.explain(id_).history
        assert [one.message for one in history if one.event == "place"] == [
            f"placed on {cluster}, with the overrides {'cloud' if cluster == 'cloud-b' else 'onprem'}"
        ]
    for cluster, (job, claim, config) in found.items():
        here = cluster == "onprem-a"
        pod = job["spec"]["template"]["spec"]
        image = "registry.beijing.example.com:5000/pytorch/pytorch:2.9"
        assert pod["containers"][0]["image"] == (image if here else "mirror.cloud.example.com/hub/pytorch/pytorch:2.9")
        env = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
        assert env["NCCL_SOCKET_IFNAME"] == ("bond0" if here else "ens5")
        assert ("HTTPS_PROXY" in env) is here
        assert [one["key"] for one in pod.get("tolerations", ())] == (["example.com/team"] if here else [])
        assert job["spec"].get("ttlSecondsAfterFinished") == (86400 if here else None)
        assert claim is not None
        assert config is not None
        assert claim["spec"]["storageClassName"] == ("ceph" if here else "cloud-ssd")
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert config["data"] == {"site": "beijing" if here else "any"}
    for cluster in found:
        federation.clusters[cluster].client.delete("v1", "PersistentVolumeClaim", "scratch")
    federation.clusters["onprem-a"].client.delete("v1", "PersistentVolumeClaim", "scratch-onprem")


def _stops_others(federation: Federation) -> bool:
    """A job that the overrides of onprem-a do not mean has no place there any more."""
    (plan,) = federation.admin.plan(manifests.text(*file("other")))
    (onprem,) = [one for one in plan.candidates if one.cluster == "onprem-a"]
    return [reason.code for reason in onprem.reasons] == ["constraint-unmet"]


def _with_id(shown: Object, id_: str) -> Object:
    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: changed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [changed(each) for each in value]
        return id_ if value == "j-planned" else value

    return dict(changed(shown))


def test_an_override_that_would_make_another_job_of_it_leaves_its_cluster_out(federation: Federation) -> None:
    fewer = b"""
apiVersion: muster.dev/v1
kind: Override
metadata: {name: fewer}
spec:
  clusters: {names: [cloud-b]}
  patches: [{operations: [{op: replace, path: /spec/parallelism, value: 1}]}]
"""
    federation.admin.apply(fewer)
    try:
        text = manifests.text(manifests.indexed_job("whole", pods=2, gpus=1))
        (plan,) = federation.admin.plan(text)
        (cloud,) = [one for one in plan.candidates if one.cluster == "cloud-b"]
        assert [reason.code for reason in cloud.reasons] == ["override-refused"]
        message = cloud.reasons[0].message
        assert message.startswith("override fewer cannot be applied on cloud-b: the gang: it becomes 1"), message
        assert plan.chosen not in ("cloud-b", None)
        with pytest.raises(ApiError) as refused:
            federation.admin.manifests(text, "cloud-b")
        assert refused.value.status == 422
    finally:
        federation.admin.delete_override("fewer")


def test_what_is_of_no_cluster_is_refused_and_what_is_of_one_leads_there(federation: Federation) -> None:
    """cloud-b is the cheapest; edge-c has the Secret."""
    job = manifests.job("needs-token", gpus=1)
    pod = job["spec"]["template"]["spec"]
    pod["containers"][0]["envFrom"] = [{"secretRef": {"name": "hub-token"}}]
    pod["containers"][0]["envFrom"].append({"configMapRef": {"name": "nobody-has-it", "optional": True}})
    with pytest.raises(ApiError) as refused:
        federation.admin.submit(manifests.text(job))
    assert [one.message for one in refused.value.error.problems] == [
        "Job needs-token names Secret default/hub-token, which is in none of its clusters"
    ]
    edge = federation.clusters["edge-c"].client
    edge.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub-token"}, "stringData": {"a": "b"}})
    try:
        id_ = federation.submit(job).id
        running = federation.wait_phase(id_, Phase.RUNNING)
        assert running.cluster == "edge-c"
        federation.admin.cancel(id_)
        federation.wait_phase(id_, Phase.CANCELLED)
        assert edge.get("v1", "Secret", "hub-token") is not None, "it was there before the job, and stays"
    finally:
        edge.delete("v1", "Secret", "hub-token")


def test_what_lies_beside_a_job_goes_with_it_and_ends_with_it(federation: Federation) -> None:
    player = Player(federation.clusters[PLAYED])
    try:
        job = manifests.indexed_job("moves", pods=1, gpus=1, hints={"clusters": PLAYED})
        job["spec"]["template"].setdefault("metadata", {}).setdefault("labels", {})["of"] = "moves"
        beside = travellers("moves")
        id_ = federation.submit(*(one.manifest("moves") for one in beside), job).id
        federation.wait_phase(id_, Phase.RUNNING)
        cluster = federation.member(PLAYED)
        assert len(bound(truth.pods_of(cluster, id_))) == 1
        for one in beside:
            present = cluster.client.get(one.api, one.kind, "moves")
            assert present is not None, f"{one.kind} did not go along"
            assert present["metadata"]["labels"]["muster.dev/job"] == id_
        federation.admin.cancel(id_)
        federation.wait_phase(id_, Phase.CANCELLED)

        def gone() -> bool:
            left = [one.kind for one in beside if cluster.client.get(one.api, one.kind, "moves") is not None]
            assert left == [one.kind for one in beside if one.outlives], left
            return True

        until("what went along to be gone", gone)
        cluster.client.delete("v1", "PersistentVolumeClaim", "moves")
    finally:
        player.stop()


def test_a_cluster_without_a_wished_kind_gets_the_job_without_and_one_without_a_needed_kind_none(
    federation: Federation,
) -> None:
    job = manifests.job("bare", gpus=1)
    job["metadata"]["annotations"] = {"muster.dev/clusters": "edge-c"}
    by_kind = {one.kind: one.manifest("bare") for one in travellers("bare")}
    wished = manifests.text(by_kind["PodMonitor"], job)
    (plan,) = federation.admin.plan(wished)
    (edge,) = [one for one in plan.candidates if one.cluster == "edge-c"]
    assert (plan.chosen, edge.without) == ("edge-c", ["PodMonitor bare"])
    id_ = federation.submit(by_kind["PodMonitor"], job).id
    federation.wait_phase(id_, Phase.RUNNING)
    placed = next(one.message for one in federation.admin.explain(id_).history if one.event == "place")
    assert placed == "placed on edge-c, without PodMonitor bare (not served there)"
    federation.admin.cancel(id_)
    needed = manifests.text(by_kind["NetworkAttachmentDefinition"], manifests.job("attached", gpus=1))
    (plan,) = federation.admin.plan(needed)
    reasons = {one.cluster: [reason.code for reason in one.reasons] for one in plan.candidates}
    assert reasons["edge-c"] == ["kind-not-served"]
    assert plan.chosen == PLAYED
