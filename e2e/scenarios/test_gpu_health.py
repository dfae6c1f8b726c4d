"""A GPU under a running gang goes bad, by the objects that monitors write: the gang runs elsewhere within a minute."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from e2e import manifests, truth
from e2e.federation import Federation
from e2e.objects import ObjectClient
from e2e.scenarios.test_nodes import CLUSTER, PODS, epochs_of, reason_of, running_gang, wait_second_attempt
from e2e.waiting import until
from placement.lifecycle import Phase

ASKED_S = 60.0


def an_event(client: ObjectClient, node: str) -> Callable[[], None]:
    """As node-problem-detector writes it, of a line in the kernel's log."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = {"name": f"{node}.xid", "namespace": "default"}
    client.create(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": metadata,
            "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node},
            "reason": "XidError",
            "message": "NVRM: Xid (PCI:0000:0f:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
            "type": "Warning",
            "source": {"component": "kernel-monitor", "host": node},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
    )

    def mend() -> None:
        client.delete("v1", "Event", metadata["name"], "default")
        # The Event tells of a moment: the owner says when it is repaired.
        annotate(client, node, "muster.dev/gpus-repaired-at", datetime.now(UTC).isoformat())

    return mend


def a_condition(client: ObjectClient, node: str) -> Callable[[], None]:
    """As the node monitoring agent of EKS writes it."""
    bad = {"type": "AcceleratedHardwareReady", "status": "False", "reason": "NvidiaXID79Error", "message": "XID 79"}
    put_condition(client, node, bad)

    def mend() -> None:
        put_condition(client, node, {**bad, "status": "True", "reason": "NvidiaReady", "message": ""})
        # It would count for two minutes more, in case that it flaps.
        annotate(client, node, "muster.dev/gpus-repaired-at", datetime.now(UTC).isoformat())

    return mend


def an_annotation(client: ObjectClient, node: str) -> Callable[[], None]:
    annotate(client, node, "muster.dev/unhealthy-gpus", "3")
    return lambda: annotate(client, node, "muster.dev/unhealthy-gpus", None)


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (an_event, "Xid 79 (GPU has fallen off the bus)"),
        (a_condition, "Xid 79 (GPU has fallen off the bus)"),
        (an_annotation, "GPU 3 of {node}: marked by muster.dev/unhealthy-gpus"),
    ],
)
def test_a_sick_gpu_moves_its_gang(
    federation: Federation, break_it: Callable[[ObjectClient, str], Callable[[], None]], why: str
) -> None:
    job = running_gang(federation, break_it.__name__.replace("_", "-"))
    cluster = federation.clusters[CLUSTER]
    sick = truth.pods_of(cluster, job)[0]["spec"]["nodeName"]
    began = time.monotonic()
    mend = break_it(cluster.client, sick)
    try:
        shown = wait_second_attempt(federation, job, timeout_s=ASKED_S)
        took_s = time.monotonic() - began
        print(json.dumps({"source": break_it.__name__, "from_sign_to_running_elsewhere_s": round(took_s, 1)}))
        assert took_s < ASKED_S
        assert (str(shown.cluster), sick) not in {(CLUSTER, pod.node) for pod in shown.pods}
        assert federation.gangs_ever(job) == {(CLUSTER, 1): PODS, (str(shown.cluster), 2): PODS}
        assert epochs_of(truth.pods_of(federation.member(shown.cluster), job)) == {"2"}
        assert why.format(node=sick) in reason_of(federation, job, "interrupted")

        def told() -> bool:
            seen = federation.admin.cluster(CLUSTER)
            assert seen.gpus_unusable, seen
            return any(line.startswith(f"{sick}: ") for line in seen.why_unusable)

        until("the hub to show which GPUs are unusable", told)
    finally:
        mend()
    until("the GPUs to count again", lambda: federation.admin.cluster(CLUSTER).gpus_unusable == 0)


def test_a_programs_own_xid_moves_nothing(federation: Federation) -> None:
    job = federation.submit(manifests.indexed_job("erring", pods=1, gpus=1, hints={"clusters": CLUSTER})).id
    federation.wait_phase(job, Phase.RUNNING)
    cluster = federation.clusters[CLUSTER]
    [pod] = truth.pods_of(cluster, job)
    node = pod["spec"]["nodeName"]
    with condition(cluster.client, node, "NvidiaXidError", "NVRM: Xid (PCI:0000:0f:00): 31, MMU Fault"):
        # Another job there is placed after the spoke has read the node: so it has read the condition as well.
        annotate(cluster.client, node, "e2e.muster.dev/seen", "yes")
        other = federation.submit(manifests.indexed_job("beside", pods=1, gpus=1, hints={"clusters": CLUSTER})).id
        federation.wait_phase(other, Phase.RUNNING)
        assert federation.admin.job(job).epoch == 1
        assert federation.admin.cluster(CLUSTER).gpus_unusable == 0


@contextmanager
def condition(client: ObjectClient, node: str, kind: str, message: str) -> Iterator[None]:
    bad = {"type": kind, "status": "True", "reason": kind, "message": message}
    put_condition(client, node, bad)
    try:
        yield
    finally:
        put_condition(client, node, {**bad, "status": "False", "message": ""})


def put_condition(client: ObjectClient, node: str, value: dict[str, Any]) -> None:
    """Strategic merge, by type, as the kubelet and monitors do."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    stamped = {**value, "lastHeartbeatTime": now, "lastTransitionTime": now}
    client.request(
        "PATCH",
        f"{client.path('v1', 'Node')}/{node}/status",
        {"status": {"conditions": [stamped]}},
        content_type="application/strategic-merge-patch+json",
    )


def annotate(client: ObjectClient, node: str, key: str, value: str | None) -> None:
    client.merge("v1", "Node", node, {"metadata": {"annotations": {key: value}}})
