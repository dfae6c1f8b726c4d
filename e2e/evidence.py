"""What is gathered when a scenario fails: the hub's view, the clusters' objects, the ends of the programs' logs."""

from __future__ import annotations

from collections.abc import Callable

from e2e import truth
from e2e.federation import Federation
from e2e.objects import Object
from e2e.provider import MemberCluster


def of(federation: Federation) -> dict[str, str]:
    found = {"jobs at the hub": _safely(lambda: _jobs(federation))}
    for name, cluster in federation.clusters.items():
        found[f"pods in {name}"] = _safely(lambda cluster=cluster: _pods(cluster))  # type: ignore[misc]  # bound now
    return found | {f"log of {name}" if " " not in name else name: text for name, text in federation.logs().items()}


def text(federation: Federation) -> str:
    return "\n".join(f"----- {name} -----\n{content}" for name, content in of(federation).items())


def _jobs(federation: Federation) -> str:
    lines = []
    for job in federation.admin.jobs(limit=20).jobs:
        lines.append(f"{job.id} {job.name} {job.phase} epoch {job.epoch} on {job.cluster}: {job.reason}")
        for event in federation.admin.explain(job.id).history:
            lines.append(
                f"    {event.at:%H:%M:%S.%f} {event.event:>9} epoch {event.epoch} -> {event.phase} {event.message}"
            )
    lines += [
        f"{c.name}: {c.health}, {c.gpus_free} of {c.gpus_total} GPUs free, {c.jobs} jobs"
        for c in federation.admin.clusters()
    ]
    return "\n".join(lines)


def _pods(cluster: MemberCluster) -> str:
    return "\n".join(_pod(pod) for pod in cluster.client.list("v1", "Pod")) or "(none)"


def _pod(pod: Object) -> str:
    metadata, spec = pod["metadata"], pod["spec"]
    labels = {key: value for key, value in metadata.get("labels", {}).items() if key.startswith("muster.dev/")}
    return (
        f"{metadata['name']} {pod['status'].get('phase')} on {spec.get('nodeName', '-')} gpus {truth.indices_of(pod)} "
        f"scheduler {spec.get('schedulerName')} {labels} "
        f"{'deleting' if metadata.get('deletionTimestamp') else ''}"
    )


def _safely(describe: Callable[[], str]) -> str:
    """Evidence is gathered from what is broken: what cannot be asked any more says why."""
    try:
        return describe()
    except Exception as error:
        return f"(could not be asked: {error!r})"
