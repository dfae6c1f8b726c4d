"""Which overrides apply to a workload on a cluster, and in which order."""

from __future__ import annotations

from collections.abc import Iterable

from placement.fleet import Cluster
from placement.overrides.override import Clusters, Override
from placement.safety.patterns import any_matches
from placement.workload import Workload


def for_workload(overrides: Iterable[Override], workload: Workload, tenant: str) -> tuple[Override, ...]:
    """On whatever cluster, in the order in which they are applied: by priority, then by name."""
    found = (one for one in overrides if _is_meant(one, workload, tenant))
    return tuple(sorted(found, key=lambda one: (one.priority, one.name)))


def by_cluster(overrides: Iterable[Override], clusters: Iterable[Cluster]) -> dict[str, tuple[Override, ...]]:
    """Of those, what applies on each cluster, in the order given; clusters on which none does are left out."""
    overrides = tuple(overrides)
    found = {each.name: tuple(one for one in overrides if _selects(one.clusters, each)) for each in clusters}
    return {name: those for name, those in found.items() if those}


def _is_meant(override: Override, workload: Workload, tenant: str) -> bool:
    whom = override.workloads
    return (
        any_matches(whom.kinds, workload.resource_kind)
        and any_matches(whom.namespaces, workload.namespace)
        and any_matches(whom.tenants, tenant)
        and any_matches(whom.queues, workload.hints.queue)
    )


def _selects(clusters: Clusters, cluster: Cluster) -> bool:
    labelled = all(
        key in cluster.labels and any_matches(values, cluster.labels[key]) for key, values in clusters.labels.items()
    )
    named = not clusters.names or any_matches(clusters.names, cluster.name)
    return labelled and named and (not clusters.regions or any_matches(clusters.regions, cluster.region))
