"""What jobs name is looked for in the cluster, by name, and a job that lacks something is not taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from placement.kinds.catalogue import Catalogue
from placement.presence import ObjectName
from placement.safety.policy import Policy
from spoke.cluster.fake import FakeCluster
from spoke.cluster.port import ClusterError, Refused, Unavailable
from spoke.policy import ClusterPolicy, Guard
from spoke.presence import Presence
from tests.spoke.stage import job_yaml, node, stage

CATALOGUE = Catalogue.builtin()
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "team"}, "data": {}}


def name(kind: str, called: str, namespace: str = "team") -> ObjectName:
    return ObjectName(kind, namespace, called)


OPEN = Policy()


def presence(cluster: FakeCluster, policy: Policy = OPEN) -> Presence:
    return Presence(cluster, CATALOGUE, Guard(ClusterPolicy(policy), CATALOGUE, "spoke-system"))


async def test_what_is_missing_is_named() -> None:
    cluster = FakeCluster([])
    await cluster.create(SECRET)
    there, gone = name("Secret", "token"), name("ConfigMap", "settings")
    assert await presence(cluster).missing([there, gone]) == {gone}


@pytest.mark.parametrize("namespace", ["kube-system", "muster-system", "spoke-system", "closed"])
async def test_nobody_hears_of_namespaces_that_are_closed_to_jobs(namespace: str) -> None:
    """Nor of kinds that no pod names."""
    asked: list[object] = []
    cluster = FakeCluster([])
    cluster.faults.append(lambda call, key: asked.append(key))
    found = presence(cluster, Policy(namespaces=("team", "spoke-system")))
    assert (
        await found.missing([name("Secret", "x", namespace), name("Role", "x"), name("Node", "x", "")]) == frozenset()
    )
    assert asked == []


@pytest.mark.parametrize("error", [Unavailable("away"), Refused("forbidden")])
async def test_what_cannot_be_asked_counts_as_there(error: ClusterError) -> None:
    cluster = FakeCluster([])

    def fault(call: str, key: object) -> None:
        raise error

    cluster.faults.append(fault)
    assert await presence(cluster).missing([name("Secret", "x")]) == frozenset()


NAMING = """
      serviceAccountName: robot
      volumes:
      - {name: s, secret: {secretName: token}}
      - {name: c, configMap: {name: maybe, optional: true}}
"""


async def test_a_job_that_names_what_is_not_there_is_refused_until_it_is(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        text = job_yaml("train").rstrip() + NAMING
        ack = await on.run("j-1", text)
        assert (ack.refused_code, ack.refused_message) == (
            "no-such-object",
            "the cluster has no Secret team/token, ServiceAccount team/robot",
        )
        for kind, called in (("Secret", "token"), ("ServiceAccount", "robot")):
            metadata = {"name": called, "namespace": "team"}
            on.cluster.put({"apiVersion": "v1", "kind": kind, "metadata": metadata})
        assert (await on.run("j-1", text, epoch=2)).refused_code == ""


async def test_what_it_brings_along_need_not_be_there(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        brought = "".join(
            f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: {called}, namespace: team}}\n---\n"
            for kind, called in (("Secret", "token"), ("ServiceAccount", "robot"))
        )
        assert (await on.run("j-1", brought + job_yaml("train").rstrip() + NAMING)).refused_code == ""
