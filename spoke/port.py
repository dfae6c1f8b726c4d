"""What the link needs of the agent behind it, and the agent of the link before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol

from placement.inventory import Summary
from placement.presence import ObjectName
from spoke.reaching import Reached
from wire.distribution import DistributionAck, DistributionOrder, DistributionRef, DistributionReport
from wire.orders import Command, CommandAck, DataFound, JobRef, LogLines, LogQuery, Report, ReportAck
from wire.tunnels import TunnelQuery
from wire.usage import Usage


class AgentSide(Protocol):
    """Called by the link."""

    async def welcomed(self, live: Sequence[JobRef], lease_s: float) -> None:
        """A stream began. Jobs that are not in `live` are orphans: stop them without reporting."""

    async def commanded(self, commands: Sequence[Command]) -> Sequence[CommandAck]:
        """Durable before it returns: what is acknowledged survives a crash."""

    async def reports_acked(self, acks: Sequence[ReportAck]) -> None: ...

    async def unacked_reports(self) -> Sequence[Report]:
        """Asked when a stream begins: everything the hub has not acknowledged yet."""

    async def wait_for_reports(self) -> Sequence[Report]:
        """Blocks until there are reports not handed out on this stream yet; batches what has gathered."""

    async def wait_for_summary(self, after_revision: int) -> Summary:
        """Blocks until the summary's revision is larger; -1 answers the present one at once."""

    async def wait_for_data(self, after_revision: int) -> tuple[int, Sequence[DataFound]]:
        """Blocks until what data the cluster holds was read, and has another revision; 0 answers the present one."""

    def logs(self, query: LogQuery) -> AsyncIterator[LogLines]:
        """Pods interleaved, whole lines; raises KeyError with a sentence where the job is not here."""

    async def reach(self, query: TunnelQuery) -> Reached:
        """Into a pod of the job. Raises TunnelRefused, ClusterError."""

    async def usage(self, refs: Collection[JobRef]) -> Usage:
        """What these jobs use of their GPUs now, or all that run here where none is named."""

    async def missing(self, names: Collection[ObjectName]) -> frozenset[ObjectName]:
        """Those of them that are not in the cluster, as far as that can be told."""

    def kinds_told(self, files: Mapping[str, str]) -> None:
        """Every kind file that the hub's admins added, by name. Said before any job of them."""

    async def distributed(
        self, orders: Sequence[DistributionOrder], standing: Collection[DistributionRef] | None
    ) -> Sequence[DistributionAck]:
        """Durable before it returns. `standing`, when a stream begins: all that the hub has here, or wants gone."""

    def distribution_reports(self) -> Sequence[DistributionReport]:
        """Asked when a stream begins: how everything stands."""

    async def wait_for_distribution_reports(self) -> Sequence[DistributionReport]:
        """Blocks until something stands otherwise than it was told."""

    async def removed(self) -> None:
        """The hub said that this cluster was removed: stop every job here, remove what was distributed; then the agent
        ends."""
