"""Queued and planned jobs with what overrides make of them, on the clusters as they are now.

What a workload becomes is worked out once for each set of overrides that means it somewhere, and again only when an
override, a cluster's labels or what its tenant may have is another. Without overrides all of this costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hub.federation import Federation
from hub.loops.backlog import Backlog
from hub.records import Object
from placement.fleet import Cluster, Fleet, PendingJob
from placement.overrides import selecting, variants
from placement.overrides.applying import applied
from placement.overrides.override import Override
from placement.overrides.variants import Judge
from placement.safety.tenants import Tenants
from placement.workload import OverrideRefusal, Variant, Workload

log = logging.getLogger(__name__)

ObjectsOf = Callable[[Sequence[str]], Awaitable[Mapping[str, Sequence[Object]]]]
_KNOWN_BEYOND = 1000  # jobs that have left the queue, until they are forgotten


class OverrideRefused(ValueError):
    """The objects cannot be what that cluster's overrides say."""

    def __init__(self, refusal: OverrideRefusal, cluster: str) -> None:
        super().__init__(f"override {refusal.override} on {cluster}: {refusal.field}: {refusal.message}")
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Ground:
    """What variants depend on besides the workload, and what was worked out on it."""

    overrides: tuple[Override, ...] = ()
    tenants: Tenants = field(default_factory=Tenants)
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    known: dict[str, Workload] = field(default_factory=dict)  # by job, with its variants

    def still_holds(self, overrides: Sequence[Override], tenants: Tenants, clusters: Mapping[str, Cluster]) -> bool:
        return (
            self.overrides is overrides
            and self.tenants is tenants
            and self.clusters.keys() == clusters.keys()
            and all(
                one.labels == clusters[name].labels and one.region == clusters[name].region
                for name, one in self.clusters.items()
            )
        )

    def there(self, workload: Workload, tenant: str) -> dict[str, tuple[Override, ...]]:
        """What applies to it, by cluster."""
        meant = selecting.for_workload(self.overrides, workload, tenant)
        return selecting.by_cluster(meant, self.clusters.values()) if meant else {}


class Overriding:
    def __init__(self, federation: Federation, backlog: Backlog, judge: Callable[[str], Judge]) -> None:
        """`judge`: for jobs of a tenant."""
        self._federation = federation
        self._backlog = backlog
        self._judge = judge
        self._ground = Ground()

    async def varied(
        self, pending: Sequence[PendingJob], fleet: Fleet, objects_of: ObjectsOf
    ) -> tuple[list[PendingJob], tuple[Override, ...]]:
        """The same jobs, which the backlog knows so from now on; and the overrides that this was worked out with."""
        ground = self._on(fleet)
        if not ground.overrides:
            return [self._keep(one, _bare(one.workload)) for one in pending], ()
        asked = {one.job: ground.there(one.workload, one.tenant) for one in pending if one.job not in ground.known}
        objects = await objects_of([job for job, there in asked.items() if there]) if any(asked.values()) else {}
        wanting = [(one, asked[one.job], objects.get(one.job, ())) for one in pending if one.job in asked]
        if wanting:
            found = await asyncio.to_thread(lambda: [self._worked_out(*each) for each in wanting])
            ground.known.update({one.job: workload for (one, *_), workload in zip(wanting, found, strict=True)})
        return [self._keep(one, ground.known[one.job]) for one in pending], ground.overrides

    async def planned(self, workload: Workload, tenant: str, objects: Sequence[Object], fleet: Fleet) -> Workload:
        """Of a workload that is no job."""
        there = self._on(fleet).there(workload, tenant)
        if not there:
            return workload
        found = await asyncio.to_thread(variants.of, workload, objects, there, self._judge(tenant))
        return replace(workload, variants=found)

    @property
    def overrides(self) -> tuple[Override, ...]:
        """Those that were there when a job was last varied, or a workload planned."""
        return self._ground.overrides

    def rendered_from(
        self, objects: Sequence[Object], workload: Workload, cluster: str, overrides: Sequence[Override]
    ) -> Sequence[Object]:
        """As they are to be rendered for that cluster; `overrides`: with which the workload was varied. Raises
        OverrideRefused."""
        variant = workload.variants.get(cluster)
        if variant is None:
            return objects
        if variant.refusal is not None:
            raise OverrideRefused(variant.refusal, cluster)
        by_name = {one.name: one for one in overrides}
        if gone := [name for name in variant.overrides if name not in by_name]:
            changed = OverrideRefusal(gone[0], "", "it has been deleted meanwhile", "ask again")
            raise OverrideRefused(changed, cluster)
        made = applied(objects, self._judge("").catalogue, [by_name[name] for name in variant.overrides])
        if isinstance(made, OverrideRefusal):
            raise OverrideRefused(made, cluster)
        return made

    def _on(self, fleet: Fleet) -> Ground:
        overrides, tenants = self._federation.overrides, self._federation.tenants
        if not self._ground.still_holds(overrides, tenants, fleet.clusters):
            self._ground = Ground(overrides, tenants, fleet.clusters)
        known = self._ground.known
        if len(known) > 2 * len(self._backlog) + _KNOWN_BEYOND:
            for job in [job for job in known if self._backlog.pending(job) is None]:
                del known[job]
        return self._ground

    def _worked_out(
        self, pending: PendingJob, there: Mapping[str, tuple[Override, ...]], objects: Sequence[Object]
    ) -> Workload:
        bare = _bare(pending.workload)
        if not there:
            return bare
        try:
            return replace(bare, variants=variants.of(bare, objects, there, self._judge(pending.tenant)))
        except Exception as error:  # of one job; the others are decided all the same
            log.exception("what overrides make of %s cannot be worked out", pending.job)
            said = f"the hub cannot apply it: {type(error).__name__}: {error}"[:500]
            names = {cluster: tuple(one.name for one in those) for cluster, those in there.items()}
            refused = {
                cluster: Variant(each, refusal=OverrideRefusal(", ".join(each), "", said, "leave such jobs out"))
                for cluster, each in names.items()
            }
            return replace(bare, variants=refused)

    def _keep(self, pending: PendingJob, workload: Workload) -> PendingJob:
        if workload is pending.workload:
            return pending
        self._backlog.vary(pending.job, pending.epoch, workload)
        return replace(pending, workload=workload)


def _bare(workload: Workload) -> Workload:
    return replace(workload, variants={}) if workload.variants else workload
