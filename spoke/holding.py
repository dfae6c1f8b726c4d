"""Places for the pods of accepted jobs, held until those exist: again after a restart, elsewhere where nodes went.

Between a job's acceptance and its pods there may be hours, while its data is copied. What was promised then is kept as
long as the cluster has it at all; where it has not, the job waits for room as its pods come, or is handed back.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from placement.dra.requests import ClaimSpec
from placement.elastic import sizes
from placement.kinds import claims
from placement.kinds.catalogue import Catalogue
from placement.workload import Workload
from spoke.crew import Crew
from spoke.entry import Entry
from spoke.inventory import Inventory
from spoke.jobs import Job, Jobs
from spoke.ledger import Ledger
from spoke.schedule import Scheduler
from wire.orders import JobRef, Object, Start

log = logging.getLogger(__name__)


class Holding:
    def __init__(
        self, scheduler: Scheduler, inventory: Inventory, ledger: Ledger, jobs: Jobs, crew: Crew, catalogue: Catalogue
    ) -> None:
        self._scheduler = scheduler
        self._inventory = inventory
        self._ledger = ledger
        self._jobs = jobs
        self._crew = crew
        self._catalogue = catalogue

    def hold(self, ref: JobRef, start: Start) -> str:
        """Answers why it cannot, or ""."""
        return self._scheduler.hold(ref, start.workload, self._claimed(start.objects))

    def more(self, job: Job, target: Workload) -> str:
        """For the pods that it is to have beyond those that it has. Answers why it cannot, or "".

        Not for pods that claim devices: theirs are allocated when they come.
        """
        added = sizes.added(target, job.workload) if job.workload is not None else None
        if added is None or claims.any_named(added):
            return ""
        return self._scheduler.hold_more(job.ref, added)

    def again(self, entry: Entry) -> None:
        try:
            if entry.workload is not None:
                self._scheduler.hold(entry.ref, entry.workload, self._claimed(entry.objects))
        except Exception:  # of an earlier version's ledger, say: the others must start all the same
            log.exception("no places can be held for %s", entry.ref)

    def look_at_all(self) -> None:
        """Nodes changed."""
        broken = [job for job in self._jobs if job.runs and not job.pods and self._has_lost_places(job)]
        if broken:
            self._crew.spawn(self._elsewhere(broken), "holding other places")

    async def _elsewhere(self, broken: Sequence[Job]) -> None:
        for job in broken:
            entry = await self._ledger.entry(job.ref.job)
            if entry is None or entry.ref != job.ref or not job.runs or job.pods:
                continue
            if self._has_lost_places(job):
                before = tuple(self._inventory.slots(job.ref).values())
                self._inventory.release(job.ref)
                self.again(entry)
                if not self._inventory.slots(job.ref):
                    self._inventory.hold(job.ref, before)  # nodes come back

    def _has_lost_places(self, job: Job) -> bool:
        """What is merely crowded for a while (by the pod that copies, say) may be well once the pods come."""
        nodes = {slot.node for slot in self._inventory.slots(job.ref).values()}
        return any((node := self._inventory.node(name)) is None or not node.ready for name in nodes)

    def _claimed(self, objects: Sequence[Object]) -> Mapping[str, tuple[ClaimSpec, ...]]:
        return claims.by_role(objects, self._catalogue)


def brings_claims(start: Start) -> bool:
    return any(obj.get("kind") == claims.TEMPLATE for obj in start.objects)
