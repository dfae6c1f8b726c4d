"""Tenants and policies: at the hub's door, and what a real API server's own admission says of the same pods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from e2e import manifests, pod_samples
from e2e.federation import Federation
from e2e.lying_hub import LyingHub
from e2e.objects import ApiError as RefusedByCluster
from e2e.objects import ObjectClient
from e2e.pod_samples import CHANGES, Change, Pod
from e2e.processes import ProcessFederation
from e2e.waiting import until
from hub.client import ApiError, MusterClient
from placement.kinds import reader, render
from placement.kinds.catalogue import Catalogue
from placement.lifecycle import Phase
from placement.safety import pod_security
from placement.safety.levels import Level
from wire.orders import Command, JobRef, Start

CATALOGUE = Catalogue.builtin()
ENFORCED = "pod-security.kubernetes.io/enforce"


@pytest.fixture(scope="module")
def judges() -> dict[Level, str]:
    return {level: f"judged-{level}" for level in (Level.BASELINE, Level.RESTRICTED)}


def test_pods_are_judged_as_the_api_server_judges_them(federation: Federation, judges: dict[Level, str]) -> None:
    client = federation.clusters["onprem-a"].client
    for level, namespace in judges.items():
        labels = {ENFORCED: level.value}
        client.create_if_missing(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
        )
    changes: list[tuple[Change, ...]] = [(), *((change,) for change in CHANGES), *pod_samples.pairs(Random(11), 120)]
    differing, judged = [], 0
    for chosen in changes:
        pod = pod_samples.changed(chosen)
        for level, namespace in judges.items():
            theirs = verdict(client, pod, namespace)
            if theirs is None:
                continue  # no pod at all: it is refused before it is judged
            judged += 1
            ours = not any(level.forbids(each) for each in pod_security.of_pod(pod["metadata"], pod["spec"], "spec"))
            if ours is not theirs:
                differing.append(([change.name for change in chosen], level.value, theirs))
    assert differing == []
    assert judged > 1.5 * len(changes)


def verdict(client: ObjectClient, pod: Pod, namespace: str) -> bool | None:
    """None where it is not a valid pod."""
    metadata = {**pod["metadata"], "namespace": namespace}
    try:
        client.request("POST", client.path("v1", "Pod", namespace), {**pod, "metadata": metadata}, dryRun="All")
    except RefusedByCluster as error:
        if "violates PodSecurity" in str(error):
            return False
        if error.status == 422:
            return None
        raise
    return True


def test_two_tenants_live_in_namespaces_of_their_own(federation: Federation) -> None:
    with (
        user(federation, "alice", "research") as alice,
        user(federation, "bob", "sales") as bob,
    ):
        nameless = manifests.indexed_job("train", pods=1, gpus=1, run_for="60s")
        del nameless["metadata"]["namespace"]
        jobs = [muster.submit(manifests.text(nameless)).jobs[0].job for muster in (alice, bob)]
        assert [job.namespace for job in jobs] == ["research", "sales"]
        for job in jobs:
            running = federation.wait_phase(job.id, Phase.RUNNING)
            client = federation.member(running.cluster).client
            assert client.get("batch/v1", "Job", "train", job.namespace) is not None
        problems = refused(bob, manifests.indexed_job("x", pods=1, gpus=1, namespace="research"))
        assert problems["metadata.namespace"] == "Job x is in the namespace research, not tenant sales's"
        federation.admin.apply(TENANT)
        try:
            inside = manifests.indexed_job("y", pods=1, gpus=1, namespace="sales-7")
            assert bob.plan(manifests.text(inside))[0].verdict == "placed"
            inside["spec"]["template"]["spec"]["hostNetwork"] = True
            assert set(refused(bob, inside)) >= {"spec.template.spec.hostNetwork"}
            assert "kind" in refused(bob, manifests.pytorchjob("z", workers=1, gpus=1, namespace="sales"))
        finally:
            federation.admin.delete_tenant("sales")
        for muster, job in zip((alice, bob), jobs, strict=True):
            muster.cancel(job.id)


TENANT = b"""
apiVersion: muster.dev/v1
kind: Tenant
metadata: {name: sales}
spec:
  namespaces: [sales, sales-*]
  kinds: [batch/v1/Job]
"""


def refused(muster: MusterClient, manifest: manifests.Manifest) -> dict[str, str]:
    """path -> message; a plan says the same as a submit."""
    said = []
    for send in (muster.submit, muster.plan):
        with pytest.raises(ApiError) as error:
            send(manifests.text(manifest))
        assert error.value.status == 422
        assert all(problem.mend for problem in error.value.error.problems)
        said.append({problem.path: problem.message for problem in error.value.error.problems})
    assert said[0] == said[1]
    return said[0]


@contextmanager
def user(federation: Federation, name: str, tenant: str) -> Iterator[MusterClient]:
    made = federation.admin.add_user(name, tenant=tenant, role="submitter")
    with federation.client(made.token) as client:
        yield client
    federation.admin.remove_user(name)


# ---- the cluster's owner ----

Spoil = Callable[[list[Any]], object]


def evil(number: int, spoil: Spoil) -> Command:
    """What a hub would send for an ordinary job, spoilt."""
    job = f"j-evil{number:06d}"
    (read,) = reader.read(manifests.text(manifests.indexed_job(f"evil-{number}", pods=1, gpus=1)), CATALOGUE)
    objects: list[Any] = list(render.render([read.manifest], CATALOGUE, job=job, epoch=1))
    workload = read.workload
    spoil(objects)
    last = objects[-1]
    told = replace(workload, api_version=last["apiVersion"], kind=last["kind"], namespace=last["metadata"]["namespace"])
    return Command(number, JobRef(job, 1), Start(objects, told))


def pod(objects: list[Any]) -> Any:
    return objects[-1]["spec"]["template"]["spec"]


BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "evil"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "evil", "namespace": "muster-system"}}
EVIL: Mapping[str, tuple[Spoil, str]] = {
    "privileged": (
        lambda objects: pod(objects)["containers"][0].update(securityContext={"privileged": True}),
        "containers[0].securityContext.privileged",
    ),
    "host network": (lambda objects: pod(objects).update(hostNetwork=True), "hostNetwork: true"),
    "the node's root": (
        lambda objects: pod(objects).update(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
        "hostPath.path",
    ),
    "kube-system": (
        lambda objects: objects[-1]["metadata"].update(namespace="kube-system"),
        "the namespace kube-system belongs to the cluster itself",
    ),
    "a DaemonSet": (
        lambda objects: objects[-1].update(apiVersion="apps/v1", kind="DaemonSet"),
        "apps/v1/DaemonSet",
    ),
    "Muster's own": (lambda objects: objects.insert(0, SECRET), "Secret is of muster-system"),
    "rights": (lambda objects: objects.insert(0, BINDING), "ClusterRoleBinding is not among the kinds"),
}


@pytest.mark.processes
def test_a_hub_that_was_taken_over_gets_nothing_past_the_clusters_owner(federation: ProcessFederation) -> None:
    orders = [evil(number, spoil) for number, (spoil, _) in enumerate(EVIL.values(), 1)]
    client = federation.clusters["onprem-a"].client
    federation.hub.kill()
    try:
        with LyingHub(federation.hub.directory / "data", federation.link_address, {"onprem-a": orders}) as hub:
            until("every order to be answered", lambda: len(hub.acks) == len(EVIL))
            for order, (_, said) in zip(orders, EVIL.values(), strict=True):
                ack = hub.acks[order.id]
                # What the cluster does not serve at all is refused before its policy is asked.
                assert ack.refused_code == "policy", ack
                assert said in ack.refused_message
    finally:
        federation.hub.start()
    federation.wait_agreed()
    for api_version, kind in (("batch/v1", "Job"), ("apps/v1", "DaemonSet"), ("v1", "Secret")):
        assert [one for one in client.list(api_version, kind) if one["metadata"]["name"].startswith("evil")] == []
    assert client.get("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "evil") is None


@pytest.mark.processes
def test_a_plan_says_which_cluster_does_not_let_it_in_and_why(federation: ProcessFederation) -> None:
    manifest = manifests.indexed_job("picky", pods=1, gpus=1)
    manifest["spec"]["template"]["spec"]["hostIPC"] = True

    def planned() -> dict[str, str]:
        (plan,) = federation.admin.plan(manifests.text(manifest))
        assert plan.verdict == "waiting"
        return {one.cluster: " ".join(reason.message for reason in one.reasons) for one in plan.candidates}

    with federation.spokes["cloud-b"].with_policy("jobs: {level: restricted, namespaces: [ml-*]}"):
        until("the hub to hear of it", lambda: "the namespace default is not allowed" in planned()["cloud-b"])
        reasons = planned()
        assert "spec.template.spec.hostIPC" in reasons["onprem-a"]
        assert "hostIPC: true" in reasons["edge-c"]
    federation.wait_agreed()
