"""What the gRPC side needs of the rest of the hub. `cluster` is always the certificate's, never a message's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from placement.inventory import Summary
from wire.distribution import DistributionAck, DistributionOrder, DistributionRef, DistributionReport
from wire.orders import Command, CommandAck, DataFound, JobRef, Report, ReportAck


@dataclass(frozen=True, slots=True)
class Attached:
    heartbeat_s: float
    lease_s: float
    live: tuple[JobRef, ...]  # what holds capacity on this cluster
    kind_files: Mapping[str, str] = field(default_factory=dict)  # that admins added, by name


class NotWelcome(Exception):
    """The cluster was removed, or its certificate is not the one on record. `code` goes into the Goodbye."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class HubSide(Protocol):
    async def attach(self, cluster: str, certificate_serial: str, agent_version: str, session: str) -> Attached:
        """A stream begins. Raises NotWelcome."""

    async def detach(self, cluster: str, session: str) -> None:
        """That stream ended."""

    async def heartbeat(self, cluster: str) -> None: ...

    async def summary(self, cluster: str, summary: Summary) -> None: ...

    async def data(self, cluster: str, found: Sequence[DataFound]) -> None:
        """All that the cluster holds by its own account."""

    async def pending_commands(self, cluster: str) -> Sequence[Command]:
        """Every unacknowledged command of the cluster, by id. Asked at attach and after each wake-up."""

    async def wait_for_commands(self, cluster: str, after_id: int) -> Sequence[Command]:
        """Blocks until the cluster has unacknowledged commands with a larger id; answers those."""

    async def acknowledged(self, cluster: str, acks: Sequence[CommandAck]) -> None: ...

    async def reported(self, cluster: str, reports: Sequence[Report]) -> Sequence[ReportAck]:
        """Applies them in one transaction. One that is foreign or of an older epoch is acknowledged, not applied."""

    async def standing_distributions(self, cluster: str) -> Sequence[DistributionRef]:
        """All that it was ordered to have or to be rid of. Asked at attach."""

    async def wait_for_distributions(self, cluster: str, after: int) -> Sequence[DistributionOrder]:
        """Blocks until there are orders of a larger generation that it has not acknowledged; 0 is before all."""

    async def distributions_told(
        self, cluster: str, acks: Sequence[DistributionAck], reports: Sequence[DistributionReport]
    ) -> None: ...

    async def renew(self, cluster: str, certificate_serial: str, csr_pem: bytes) -> tuple[bytes, bytes]:
        """(certificate PEM, CA PEM). Raises NotWelcome."""
