"""A whole hub in one process without doors: store, services and loops on a temporary file, a clock that tests move,
and spokes that are values in memory. The planner is the real one; restarting means opening the same file anew."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from hub import admission
from hub.access import Access
from hub.clusters import Clusters
from hub.costs import Costs
from hub.datasets import Datasets
from hub.federation import Federation
from hub.jobs import Jobs
from hub.link.directory import NotConnected
from hub.link.tunnel_failed import TunnelFailed
from hub.loops.backlog import Backlog
from hub.loops.dividing import DividingLoop
from hub.loops.health import HealthLoop
from hub.loops.placing import PlacingLoop, Planning
from hub.loops.resume import Copies, resume
from hub.overriding import Overriding
from hub.pki import RequestRefused, SignedCertificate
from hub.presence import Presence
from hub.prices import Prices
from hub.queues import Queues
from hub.records import Actor, Object, UserRole
from hub.store import leadership
from hub.store.dialect import is_sqlite, open_unpooled
from hub.store.leadership import Candidate
from hub.store.store import Store
from hub.uplink import Uplink
from placement import invariants, planner
from placement.data import DataPlace
from placement.inventory import DeviceClass, DeviceForm, Gpu, Node, Summary
from placement.kinds import reader
from placement.kinds import render as real_render
from placement.kinds.catalogue import Catalogue
from placement.kinds.problems import ManifestError, Problem
from placement.lifecycle import Event
from placement.overrides.variants import Judge
from placement.presence import ObjectName
from placement.queues.tree import Queue, QueueTree
from placement.resources import Resources
from placement.safety.tenants import Tenant, Tenants
from placement.summary import summarise
from placement.workload import (
    DataUse,
    DeviceNeed,
    Hints,
    IfTooLarge,
    Role,
    Sizes,
    TopologyMode,
    TopologyRequest,
    Workload,
)
from wire import capabilities
from wire.orders import CommandAck, JobRef, LogLines, LogQuery, PodPlace, Report, RoleCount, Scale, Start
from wire.tunnels import Closed, Piece, Tunnel, TunnelQuery

KIND = "batch/v1/Job"
CATALOGUE = Catalogue.builtin()
START_OF_TIME = datetime(2026, 1, 1, tzinfo=UTC)
ADMIN = Actor("root", "ops", UserRole.ADMIN)
ANN = Actor("ann", "red", UserRole.SUBMITTER)
BOB = Actor("bob", "blue", UserRole.SUBMITTER)
# They were given every namespace, and meet in `default`, so that what is not about tenants need not think of them.
SHARING = Tenants({name: Tenant(name, ("default", "*")) for name in ("red", "blue", "ops", "team-b")})
EVE = Actor("eve", "red", UserRole.VIEWER)


class Clock:
    def __init__(self, now: datetime = START_OF_TIME) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


# ---- manifests: one JSON object per line ----


def manifest(
    name: str,
    gpus: int = 1,
    pods: int = 1,
    prefers: str = "",
    data: Sequence[str] = (),
    sizes: tuple[int, int] | None = None,
    **hints: object,
) -> bytes:
    """`sizes`: the least and the most pods of an elastic one."""
    asked = {"name": name, "gpus": gpus, "pods": pods, "prefers": prefers, "hints": hints, "data": data}
    return json.dumps(asked | ({"sizes": sizes} if sizes else {})).encode()


@dataclass(frozen=True)
class Read:
    workload: Workload
    manifest: Object
    dependencies: tuple[Object, ...] = ()


def read(text: bytes, *, namespace: str) -> tuple[Read, ...]:
    try:
        rows = [json.loads(line) for line in text.splitlines()]
    except ValueError as error:
        raise ManifestError([Problem(1, "", str(error), "write JSON")]) from error
    return tuple(Read(workload(namespace=namespace, **row), {"kind": "Job", "name": row["name"]}) for row in rows)


def workload(
    name: str = "train",
    gpus: int = 1,
    pods: int = 1,
    namespace: str = "default",
    prefers: str = "",
    hints: Mapping[str, object] = {},
    data: Sequence[str] = (),
    sizes: Sequence[int] = (),
) -> Workload:
    asked = dict(hints)
    if "if_too_large" in asked:
        asked["if_too_large"] = IfTooLarge(str(asked["if_too_large"]))
    role = Role(
        "worker",
        pods,
        sizes[0] if sizes else pods,
        Resources({"cpu": 1000, "nvidia.com/gpu": gpus}),
        (DeviceNeed("nvidia.com/gpu", gpus),) if gpus else (),
        maximum=sizes[1] if sizes else None,
        sizes=Sizes(*sizes) if sizes else None,
    )
    near = TopologyRequest(prefers, TopologyMode.PREFERRED) if prefers else None
    return Workload(
        "batch/v1",
        "Job",
        name,
        namespace,
        (role,),
        role.minimum,
        near,
        hints=Hints(**asked),  # type: ignore[arg-type]
        data=tuple(DataUse(one.removesuffix(" checkpoint"), one.endswith(" checkpoint")) for one in data),
    )


def render(
    objects: Sequence[Object],
    *,
    job: str,
    epoch: int,
    data: Sequence[DataPlace] = (),
    pods: Mapping[str, int] | None = None,
) -> Sequence[Object]:
    if any("unrenderable" in str(obj["name"]) for obj in objects):
        raise ValueError("no pod template")
    return [{**obj, "labels": {"muster.dev/job": job, "muster.dev/epoch": str(epoch)}, "data": data} for obj in objects]


# ---- the hub ----


class FakeAuthority:
    ca_pem = b"CA"
    ca_fingerprint = "f" * 64

    def __init__(self) -> None:
        self.serials = 0

    def sign_spoke(self, csr_pem: bytes, cluster: str, now: datetime) -> SignedCertificate:
        if csr_pem != b"CSR":
            raise RequestRefused("not a signing request")
        self.serials += 1
        return SignedCertificate(f"{cluster} #{self.serials}".encode(), f"{self.serials}", now + timedelta(hours=24))


class FakeTunnel(Tunnel):
    """Takes everything and says nothing."""

    pod = "p-0"

    def __init__(self) -> None:
        super().__init__(self._drop, lambda amount: None)

    async def _drop(self, piece: Piece) -> None: ...

    async def resize(self, columns: int, rows: int) -> None: ...


@dataclass
class FakeStreams:
    closed: list[tuple[str, str]] = field(default_factory=list)
    logs: dict[str, list[LogLines]] = field(default_factory=dict)
    asked: list[tuple[str, LogQuery]] = field(default_factory=list)

    abilities: frozenset[str] = capabilities.OURS
    tunnels: dict[str, FakeTunnel | Closed] = field(default_factory=dict)
    tunnels_asked: list[tuple[str, TunnelQuery]] = field(default_factory=list)
    absent: dict[str, frozenset[ObjectName]] = field(default_factory=dict)  # by cluster that answers
    names_asked: list[tuple[str, tuple[ObjectName, ...]]] = field(default_factory=list)

    def can(self, cluster: str, capability: str) -> bool:
        if cluster not in self.logs and cluster not in self.tunnels:
            raise NotConnected(cluster)
        return capability in self.abilities

    async def open_tunnel(self, cluster: str, query: TunnelQuery) -> FakeTunnel:
        self.tunnels_asked.append((cluster, query))
        found = self.tunnels[cluster]
        if isinstance(found, Closed):
            raise TunnelFailed(found)
        return found

    def close(self, cluster: str, code: str, message: str) -> None:
        self.closed.append((cluster, code))

    def connected(self, cluster: str) -> bool:
        return cluster in self.absent

    async def missing(self, cluster: str, names: Sequence[ObjectName]) -> frozenset[ObjectName]:
        self.names_asked.append((cluster, tuple(names)))
        return frozenset(names) & self.absent[cluster]

    def open_logs(self, cluster: str, query: LogQuery) -> AsyncGenerator[LogLines, None]:
        if cluster not in self.logs:
            raise NotConnected(cluster)
        self.asked.append((cluster, query))
        return self._lines(cluster)

    async def _lines(self, cluster: str) -> AsyncGenerator[LogLines, None]:
        for lines in self.logs[cluster]:
            yield lines


@dataclass
class Hub:
    store: Store
    clock: Clock
    copies: Copies
    jobs: Jobs
    clusters: Clusters
    access: Access
    prices: Prices
    queues: Queues
    costs: Costs
    datasets: Datasets
    uplink: Uplink
    placing: PlacingLoop
    dividing: DividingLoop
    health: HealthLoop
    streams: FakeStreams
    overriding: Overriding
    presence: Presence

    @property
    def federation(self) -> Federation:
        return self.copies.federation


def overriding(federation: Federation, backlog: Backlog) -> Overriding:
    def judge(tenant: str) -> Judge:
        policy = federation.tenants.of(tenant).policy
        return Judge(CATALOGUE, lambda one: admission.footprint_of(one, CATALOGUE), policy)

    return Overriding(federation, backlog, judge)


def a_store(database: str) -> Store:
    """Where replicas could share the database, one that has just taken over from whoever led."""
    if is_sqlite(database):
        return Store(database)
    engine = open_unpooled(database)
    seen, _ = leadership.look(engine)
    return Store(database, term=leadership.take(engine, seen, Candidate("test", "", 10.0)))


def read_manifests(text: bytes, *, namespace: str) -> Sequence[reader.Submission]:
    return reader.read(text, CATALOGUE, namespace=namespace)


def render_manifests(
    objects: Sequence[Object],
    *,
    job: str,
    epoch: int,
    data: Sequence[DataPlace] = (),
    pods: Mapping[str, int] | None = None,
) -> Sequence[Object]:
    return real_render.render(objects, CATALOGUE, job=job, epoch=epoch, data=data, pods=pods)


async def open_hub(
    database: Path | str,
    clock: Clock,
    *,
    seed: int = 0,
    authority: FakeAuthority | None = None,
    manifests: bool = False,
) -> Hub:
    """`database`: a URL, or SQLite's file. `manifests`: it reads and renders Kubernetes' own, and not those above."""
    store = a_store(database if isinstance(database, str) else f"sqlite:///{database}")
    await store.open()
    copies = Copies.empty(
        Federation(heartbeat_s=5, lease_s=60, queues=QueueTree.of([Queue("default"), Queue("research")]))
    )
    await resume(store, copies, clock)
    copies.federation.tenants = SHARING
    signer, streams = authority or FakeAuthority(), FakeStreams()
    clusters = Clusters(store, copies.federation, signer, streams, clock=clock)
    overrides = overriding(copies.federation, copies.backlog)
    presence = Presence(streams, copies.federation, copies.backlog, clock=clock)
    made_by = render_manifests if manifests else render
    planning = Planning(planner.Planner().plan, invariants.check, made_by, overrides, presence)
    return Hub(
        store,
        clock,
        copies,
        Jobs(
            store,
            copies.federation,
            copies.backlog,
            copies.feed,
            read_manifests if manifests else read,
            lambda submission, actor: admission.admit(submission, actor, copies.federation.tenants, CATALOGUE),
            planner.plan_fully,
            streams,
            overrides,
            render,
            presence,
            CATALOGUE,
            clock=clock,
            rng=Random(seed),
        ),
        clusters,
        Access(store, clock=clock),
        Prices(store, copies.federation),
        Queues(store, copies.federation, copies.backlog, clock=clock),
        Costs(store, clock=clock),
        Datasets(store, copies.federation),
        Uplink(store, copies.federation, copies.backlog, copies.outbox, clusters, b"CA", clock=clock),
        PlacingLoop(store, copies.federation, copies.backlog, planning, clock=clock),
        DividingLoop(
            store,
            copies.federation,
            copies.backlog,
            copies.wholes,
            CATALOGUE,
            clock=clock,
            rng=Random(seed + 1000),
        ),
        HealthLoop(store, copies.federation, clock=clock),
        streams,
        overrides,
        presence,
    )


@asynccontextmanager
async def a_hub(database: Path | str, clock: Clock | None = None, *, seed: int = 0) -> AsyncGenerator[Hub, None]:
    """`seed`: another one for a hub that goes on where one ended, or it makes the same ids again."""
    hub = await open_hub(database, clock or Clock(), seed=seed)
    try:
        yield hub
    finally:
        await hub.store.close()


# ---- a spoke ----


@dataclass
class Running:
    start: Start
    event: Event = Event.STARTING
    nodes: tuple[int, ...] = ()  # node index of each pod, once bound
    size: int = 0


def sized(workload: Workload, pods: int) -> Workload:
    return replace(workload, roles=(replace(workload.roles[0], replicas=pods),))


class FakeSpoke:
    """What a spoke keeps on disk (ledger, unacknowledged reports) and in its cluster. A restart loses nothing."""

    def __init__(self, name: str, nodes: int = 2, gpus: int = 8) -> None:
        self.name = name
        self.serial = ""
        self.nodes = nodes
        self.gpus = gpus
        self.taken_elsewhere = 0  # GPUs of each node that other schedulers' pods hold
        self.newest: dict[str, int] = {}
        self.live: dict[JobRef, Running] = {}
        self.seqs: dict[JobRef, int] = {}
        self.unacked: list[Report] = []
        self.started: list[JobRef] = []
        self.revision = 0
        self.invalid: set[str] = set()
        self.refuses = False  # whatever its summary says
        self.resizes = True
        self.clock = Clock()

    async def join(self, hub: Hub, **described: str) -> None:
        token = await hub.clusters.make_token(ADMIN, self.name, **described)
        joined = await hub.clusters.join(token, b"CSR")
        self.serial = joined.certificate_pem.decode().rpartition("#")[2]

    async def connect(self, hub: Hub) -> None:
        self.clock = hub.clock
        attached = await hub.uplink.attach(self.name, self.serial, "1.0", f"session of {self.name}")
        for orphan in set(self.live) - set(attached.live):
            del self.live[orphan]
        await self.send_summary(hub)
        await self.send_reports(hub)

    async def send_summary(self, hub: Hub) -> None:
        await hub.uplink.summary(self.name, self.summary())

    def summary(self) -> Summary:
        self.revision += 1
        free = self._free()
        bound = [(ref.job, ref.epoch) for ref, job in self.live.items() if job.nodes]
        found = summarise(
            [self._node(index, amount) for index, amount in enumerate(free)],
            {KIND, "apps/v1/Deployment"},
            revision=self.revision,
            counted=bound,
        )
        resized = frozenset((ref.job, ref.epoch, job.size) for ref, job in self.live.items() if job.size)
        return replace(found, resized=resized, resizes=self.resizes)

    def _free(self) -> list[int]:
        free = [self.gpus - self.taken_elsewhere] * self.nodes
        for job in self.live.values():
            for node in job.nodes:
                free[node] -= job.start.workload.roles[0].gpus_per_pod
        assert all(amount >= 0 for amount in free), "a GPU was given twice"
        return free

    def _node(self, index: int, free: int) -> Node:
        capacity = {"cpu": 64_000, "memory": 1 << 18, "pods": 110}
        return Node(
            name=f"n{index}",
            labels={"kubernetes.io/hostname": f"n{index}"},
            taints=(),
            capacity=Resources({**capacity, "nvidia.com/gpu": self.gpus}),
            free=Resources({**capacity, "nvidia.com/gpu": free}),
            devices=(DeviceClass("nvidia.com/gpu", "nvidia", "A100", 81920, DeviceForm.WHOLE),),
            gpus=tuple(Gpu(card, free=card < free) for card in range(self.gpus)),
            domains={"host": f"n{index}"},
        )

    async def obey(self, hub: Hub, *, acknowledge: bool = True) -> int:
        """Takes every pending command; with `acknowledge` False the answer is lost on the way."""
        commands = await hub.uplink.pending_commands(self.name)
        acks = [self._take(command.id, command.ref, command.order) for command in commands]
        if acks and acknowledge:
            await hub.uplink.acknowledged(self.name, acks)
        return len(acks)

    def _take(self, id_: int, ref: JobRef, order: object) -> CommandAck:
        if ref.epoch < self.newest.get(ref.job, 0):
            return CommandAck(id_, ref, "older-epoch", "")
        self.newest[ref.job] = ref.epoch
        if isinstance(order, Scale):
            return self._scale(id_, ref, order)
        if not isinstance(order, Start):
            # Always said, also of a job that has ended meanwhile or never began: the hub waits for it.
            self.live.pop(ref, None)
            self._report(ref, Event.STOPPED, "nothing of it is left")
            return CommandAck(id_, ref)
        if ref in self.seqs:  # started before, and perhaps over already
            return CommandAck(id_, ref)
        if order.workload.name in self.invalid:
            return CommandAck(id_, ref, "invalid", "spec.template is required")
        nodes = None if self.refuses else self._fit(order.workload)
        if nodes is None:
            return CommandAck(id_, ref, "no-room", "0 of 1 pods fit")
        self.started.append(ref)
        self.live[ref] = Running(order, nodes=nodes)
        self._report(ref, Event.STARTING, "pods are coming up")
        return CommandAck(id_, ref)

    def _scale(self, id_: int, ref: JobRef, scale: Scale) -> CommandAck:
        job = self.live.get(ref)
        if job is None:
            return CommandAck(id_, ref, "older-epoch", "it does not run here")
        (wanted,) = scale.pods.values()
        more = wanted - len(job.nodes)
        if scale.revision <= job.size:
            return CommandAck(id_, ref)
        added = self._fit(sized(job.start.workload, more)) if more > 0 else ()
        if added is None:
            return CommandAck(id_, ref, "invalid", f"0 of {more} pods fit")
        job.nodes, job.size = (*job.nodes, *added)[:wanted], scale.revision
        self._report(ref, job.event, "")
        return CommandAck(id_, ref)

    def _fit(self, wanted: Workload) -> tuple[int, ...] | None:
        free, per_pod, nodes = self._free(), wanted.roles[0].gpus_per_pod, []
        for _ in range(wanted.pods):
            node = next((index for index, amount in enumerate(free) if amount >= per_pod), None)
            if node is None:
                return None
            free[node] -= per_pod
            nodes.append(node)
        return tuple(nodes)

    def advance(self, ref: JobRef, event: Event) -> None:
        """A job of this cluster runs, succeeds or fails."""
        self._report(ref, event, event.value)
        if event in (Event.SUCCEED, Event.FAIL):
            self.live.pop(ref)
        else:
            self.live[ref].event = event

    def _report(self, ref: JobRef, event: Event, reason: str) -> None:
        self.seqs[ref] = self.seqs.get(ref, 0) + 1
        job = self.live.get(ref)
        pods = tuple(PodPlace(f"p{i}", "worker", f"n{n}", (0,)) for i, n in enumerate(job.nodes)) if job else ()
        counts = (RoleCount("worker", len(pods), 0, 0, len(pods)),) if pods else ()
        size = job.size if job else 0
        self.unacked.append(Report(ref, self.seqs[ref], event, reason, self.clock(), counts, pods, size=size))

    async def send_reports(self, hub: Hub, *, acknowledge: bool = True) -> None:
        if not self.unacked:
            return
        acks = await hub.uplink.reported(self.name, list(self.unacked))
        if acknowledge:
            acked = {ack.ref: ack.seq for ack in acks}
            self.unacked = [one for one in self.unacked if one.seq > acked.get(one.ref, 0)]
