"""What scenarios on real pods compare: what stayed as it was while something else broke, and what is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from e2e import truth
from e2e.kind.clusters import KindCluster, is_ready
from e2e.kind.installed import NAMESPACE, InstalledFederation
from e2e.objects import Object


def by_uid(pods: Sequence[Object]) -> dict[str, Object]:
    return {pod["metadata"]["uid"]: pod for pod in pods}


def pods_everywhere(federation: InstalledFederation) -> dict[str, Object]:
    return {uid: pod for one in federation.clusters.values() for uid, pod in by_uid(truth.pods_of(one)).items()}


def untouched(before: Mapping[str, Object], after: Mapping[str, Object]) -> bool:
    """The same pods, on the same nodes, with containers that never stopped."""
    for uid, old in before.items():
        assert uid in after, f"{old['metadata']['name']} is gone"
        new = after[uid]
        assert new["spec"]["nodeName"] == old["spec"]["nodeName"]
        assert "deletionTimestamp" not in new["metadata"]
        assert starts_of(new) == starts_of(old), f"{old['metadata']['name']} was restarted"
    return True


def starts_of(pod: Object) -> list[tuple[str, int]]:
    return [(one["containerID"], one["restartCount"]) for one in pod["status"]["containerStatuses"]]


def bound_of(cluster: KindCluster, job: str) -> list[Object]:
    return [pod for pod in truth.pods_of(cluster, job) if pod["spec"].get("nodeName")]


def job_of(pod: Object) -> str:
    return str(pod["metadata"]["labels"][truth.JOB_LABEL])


def epoch_of(pod: Object) -> int:
    return int(pod["metadata"]["labels"][truth.EPOCH_LABEL])


def the_pod(cluster: KindCluster, name: str) -> Object:
    found = cluster.client.get("v1", "Pod", name, NAMESPACE)
    assert found is not None, f"there is no pod {name}"
    return found


def is_new_and_ready(cluster: KindCluster, name: str, before: Object) -> bool:
    found = cluster.client.get("v1", "Pod", name, NAMESPACE)
    return found is not None and found["metadata"]["uid"] != before["metadata"]["uid"] and is_ready(found)
