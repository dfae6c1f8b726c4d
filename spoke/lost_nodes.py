"""Looks after the nodes while jobs are here: lists their leases every few seconds and marks those that are lost.

What is lost is `heartbeats`' to judge; a node whose object is gone is lost as well. While no job is here and no node is
marked that the cluster still calls ready, nothing is listed. Where leases cannot be read, conditions alone are judged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from spoke.cluster.port import ClusterError, ClusterPort, Object, Refused, Selection
from spoke.heartbeats import Heartbeats
from spoke.inventory import Inventory
from spoke.jobs import Job, Jobs

log = logging.getLogger(__name__)

LEASES = Selection("coordination.k8s.io/v1", "Lease", "kube-node-lease")
INTERVAL_S = 3.0
_NODES_PER_S = 1000  # of large clusters the leases are listed less often: they weigh some hundred bytes each
_LATE = 3  # a look that comes after so many intervals counts for nothing


class LostNodes:
    """`looked` is called after each look, with whether other nodes are lost than before."""

    def __init__(
        self,
        port: ClusterPort,
        inventory: Inventory,
        jobs: Jobs,
        heartbeats: Heartbeats,
        *,
        clock: Callable[[], float],
        interval_s: float = INTERVAL_S,
    ) -> None:
        """`clock` counts seconds and never goes back."""
        self._port = port
        self._inventory = inventory
        self._jobs = jobs
        self._heartbeats = heartbeats
        self._clock = clock
        self._interval_s = interval_s
        self._refusal = ""
        self.looked: Callable[[bool], None] = lambda changed: None

    def why(self, node: str) -> str:
        """Why the node is lost; "" where it is not, or none is named."""
        if not node:
            return ""
        if self._inventory.has_node(node):
            return self._heartbeats.lost().get(node, "")
        return "it is no node of the cluster any more"

    def in_doubt(self, job: Job, since: float) -> bool:
        """Whether a pod of the job that has not ended is on a node that has shown no sign of life after `since`."""
        nodes = {pod.node for pod in job.pods.values() if pod.node and not pod.over}
        return any(not self._heartbeats.proven_since(node, since) for node in nodes)

    async def run(self) -> None:
        while True:
            if self._is_needed():
                await self.look()
            else:
                self._heartbeats.missed()
            await asyncio.sleep(self._pause_s())

    async def look(self) -> None:
        began = self._clock()  # what is renewed while the answer is on its way counts as renewed after it
        try:
            leases = await self._leases()
        except ClusterError as error:
            log.warning("the nodes' leases cannot be listed: %s", error)
            self._heartbeats.missed()
            return
        before = set(self._heartbeats.lost())
        self._heartbeats.looked(leases, self._inventory.conditions(), began, _LATE * self._pause_s())
        lost = self._heartbeats.lost()
        for name in sorted(set(lost) - before):
            log.warning("node %s is lost: %s", name, lost[name])
        for name in sorted(before - set(lost)):
            log.warning("node %s is back, or gone", name)
        self._inventory.mark_lost(lost.keys())
        self.looked(set(lost) != before)

    async def _leases(self) -> Sequence[Object]:
        try:
            return await self._port.list(LEASES)
        except Refused as error:
            if str(error) != self._refusal:
                self._refusal = str(error)
                log.info("nodes are judged by their conditions alone: %s", error)
            return ()

    def _is_needed(self) -> bool:
        if any(job.outcome is None and not job.stopped for job in self._jobs):
            return True
        # One that is forgotten while the cluster still calls it ready would be given the next job.
        conditions = self._inventory.conditions()
        return any(conditions.get(node) == "True" for node in self._heartbeats.lost())

    def _pause_s(self) -> float:
        return max(self._interval_s, len(self._inventory) / _NODES_PER_S)
