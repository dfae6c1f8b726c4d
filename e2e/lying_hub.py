"""A hub that somebody took over: the real one's address and key, and whatever orders it likes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar

from hub.link import server
from hub.link.directory import Directory
from hub.link.port import Attached
from hub.pki import Authority
from placement.inventory import Summary
from wire.distribution import DistributionAck, DistributionOrder, DistributionRef, DistributionReport
from wire.orders import Command, CommandAck, DataFound, Report, ReportAck

T = TypeVar("T")


class LyingSide:
    """A HubSide."""

    def __init__(
        self, commands: Mapping[str, Sequence[Command]], distributions: Mapping[str, Sequence[DistributionOrder]]
    ) -> None:
        self._commands = commands
        self._distributions = distributions
        self.distributed: dict[str, DistributionReport] = {}  # what was said last of each
        self.acks: dict[int, CommandAck] = {}

    async def attach(self, cluster: str, certificate_serial: str, agent_version: str, session: str) -> Attached:
        refs = tuple(command.ref for command in self._commands.get(cluster, ()))
        return Attached(1.0, 60.0, refs)

    async def detach(self, cluster: str, session: str) -> None: ...

    async def heartbeat(self, cluster: str) -> None: ...

    async def summary(self, cluster: str, summary: Summary) -> None: ...

    async def data(self, cluster: str, found: Sequence[DataFound]) -> None: ...

    async def pending_commands(self, cluster: str) -> Sequence[Command]:
        return [command for command in self._commands.get(cluster, ()) if command.id not in self.acks]

    async def wait_for_commands(self, cluster: str, after_id: int) -> Sequence[Command]:
        await asyncio.Event().wait()
        return ()

    async def acknowledged(self, cluster: str, acks: Sequence[CommandAck]) -> None:
        self.acks |= {ack.id: ack for ack in acks}

    async def reported(self, cluster: str, reports: Sequence[Report]) -> Sequence[ReportAck]:
        return [ReportAck(report.ref, report.seq) for report in reports]

    async def standing_distributions(self, cluster: str) -> Sequence[DistributionRef]:
        return [order.ref for order in self._distributions.get(cluster, ())]

    async def wait_for_distributions(self, cluster: str, after: int) -> Sequence[DistributionOrder]:
        found = [order for order in self._distributions.get(cluster, ()) if order.ref.generation > after]
        if not found:
            await asyncio.Event().wait()
        return found

    async def distributions_told(
        self, cluster: str, acks: Sequence[DistributionAck], reports: Sequence[DistributionReport]
    ) -> None:
        self.distributed |= {report.ref.name: report for report in reports}

    async def renew(self, cluster: str, certificate_serial: str, csr_pem: bytes) -> tuple[bytes, bytes]:
        raise NotImplementedError


class LyingHub:
    """`with LyingHub(data, address, commands) as hub:` listens where the real one did, until the block ends."""

    def __init__(
        self,
        data: Path,
        address: str,
        commands: Mapping[str, Sequence[Command]],
        distributions: Mapping[str, Sequence[DistributionOrder]] = MappingProxyType({}),
    ) -> None:
        self.side = LyingSide(commands, distributions)
        self._authority = Authority.open(data / "pki", datetime.now(UTC))
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> LyingSide:
        self._thread.start()
        names = ["localhost", "127.0.0.1"]
        self._served = self._run_here(
            server.serve(self.side, self._authority, Directory(), host=self._host, port=self._port, names=names)
        )
        return self.side

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run_here(self._served.stop(0.1))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run_here(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
