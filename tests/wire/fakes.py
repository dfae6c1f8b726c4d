"""Both ends of the link by hand: a hub that remembers what was said to it, an agent that runs its jobs in no time.

The hub applies a report only when its number is new, and the agent stands on the real ledger, so that "exactly once in
effect" can be counted on both ends.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from hub.link.directory import Directory
from hub.link.port import Attached, NotWelcome
from hub.link.server import LinkServer, serve
from hub.pki import Authority
from placement.inventory import Summary
from placement.lifecycle import Event
from placement.presence import ObjectName
from placement.resources import Resources
from placement.workload import Role, Workload
from spoke import identity
from spoke.identity import Identity
from spoke.ledger import Ledger
from spoke.link import Link, Pace
from spoke.reaching import Reached, TunnelRefused
from wire.distribution import DistributionAck, DistributionOrder, DistributionRef, DistributionReport
from wire.orders import (
    Command,
    CommandAck,
    DataFound,
    JobRef,
    LogLines,
    LogQuery,
    Object,
    Report,
    ReportAck,
    Start,
    Stop,
)
from wire.tunnels import TunnelQuery
from wire.usage import JobUse, Usage

WORKLOAD = Workload("batch/v1", "Job", "train", "default", (Role("worker", 2, 2, Resources({"nvidia.com/gpu": 4})),), 2)
OBJECTS: tuple[Object, ...] = ({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train"}},)
QUICK = Pace(
    first_wait_s=0.01, longest_wait_s=0.05, displaced_wait_s=0.2, welcome_s=5.0, renewal_check_s=0.02, renewal_s=5.0
)


def now() -> datetime:
    return datetime.now(UTC)


async def eventually(happened: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """For what tells nobody that it happened."""
    for _ in range(int(timeout_s / 0.01)):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


class FakeHub:
    def __init__(self, authority: Authority, clock: Callable[[], datetime] = now) -> None:
        self.authority = authority
        self.clock = clock
        self.removed: set[str] = set()
        self.commands: dict[str, dict[int, Command]] = {}
        self.acks: list[tuple[str, CommandAck]] = []
        self.applied: dict[str, list[Report]] = {}
        self.batches: list[int] = []
        self.summaries: dict[str, Summary] = {}
        self.data_of: dict[str, Sequence[DataFound]] = {}
        self.kind_files: Mapping[str, str] = {}
        self.heartbeats: Counter[str] = Counter()
        self.streams: list[tuple[str, str]] = []  # ("attach" | "detach", cluster)
        self.serials: list[str] = []
        self.renewals = 0
        self.distributions: dict[str, list[DistributionOrder]] = {}
        self.distribution_news: list[tuple[str, DistributionAck | DistributionReport]] = []
        self.live: tuple[JobRef, ...] = ()
        self.attaching = asyncio.Event()
        self.attach_gate: asyncio.Event | None = None
        self.fail_next_reports = 0
        self.changed = asyncio.Condition()
        self._newest: dict[tuple[str, JobRef], int] = {}
        self._last_id = 0

    async def order(self, cluster: str, ref: JobRef, order: Start | Stop | None = None) -> Command:
        return (await self.order_all(cluster, [ref], order))[0]

    async def order_all(self, cluster: str, refs: Sequence[JobRef], order: Start | Stop | None = None) -> list[Command]:
        made = []
        async with self.changed:
            for ref in refs:
                self._last_id += 1
                made.append(Command(self._last_id, ref, order or Start(OBJECTS, WORKLOAD)))
                self.commands.setdefault(cluster, {})[self._last_id] = made[-1]
            self.changed.notify_all()
        return made

    async def until(self, happened: Callable[[], bool], timeout_s: float = 20.0) -> None:
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(happened)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    # ---- HubSide ----

    async def attach(self, cluster: str, certificate_serial: str, agent_version: str, session: str) -> Attached:
        if cluster in self.removed:
            raise NotWelcome("removed", f"cluster {cluster} was removed")
        self.attaching.set()
        if self.attach_gate is not None:
            await self.attach_gate.wait()
        self.streams.append(("attach", cluster))
        self.serials.append(certificate_serial)
        await self._tell()
        return Attached(heartbeat_s=0.2, lease_s=1.0, live=self.live, kind_files=self.kind_files)

    async def detach(self, cluster: str, session: str) -> None:
        self.streams.append(("detach", cluster))
        await self._tell()

    async def heartbeat(self, cluster: str) -> None:
        if cluster in self.removed:
            raise NotWelcome("removed", f"cluster {cluster} was removed")
        self.heartbeats[cluster] += 1
        await self._tell()

    async def summary(self, cluster: str, summary: Summary) -> None:
        self.summaries[cluster] = summary
        await self._tell()

    async def data(self, cluster: str, found: Sequence[DataFound]) -> None:
        self.data_of[cluster] = found
        await self._tell()

    async def pending_commands(self, cluster: str) -> Sequence[Command]:
        return list(self.commands.get(cluster, {}).values())

    async def wait_for_commands(self, cluster: str, after_id: int) -> Sequence[Command]:
        async with self.changed:
            while True:
                found = [command for number, command in self.commands.get(cluster, {}).items() if number > after_id]
                if found:
                    return found
                await self.changed.wait()

    async def acknowledged(self, cluster: str, acks: Sequence[CommandAck]) -> None:
        for ack in acks:
            if self.commands.get(cluster, {}).pop(ack.id, None) is not None:
                self.acks.append((cluster, ack))
        await self._tell()

    async def reported(self, cluster: str, reports: Sequence[Report]) -> Sequence[ReportAck]:
        if self.fail_next_reports:
            self.fail_next_reports -= 1
            raise OSError("the disk is gone for a moment")
        self.batches.append(len(reports))
        for report in reports:
            if report.seq > self._newest.get((cluster, report.ref), 0):
                self._newest[cluster, report.ref] = report.seq
                self.applied.setdefault(cluster, []).append(report)
        await self._tell()
        return [ReportAck(report.ref, report.seq) for report in reports]

    async def standing_distributions(self, cluster: str) -> Sequence[DistributionRef]:
        return [order.ref for order in self.distributions.get(cluster, ())]

    async def wait_for_distributions(self, cluster: str, after: int) -> Sequence[DistributionOrder]:
        async with self.changed:
            while True:
                found = [one for one in self.distributions.get(cluster, ()) if one.ref.generation > after]
                if found:
                    return found
                await self.changed.wait()

    async def distributions_told(
        self, cluster: str, acks: Sequence[DistributionAck], reports: Sequence[DistributionReport]
    ) -> None:
        self.distribution_news += [(cluster, one) for one in (*acks, *reports)]
        await self._tell()

    async def renew(self, cluster: str, certificate_serial: str, csr_pem: bytes) -> tuple[bytes, bytes]:
        if cluster in self.removed:
            raise NotWelcome("removed", f"cluster {cluster} was removed")
        self.renewals += 1
        return self.authority.sign_spoke(csr_pem, cluster, self.clock()).pem, self.authority.ca_pem


class FakeAgent:
    """Every job that is started runs and succeeds at once; every one that is stopped is stopped at once."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.started: Counter[JobRef] = Counter()
        self.stopped: Counter[JobRef] = Counter()
        self.welcomes: list[tuple[JobRef, ...]] = []
        self.was_removed = asyncio.Event()
        self.kind_files: Mapping[str, str] = {}
        self.present = Summary(1, (), (), (), (), frozenset({"v1/Pod"}))
        self.log: Callable[[LogQuery], AsyncIterator[LogLines]] = _no_log
        self.reached: Callable[[TunnelQuery], Awaitable[Reached]] = _nowhere
        self.data: Sequence[DataFound] = ()
        self.data_revision = 0
        self.standing: Collection[DistributionRef] | None = None
        self.distribution_news: list[DistributionReport] = []
        self._fresh: list[Report] = []
        self._changed = asyncio.Condition()

    @property
    def waiting(self) -> list[Report]:
        """Reports that the hub has not acknowledged, as far as the ledger knows."""
        return [report for entry in self.ledger._entries.values() for report in entry.unacked]

    async def publish(self, summary: Summary) -> None:
        async with self._changed:
            self.present = summary
            self._changed.notify_all()

    async def report(self, ref: JobRef, event: Event) -> None:
        report = await self.ledger.record_report(ref, event, "", (), (), now())
        if report is not None:
            async with self._changed:
                self._fresh.append(report)
                self._changed.notify_all()

    # ---- AgentSide ----

    async def welcomed(self, live: Sequence[JobRef], lease_s: float) -> None:
        self.welcomes.append(tuple(live))
        self._fresh.clear()

    async def commanded(self, commands: Sequence[Command]) -> Sequence[CommandAck]:
        acks = await self.ledger.accept(commands)
        for command, ack in zip(commands, acks, strict=True):
            entry = await self.ledger.entry(command.ref.job)
            if ack.refused_code or entry is None or entry.ref != command.ref:
                continue
            # Cut short at any point (the stream ends), it goes on from what the ledger says when it is told again.
            said = entry.report.event if entry.report else None
            if isinstance(command.order, Start) and said in (None, Event.RUNNING):
                self.started[command.ref] += said is None
                await self.report(command.ref, Event.RUNNING)
                await self.report(command.ref, Event.SUCCEED)
            elif isinstance(command.order, Stop) and said is not Event.STOPPED:
                self.stopped[command.ref] += 1
                await self.report(command.ref, Event.STOPPED)
        return acks

    async def reports_acked(self, acks: Sequence[ReportAck]) -> None:
        await self.ledger.reports_acked(acks)

    async def unacked_reports(self) -> Sequence[Report]:
        self._fresh.clear()
        return await self.ledger.unacked()

    async def wait_for_reports(self) -> Sequence[Report]:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._fresh))
            taken, self._fresh = self._fresh, []
            return taken

    async def wait_for_summary(self, after_revision: int) -> Summary:
        async with self._changed:
            await self._changed.wait_for(lambda: self.present.revision > after_revision)
            return self.present

    async def wait_for_data(self, after_revision: int) -> tuple[int, Sequence[DataFound]]:
        async with self._changed:
            await self._changed.wait_for(lambda: self.data_revision > after_revision)
            return self.data_revision, self.data

    def logs(self, query: LogQuery) -> AsyncIterator[LogLines]:
        return self.log(query)

    async def reach(self, query: TunnelQuery) -> Reached:
        return await self.reached(query)

    async def usage(self, refs: Collection[JobRef]) -> Usage:
        return Usage(tuple(JobUse(ref, 1) for ref in sorted(refs)))

    async def missing(self, names: Collection[ObjectName]) -> frozenset[ObjectName]:
        return frozenset(one for one in names if one.name.startswith("missing"))

    def kinds_told(self, files: Mapping[str, str]) -> None:
        self.kind_files = dict(files)

    async def distributed(
        self, orders: Sequence[DistributionOrder], standing: Collection[DistributionRef] | None
    ) -> Sequence[DistributionAck]:
        """Everything is applied at once."""
        self.standing = standing if standing is not None else self.standing
        acks = await self.ledger.accept_distributions(orders)
        async with self._changed:
            self.distribution_news += [DistributionReport(order.ref) for order in orders]
            self._changed.notify_all()
        return acks

    def distribution_reports(self) -> Sequence[DistributionReport]:
        return ()

    async def wait_for_distribution_reports(self) -> Sequence[DistributionReport]:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self.distribution_news))
            taken, self.distribution_news = self.distribution_news, []
            return taken

    async def removed(self) -> None:
        self.was_removed.set()


async def _no_log(query: LogQuery) -> AsyncIterator[LogLines]:
    raise KeyError(f"{query.ref.job} is not on this cluster")
    yield


async def _nowhere(query: TunnelQuery) -> Reached:
    raise TunnelRefused("no-pod", f"{query.ref.job} is not on this cluster")


class Federation:
    """A hub that listens and spokes that dial it, all in this process, over real TLS on the loopback."""

    def __init__(self, directory: Path, clock: Callable[[], datetime] = now) -> None:
        self.directory = directory
        self.clock = clock
        self.authority = Authority.open(directory / "hub", clock())
        self.hub = FakeHub(self.authority, clock)
        self.streams = Directory()
        self.server: LinkServer | None = None
        self._running: list[asyncio.Task[None]] = []
        self._ledgers: list[Ledger] = []

    async def listen(self, port: int = 0) -> int:
        self.streams = Directory()
        self.server = await serve(
            self.hub,
            self.authority,
            self.streams,
            host="127.0.0.1",
            port=port,
            names=["localhost", "127.0.0.1"],
            clock=self.clock,
        )
        return self.server.port

    def member(self, cluster: str, authority: Authority | None = None) -> Identity:
        key_pem, csr_pem = identity.new_request()
        signed = (authority or self.authority).sign_spoke(csr_pem, cluster, self.clock())
        return identity.assemble(key_pem, signed.pem, (authority or self.authority).ca_pem)

    def spoke(self, cluster: str, port: int, own: Identity | None = None, pace: Pace = QUICK) -> tuple[FakeAgent, Link]:
        directory = self.directory / f"spoke-{len(self._ledgers)}"
        ledger = Ledger.open(directory / "ledger.db")
        self._ledgers.append(ledger)
        agent = FakeAgent(ledger)
        link = Link(
            agent,
            own or self.member(cluster),
            address=f"127.0.0.1:{port}",
            identity_directory=directory,
            version="1.0-test",
            session=f"session-{len(self._ledgers)}",
            rng=Random(7),
            clock=self.clock,
            pace=pace,
        )
        return agent, link

    def run(self, link: Link) -> asyncio.Task[None]:
        task = asyncio.ensure_future(link.run())
        self._running.append(task)
        return task

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self.server is not None:
            await self.server.stop(0.1)
        for ledger in self._ledgers:
            await ledger.close()
