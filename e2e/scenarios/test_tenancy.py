"""Tenants and policies: at the hub's door, and what a real API server's own admission says of the same pods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from e2e import manifests, pod_samples
from e2e.federation import Federation
from e2e.objects import ApiError as RefusedByCluster
from e2e.objects import ObjectClient
from e2e.pod_samples import CHANGES, Change, Pod
from hub.client import ApiError, MusterClient
from placement.lifecycle import Phase
from placement.safety import pod_security
from placement.safety.levels import Level

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
