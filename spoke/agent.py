"""The agent: what the hub's link talks to, and everything that runs behind it in one cluster.

A command goes to the ledger and is acknowledged; from there the loops take over, each woken by the ids of jobs: `apply`
makes the objects, the watches bring back pods and status, `schedule` decides and `binding` binds, `status` reports.
Started again at any moment, the agent reads the ledger and the cluster and goes on where it was.

What this spoke made (`owner` is written on each workload object: the hub and the cluster's name in it) and what belongs
to no job of the hub any more is removed. What another hub's spoke made in the same cluster is left alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random

from placement.elastic import sizes
from placement.inventory import Summary
from placement.kinds import claims, podgroups
from placement.kinds.catalogue import Catalogue
from placement.kinds.kind import Kind
from placement.presence import ObjectName
from spoke import (
    claim_facts,
    endpoints,
    gangs,
    heartbeats,
    job_events,
    logs,
    lost_nodes,
    pod_groups,
    policy,
    presence,
    reaching,
    stuck,
)
from spoke.apply import LOST, Reconciler
from spoke.binding import Binder
from spoke.claim_writing import ClaimWriter
from spoke.claims import UNREAD as DEVICES_UNREAD
from spoke.claims import Claims
from spoke.cluster.backoff import Backoff
from spoke.cluster.port import ClusterError, ClusterPort, Object, Selection, Unavailable
from spoke.crew import Crew
from spoke.dependencies import SIZED
from spoke.device_book import DeviceBook
from spoke.distribution import caring
from spoke.distribution.caring import Caring
from spoke.entry import Desired, Entry
from spoke.gpus import book
from spoke.gpus.dcgm import Reading
from spoke.gpus.health import GpuHealth
from spoke.gpus.memory import Memory
from spoke.gpus.meter import Meter
from spoke.handing_back import HandingBack
from spoke.heartbeats import Heartbeats
from spoke.holding import Holding, brings_claims
from spoke.ingest import POD_KIND, Ingest, Unowned
from spoke.inventory import Inventory
from spoke.jobs import Job, Jobs, key_of
from spoke.kept_logs import KeptLogs
from spoke.kind_files import KindFiles
from spoke.ledger import Ledger
from spoke.log_keeping import LogKeeper
from spoke.lost_nodes import LostNodes
from spoke.nodes import Levels
from spoke.pods import JOB_LABEL
from spoke.policy import Guard
from spoke.presence import Presence
from spoke.reaching import Reached, TunnelRefused
from spoke.schedule import Scheduler
from spoke.staging.port import NoStager, Stager
from spoke.staging.staging import Staging
from spoke.stall_watch import StallWatch
from spoke.status import Reporter
from spoke.stuck import Stuck
from spoke.summaries import INTERVAL_S, Summaries
from spoke.volume_claims import FLUID, VolumeClaims
from spoke.watch import Sink, follow
from wire.distribution import DistributionAck, DistributionOrder, DistributionRef, DistributionReport
from wire.orders import (
    ENDPOINTS,
    EVENTS,
    Command,
    CommandAck,
    DataFound,
    JobRef,
    LogLines,
    LogQuery,
    Report,
    ReportAck,
    Scale,
    Start,
)
from wire.tunnels import Process, TunnelQuery
from wire.usage import Usage

log = logging.getLogger(__name__)

_LOOK_AT_KINDS_S = 30.0
# What selectors refuse, the summary does not tell: the hub, which counts devices, would ask in vain each second.
_CLAIMS_AGAIN_S = 30.0
_CLAIM = ("v1", "PersistentVolumeClaim")
_COMMANDS_AT_A_TIME = 16  # placed before others get their turn


class Agent:
    """An AgentSide. `start` returns once the cluster has been read; commands wait until then."""

    def __init__(
        self,
        port: ClusterPort,
        ledger: Ledger,
        catalogue: Catalogue,
        levels: Levels,
        *,
        clock: Callable[[], datetime],
        rng: Random,
        owner: str,
        keep_finished_s: float = 3600.0,
        lost_after_s: float = 15.0,
        with_nodes: heartbeats.Patience = heartbeats.PATIENCE,
        with_starts: stuck.Patience = stuck.PATIENCE,
        look_at_nodes_s: float = lost_nodes.INTERVAL_S,
        stager: Stager | None = None,
        tells_claims: bool = True,
        kept_logs: KeptLogs | None = None,
        with_gpus: book.Patience = book.PATIENCE,
        gpu_memory: Memory | None = None,
        guard: Guard | None = None,
        local_gpus: tuple[str, Callable[[], Sequence[Reading]]] | None = None,
        kind_files: KindFiles | None = None,
        with_distributions: caring.Patience = caring.PATIENCE,
    ) -> None:
        """`lost_after_s`: how long the hub must have had nothing to command before what it has here and this ledger
        does not know counts as lost. It resends right after its welcome what was not acknowledged. `with_…`: its
        patience with them. `tells_claims`: not where claims come into being as they are mounted."""
        self._port = port
        self._ledger = ledger
        self._catalogue = catalogue
        self._kind_files = kind_files or KindFiles(catalogue)
        self._guard = guard or Guard(policy.default(catalogue), catalogue)
        self._clock = clock
        self._rng = rng
        self._owner = owner
        self._keep_finished = timedelta(seconds=keep_finished_s)
        self._lost_after_s = lost_after_s
        self._unheard_of: set[JobRef] = set()  # what the hub has here, and neither the ledger nor a command told of
        self._commanding = 0
        self._commanded = asyncio.Event()
        self._looking_for_lost: asyncio.Task[None] | None = None
        self.crew = Crew()
        self._jobs = Jobs()
        self._inventory = Inventory(levels)
        self._binder = Binder(port, ledger, self._inventory, self.crew, rng, clock)
        self._devices = DeviceBook()
        self._binder.claims = ClaimWriter(port, self._devices, rng)
        self._reporter = Reporter(self._jobs, ledger, clock)
        self._lost_nodes = LostNodes(
            port, self._inventory, self._jobs, Heartbeats(with_nodes), clock=_loop_time, interval_s=look_at_nodes_s
        )
        self._gpus = GpuHealth(
            self._inventory, self._devices, clock=_loop_time, wall=clock, memory=gpu_memory, patience=with_gpus
        )
        self._handing_back = HandingBack(port, ledger, self._jobs, self._reporter, self.crew, self._lost_nodes.why)
        self._staging = Staging(stager or NoStager(), self._reporter, self.crew, rng)
        self._reconciler = Reconciler(
            port,
            ledger,
            self._jobs,
            self._reporter,
            self.crew,
            rng,
            owner,
            self._kinds_here,
            lambda node: bool(self._lost_nodes.why(node)),
            self._staging,
        )
        self._presence = Presence(port, catalogue, self._guard)
        self._stuck = Stuck(port, self._jobs, catalogue, clock=clock, patience=with_starts)
        self._scheduler = Scheduler(self._jobs, self._inventory, self._binder, self._reporter.poke)
        self._scheduler.claims = Claims(self._devices, self._inventory)
        self._holding = Holding(self._scheduler, self._inventory, ledger, self._jobs, self.crew, catalogue)
        self._summaries = Summaries(self._inventory, self._jobs, clock, self._gpus.unusable, self._guard.rules.jobs)
        self._ingest = Ingest(
            self._inventory,
            self._jobs,
            catalogue.find("v1", "Pod"),
            catalogue.find(podgroups.API_VERSION, podgroups.KIND),
        )
        self._claims = VolumeClaims()
        self._tells_claims = tells_claims
        self._kept_logs = kept_logs
        self._log_keeper = LogKeeper(port, kept_logs, self.crew) if kept_logs is not None else None
        self._kinds: frozenset[str] = frozenset()
        self._meter = Meter(port, self._jobs, self._gpus, lambda: self._kinds, clock=_loop_time, local=local_gpus)
        self._caring = Caring(
            port, ledger, self._guard, self.crew, rng, owner, clock=_loop_time, patience=with_distributions
        )
        self._stall_watch = StallWatch(port, self._jobs, self._meter.busy, clock=clock)
        self._watched: set[str] = set()
        self._live: frozenset[JobRef] | None = None  # what the hub has here, once it has said so
        self._ready = asyncio.Event()
        self._connect_parts()

    def _connect_parts(self) -> None:
        self._binder.poke = self._scheduler.poke
        self._binder.changed = self._reporter.poke
        self._reporter.ended = self._ended
        self._reporter.in_doubt = self._lost_nodes.in_doubt
        self._lost_nodes.looked = self._nodes_looked_at
        self._handing_back.handed_back = self._wake
        self._handing_back.why_sick = self._gpus.why
        self._gpus.changed = self._gpus_changed
        self._ingest.nodes_reset = self._gpus.nodes_reset
        self._ingest.node_told = self._gpus.node
        self._ingest.node_gone = self._gpus.node_gone
        self._staging.staged = self._reconciler.poke
        self._staging.failed = self._handing_back.without_data
        self._reconciler.not_here = self._handing_back.without_data
        self._reconciler.forbidden = self._forbidden
        self._stuck.changed = self._reporter.poke
        self._stall_watch.changed = self._reporter.poke
        self._stall_watch.restart = self._handing_back.stalled
        self._stuck.without_room = self._handing_back.without_room
        self._ingest.pods_told = self._pods_told
        self._ingest.nodes_gone = self._nodes_gone
        self._ingest.schedule = self._scheduler.poke
        self._ingest.report = self._reporter.poke
        self._ingest.reconcile = self._reconciler.poke
        self._ingest.room = self._scheduler.room_may_have_grown
        self._ingest.inventory_changed = self._summaries.touch
        self._ingest.unowned_found = self._unowned
        if self._log_keeper is not None:
            self._reconciler.before_deletion = self._log_keeper.before_deletion
        self._reconciler.kept_size = lambda job: self._scheduler.poke(job.ref.job)
        self._devices.put = self._inventory.put_stock
        self._devices.told = self._devices_told
        self._devices.awaited_came = self._inventory.wake_waiting

    # ---- life ----

    async def start(self) -> None:
        entries = await self._ledger.entries()
        for entry in entries:
            self._jobs.put(entry)
        await self._read_cluster()
        self._pick_up(entries)
        self._ready.set()
        self._handing_back.look_at_all()  # nodes may have gone while nobody watched
        if self._live is not None:
            await self._remove_orphans(self._live)
        self.crew.spawn(self._scheduler.run(), "scheduling", vital=True)
        self.crew.spawn(self._reporter.run(), "reporting", vital=True)
        self.crew.spawn(self._summaries.run(), "summing up", vital=True)
        self.crew.spawn(self._lost_nodes.run(), "looking after nodes", vital=True)
        self.crew.spawn(self._gpus.run(), "looking after GPUs", vital=True)
        self.crew.spawn(self._meter.run(), "measuring GPUs", vital=True)
        self.crew.spawn(self._stall_watch.run(), "looking for jobs that stand still", vital=True)
        self.crew.spawn(self._stuck.run(), "looking at what does not start", vital=True)
        self.crew.spawn(self._look_at_kinds(), "looking for new kinds")
        await self._caring.start()
        log.info("the cluster is read: %d nodes, %d jobs", len(self._inventory.actual_nodes()), len(self._jobs))

    @property
    def cluster_read(self) -> bool:
        return self._ready.is_set()

    async def run(self) -> None:
        """Until something fails that ends the agent; raises it."""
        await self.crew.broken()

    async def close(self) -> None:
        await self.crew.close()

    async def _read_cluster(self) -> None:
        sinks = [
            self._watch(Selection("v1", "Node"), self._ingest.nodes()),
            self._watch(Selection("v1", "Pod"), self._ingest.pods()),
            *await self._watch_kinds(),
        ]
        for sink in sinks:
            await sink.synced.wait()

    async def _watch_kinds(self) -> list[Sink]:
        """Begins to watch every kind of workload, and devices and their claims, served and not watched yet."""
        backoff = Backoff(self._rng)
        while True:
            try:
                self._kinds = pod_groups.served(await self._port.kinds())
                break
            except Unavailable as error:
                log.warning("the cluster does not say what it serves: %s", error)
                await backoff.wait()
        self._summaries.served(self._kinds)
        # Nobody waits for them: a cluster that does not show its claims runs jobs all the same.
        for (api_version, kind), sink in ((_CLAIM, self._claims.claims), (FLUID, self._claims.fluid)):
            name = f"{api_version}/{kind}"
            if self._tells_claims and name in self._kinds and name not in self._watched:
                self._watched.add(name)
                self._watch(Selection(api_version, kind), sink())
        self._watch_events()
        new = [kind for kind in self._catalogue.kinds if self._is_to_watch(kind)]
        self._watched |= {kind.resource_kind for kind in new}
        return [
            self._watch(Selection(kind.api_version, kind.kind, "", JOB_LABEL), self._ingest.workloads(kind))
            for kind in new
        ] + self._watch_devices()

    def _watch_events(self) -> None:
        """About nodes: nobody waits for them."""
        if "v1/Event" in self._kinds and "v1/Event" not in self._watched:
            self._watched.add("v1/Event")
            about_nodes = Selection("v1", "Event", field_selector="involvedObject.kind=Node")
            self._watch(about_nodes, self._gpus.events())

    def _watch_devices(self) -> list[Sink]:
        if not DeviceBook.is_served(self._kinds) or claim_facts.API_VERSION in self._watched:
            return []
        self._watched.add(claim_facts.API_VERSION)
        return [self._watch(selection, sink) for selection, sink in self._devices.sinks()]

    def _is_to_watch(self, kind: Kind) -> bool:
        name = kind.resource_kind
        # All pods are watched anyway.
        return name in self._kinds and name not in self._watched and name != POD_KIND and pod_groups.is_watched(kind)

    def _watch(self, selection: Selection, sink: Sink) -> Sink:
        self.crew.spawn(follow(self._port, selection, sink), f"watching {selection.kind}")
        return sink

    async def _look_at_kinds(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AT_KINDS_S)
            try:
                await self._watch_kinds()
            except ClusterError as error:
                log.warning("the cluster does not say what it serves: %s", error)

    def _pick_up(self, entries: Sequence[Entry]) -> None:
        """What was under way when the agent ended: first gangs that are half bound, then promises, then the rest."""
        for entry in entries:
            job = self._jobs.of(entry.ref)
            if job is not None and entry.bound:
                job.whole_parts |= {gangs.part_of(job, pod) for pod in job.pods.values() if pod.alive}
            if job is not None and job.runs and entry.assignment and not entry.bound:
                self._scheduler.resume(job, entry.assignment)
        for entry in entries:
            job = self._jobs.of(entry.ref)
            if job is not None and job.runs and not job.pods:
                self._holding.again(entry)
        for entry in entries:
            job = self._jobs.of(entry.ref)
            if job is not None and job.runs and not job.created and (why := self._forbidden_now(entry)):
                self._handing_back.without_data(job, why)
        for entry in entries:
            self._wake(entry.ref.job)
            job = self._jobs.of(entry.ref)
            if job is not None and job.outcome is not None and entry.report is not None:
                self._retire_at(job.ref, entry.report.at + self._keep_finished)

    def _forbidden(self, job: Job, objects: Sequence[Object]) -> str:
        return self._guard.of_start(job.ref, Start(tuple(objects), job.workload)) if job.workload is not None else ""

    def _forbidden_now(self, entry: Entry) -> str:
        """Accepted under another policy, and not made yet."""
        if entry.start is None or entry.workload is None:
            return ""
        start = entry.start
        return self._guard.of_start(entry.ref, Start(entry.objects, start.workload, start.spot, start.moves))

    def _wake(self, name: str) -> None:
        self._reconciler.poke(name)
        self._scheduler.poke(name)
        self._reporter.poke(name)

    # ---- AgentSide ----

    async def welcomed(self, live: Sequence[JobRef], lease_s: float) -> None:
        # Not waited for here: while the cluster cannot be read, the hub should hear heartbeats all the same.
        self._live = frozenset(live)
        self._unheard_of = set(self._ledger.unknown(live))
        if self._looking_for_lost is not None:
            self._looking_for_lost.cancel()
        if self._unheard_of:
            self._looking_for_lost = self.crew.spawn(self._look_for_lost(), "looking for lost jobs")
        if self._ready.is_set():
            await self._remove_orphans(self._live)

    def kinds_told(self, files: Mapping[str, str]) -> None:
        if self._kind_files.told(files):
            self.crew.spawn(self._watch_told_kinds(), "watching kinds that the hub told")

    async def _watch_told_kinds(self) -> None:
        await self._ready.wait()
        try:
            await self._watch_kinds()
        except ClusterError as error:
            log.warning("the cluster does not say what it serves: %s", error)

    async def commanded(self, commands: Sequence[Command]) -> Sequence[CommandAck]:
        self._commanding += 1
        try:
            await self._ready.wait()
            return await self._obey(commands)
        finally:
            self._commanding -= 1
            self._commanded.set()

    async def _obey(self, commands: Sequence[Command]) -> Sequence[CommandAck]:
        self._unheard_of.difference_update(command.ref for command in commands)
        refused: dict[int, CommandAck] = {}
        lacking = await self._presence.of_starts(
            {one.id: one.order for one in commands if isinstance(one.order, Start) and self._is_new(one.ref)}
        )
        for number, command in enumerate(commands):
            if number % _COMMANDS_AT_A_TIME == _COMMANDS_AT_A_TIME - 1:
                await asyncio.sleep(0)
            if isinstance(command.order, Start | Scale) and (
                refusal := self._checked(command, command.order, lacking.get(command.id, ""))
            ):
                refused[command.id] = refusal
        accepted = [command for command in commands if command.id not in refused]
        acks = await self._ledger.accept(accepted, self._first_seq())
        entries = {entry.ref.job: entry for entry in await self._ledger.entries()}
        for ack in acks:
            entry = entries.get(ack.ref.job)
            if entry is not None and entry.ref == ack.ref and not ack.refused_code:
                self._accepted(entry)
            elif self._jobs.of(ack.ref) is None:
                self._inventory.release(ack.ref)
        answers = {ack.id: ack for ack in acks} | refused
        if refused:
            # Not before the hub has the refusal: it notes the summary that it knows then.
            asked = [command.order for command in commands if command.id in refused]
            by_number = any(isinstance(order, Start) and not brings_claims(order) for order in asked)
            after_s = INTERVAL_S if by_number else _CLAIMS_AGAIN_S
            asyncio.get_running_loop().call_later(after_s, self._summaries.say_again)
        return [answers[command.id] for command in commands]

    async def reports_acked(self, acks: Sequence[ReportAck]) -> None:
        await self._reporter.acknowledged(acks)
        for ack in acks:
            job = self._jobs.of(ack.ref)
            if job is not None and job.stopped and await self._is_told(job):
                if job.hand_back is not None:
                    self._summaries.say_again()  # it may be a refusal: the hub waits for news before it asks again
                await self._forget(job)

    async def unacked_reports(self) -> Sequence[Report]:
        return await self._reporter.unacked()

    async def wait_for_reports(self) -> Sequence[Report]:
        return await self._reporter.wait()

    async def wait_for_summary(self, after_revision: int) -> Summary:
        return await self._summaries.wait(after_revision)

    async def wait_for_data(self, after_revision: int) -> tuple[int, Sequence[DataFound]]:
        return await self._claims.wait(after_revision)

    def logs(self, query: LogQuery) -> AsyncIterator[LogLines]:
        known = self._jobs.of(query.ref)
        namespace = known.key.namespace if known is not None and known.key is not None else ""
        if forbidden := self._guard.of_access("events" if query.of in (EVENTS, ENDPOINTS) else "logs", namespace):
            raise KeyError(forbidden)
        kept = self._kept_logs
        if query.of == EVENTS:
            return job_events.of_job(self._port, lambda: self._jobs.of(query.ref), query)
        if query.of == ENDPOINTS:
            return endpoints.of_job(self._port, lambda: self._jobs.of(query.ref))
        if known is None and (kept is None or not kept.has(query.ref)):
            raise KeyError(f"job {query.ref.job} is not in this cluster, and nothing of its logs is kept")
        return logs.of_job(self._port, lambda: self._jobs.of(query.ref), kept, query, self._rng)

    async def usage(self, refs: Collection[JobRef]) -> Usage:
        await self._ready.wait()
        return await self._meter.ask(refs)

    async def missing(self, names: Collection[ObjectName]) -> frozenset[ObjectName]:
        await self._ready.wait()
        return await self._presence.missing(names)

    async def reach(self, query: TunnelQuery) -> Reached:
        await self._ready.wait()
        job = self._jobs.of(query.ref)
        namespace = job.workload.namespace if job is not None and job.workload is not None else ""
        if forbidden := self._guard.of_access("exec" if isinstance(query.to, Process) else "port-forward", namespace):
            raise TunnelRefused("forbidden-here", forbidden)
        return await reaching.reach(self._port, lambda: self._jobs.of(query.ref), query)

    async def distributed(
        self, orders: Sequence[DistributionOrder], standing: Collection[DistributionRef] | None
    ) -> Sequence[DistributionAck]:
        await self._ready.wait()
        return await self._caring.ordered(orders, standing)

    def distribution_reports(self) -> Sequence[DistributionReport]:
        return self._caring.reports()

    async def wait_for_distribution_reports(self) -> Sequence[DistributionReport]:
        return await self._caring.wait_for_reports()

    async def removed(self) -> None:
        await self._ready.wait()
        for job in list(self._jobs):
            if job.stopped:
                await self._forget(job)
            else:
                self._silence(job)
        await self._jobs.until_empty()
        await self._caring.removed()

    # ---- inside ----

    async def _remove_orphans(self, live: frozenset[JobRef]) -> None:
        for ref in await self._ledger.orphans(live):
            job = self._jobs.of(ref)
            # One that ended keeps its pods for their logs, until it is retired.
            if job is not None and job.outcome is None and not job.stopped:
                log.info("%s is no job of the hub's any more and is removed", ref)
                self._silence(job)
        for found in self._ingest.unowned:
            self._unowned(found)

    async def _look_for_lost(self) -> None:
        """What the hub has here, and would not start again: without its entry it would hold its place for ever."""
        await self._ready.wait()
        while True:
            self._commanded.clear()
            try:
                async with asyncio.timeout(self._lost_after_s):
                    await self._commanded.wait()
            except TimeoutError:
                if not self._commanding:
                    break
        for entry in await self._ledger.note_lost(self._unheard_of, LOST, self._first_seq()):
            log.warning("%s was lost from the ledger; what is left of it is removed, and it is refused", entry.ref)
            self._accepted(entry)

    def _first_seq(self) -> int:
        """Of reports of what is not known here: beyond whatever a ledger that was lost had given out."""
        return int(self._clock().timestamp() * 1000)

    def _kinds_here(self) -> list[Kind]:
        """Those of which there may be objects."""
        return [k for k in self._catalogue.kinds if k.resource_kind in self._kinds and pod_groups.is_watched(k)]

    def _is_new(self, ref: JobRef) -> bool:
        """Otherwise it was sent again, or is too old: the ledger knows what to answer."""
        known = self._jobs.get(ref.job)
        return known is None or known.ref.epoch < ref.epoch

    def _checked(self, command: Command, order: Start | Scale, lacking: str) -> CommandAck | None:
        try:
            if isinstance(order, Scale):
                return self._why_no_more(command, order)
            return self._why_not(command, order, lacking)
        except Exception as error:  # it would come again on the next stream, and end that too
            log.exception("%s cannot be decided on", command.ref)
            message = f"this spoke cannot read it ({type(error).__name__}: {error}); is it older than its hub?"
            return CommandAck(command.id, command.ref, "no-room", message)  # others may read it

    def _why_not(self, command: Command, start: Start, lacking: str) -> CommandAck | None:
        if not self._is_new(command.ref):
            return None
        if start.workload.resource_kind not in self._kinds:
            message = f"the cluster does not serve {start.workload.resource_kind}"
            return CommandAck(command.id, command.ref, "invalid", message)
        if forbidden := self._guard.of_start(command.ref, start):
            log.warning("%s is refused: %s", command.ref, forbidden)
            return CommandAck(command.id, command.ref, policy.POLICY, forbidden)
        if lacking:
            return CommandAck(command.id, command.ref, presence.MISSING, lacking)
        if not self._devices.is_read and claims.any_named(start.workload):
            return CommandAck(command.id, command.ref, "no-room", DEVICES_UNREAD)
        if shortfall := self._holding.hold(command.ref, start):
            return CommandAck(command.id, command.ref, "no-room", shortfall)
        return None

    def _why_no_more(self, command: Command, scale: Scale) -> CommandAck | None:
        """Of the pods that a job is to get besides those that it has."""
        job = self._jobs.of(command.ref)
        if job is None or job.workload is None or scale.revision <= job.size:
            return None  # the ledger knows what to answer
        unknown = scale.pods.keys() - {role.name for role in job.workload.roles}
        if unknown:
            return CommandAck(command.id, command.ref, "invalid", f"it has no role called {', '.join(sorted(unknown))}")
        for key in map(key_of, scale.objects):
            if key.kind not in SIZED or key not in job.dependencies:
                message = f"{key.kind} {key.namespace}/{key.name} does not follow its size"
                return CommandAck(command.id, command.ref, "invalid", message)
        if shortfall := self._holding.more(job, sizes.with_pods(job.workload, scale.pods)):
            return CommandAck(command.id, command.ref, "invalid", shortfall)
        return None

    def _accepted(self, entry: Entry) -> None:
        known = self._jobs.get(entry.ref.job)
        if known is not None and known.ref != entry.ref:
            self._inventory.release(known.ref)
            self._binder.forget(known.ref)
            self._staging.replaced(known)
        job = self._jobs.put(entry)
        if known is not job:
            self._ingest.adopt(job)
        if entry.desired is Desired.STOP and job.stopped:
            job.stopped = False  # asked again: say it again
        if job.size != job.size_written:
            self._summaries.touch()
        self._wake(entry.ref.job)
        for found in self._ingest.unowned:
            if found.ref.job == entry.ref.job:
                self._unowned(found)

    def _unowned(self, found: Unowned) -> None:
        """Removes it where it is of an earlier attempt, or of our own making and of no job of the hub's."""
        known = self._jobs.get(found.ref.job)
        is_old = known is not None and known.ref.epoch > found.ref.epoch
        is_lost = (
            known is None and found.maker == self._owner and self._live is not None and found.ref not in self._live
        )
        if is_old or is_lost:
            key = found.key
            log.info("%s %s/%s is left over from %s and is removed", key.kind, key.namespace, key.name, found.ref)
            self.crew.spawn(self._reconciler.delete_stray(key, found.uid), f"removing what is left of {found.ref}")

    def _pods_told(self, job: Job) -> None:
        if self._ready.is_set():  # before that a node may merely not have been read yet
            self._handing_back.look(job)
            if self._log_keeper is not None:
                self._log_keeper.poke(job)

    def _nodes_gone(self) -> None:
        if self._ready.is_set():
            self._handing_back.look_at_all()
            self._holding.look_at_all()

    def _nodes_looked_at(self, changed: bool) -> None:
        """Pods that could not be deleted are tried again at each look; what is being stopped only where it may help."""
        self._handing_back.look_at_all()
        if changed:
            self._holding.look_at_all()
            self._summaries.touch()
            self._scheduler.room_may_have_grown()
            for job in self._jobs:
                if not job.runs:
                    self._reconciler.poke(job.ref.job)

    def _gpus_changed(self) -> None:
        if self._ready.is_set():
            self._nodes_looked_at(True)

    def _devices_told(self) -> None:
        self._ingest.tell_inventory()
        if self._ready.is_set():
            self._handing_back.look_at_all()  # a device may have been tainted under a job

    def _silence(self, job: Job) -> None:
        job.silent = True
        self._wake(job.ref.job)

    def _ended(self, job: Job) -> None:
        self._scheduler.poke(job.ref.job)
        self._reconciler.poke(job.ref.job)
        self._summaries.touch()
        self._retire_at(job.ref, self._clock() + self._keep_finished)

    def _retire_at(self, ref: JobRef, at: datetime) -> None:
        delay_s = max((at - self._clock()).total_seconds(), 0.0)
        loop = asyncio.get_running_loop()
        loop.call_later(delay_s, lambda: self.crew.spawn(self._retire(ref), f"retiring {ref}"))

    async def _retire(self, ref: JobRef) -> None:
        """Removes a job that ended some time ago, once the hub knows how it ended."""
        job = self._jobs.of(ref)
        if job is None or job.stopped or job.desired is not Desired.START:
            return
        if await self._is_told(job):
            self._silence(job)
        else:
            self._retire_at(ref, self._clock() + self._keep_finished)

    async def _is_told(self, job: Job) -> bool:
        entry = await self._ledger.entry(job.ref.job)
        return entry is not None and entry.ref == job.ref and not entry.unacked

    async def _forget(self, job: Job) -> None:
        await self._ledger.forget(job.ref)
        self._jobs.drop(job.ref)
        self._binder.forget(job.ref)
        self._scheduler.poke(job.ref.job)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
