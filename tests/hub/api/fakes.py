"""The services that the API stands on, by hand: small, in memory, and as strict about roles and tenants as the real."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Collection, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from hub.api.services import Services
from hub.crons import Cron, Made, Taken
from hub.distributions import DistributionState
from hub.endpoints import Reachable
from hub.errors import ConflictError, Forbidden, Invalid, NotFound, Unauthenticated
from hub.happenings import Happening
from hub.link.directory import NotConnected
from hub.models.catalogue import Models
from hub.queues import DeviceUse, QueueState
from hub.records import (
    Actor,
    ClusterState,
    CostBy,
    CostLine,
    CostQuery,
    CostReport,
    Explanation,
    Job,
    JobEvent,
    JobFilter,
    Manifest,
    Page,
    PartState,
    Planned,
    UserRole,
)
from hub.roles import admins_only
from hub.store.audit import Access
from hub.store.crons import CronRecord, RunRecord
from hub.store.distributions import DistributionRecord
from hub.usage import Usages
from placement.costs import Cost
from placement.data import Dataset
from placement.distribution.states import ObjectState, Shown, State
from placement.fleet import Reservation
from placement.kinds.problems import Problem
from placement.lifecycle import TERMINAL, Phase
from placement.money import Price, PriceBook
from placement.overrides.override import Override
from placement.queues.tree import Queue, QueueTree, Quota, faults
from placement.rebalance.proposals import Aim, Proposal, Step
from placement.resources import Resources
from placement.safety.tenants import Tenant, undescribed
from placement.verdict import Candidate, Decision, DeviceMissing, Placed, Rejected, Score, TopologyShort, Waiting
from placement.workload import DeviceNeed, Role, Workload
from wire.orders import JobRef, PodPlace, RoleCount
from wire.tunnels import STDOUT, Closed, Piece, Port, Process, Tunnel
from wire.usage import Usage

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

PEM = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

ADMIN = Actor("root", "platform", UserRole.ADMIN)
ALICE = Actor("alice", "red", UserRole.SUBMITTER)
VIC = Actor("vic", "red", UserRole.VIEWER)
BOB = Actor("bob", "blue", UserRole.SUBMITTER)
TOKENS = {"admin-token": ADMIN, "alice-token": ALICE, "vic-token": VIC, "bob-token": BOB}


def workload(name: str = "llama-70b", **changes: object) -> Workload:
    roles = tuple(
        Role(
            name=role,
            replicas=replicas,
            minimum=replicas,
            requests=Resources({"cpu": 8000, "nvidia.com/gpu": 8}),
            devices=(DeviceNeed("nvidia.com/gpu", 8),),
            products=("NVIDIA-A100-SXM4-80GB",),
        )
        for role, replicas in (("Master", 1), ("Worker", 3))
    )
    made = Workload("kubeflow.org/v1", "PyTorchJob", name, "ml", roles, min_pods=4)
    return replace(made, **changes)  # type: ignore[arg-type]  # the fields of Workload


def job(number: int = 1, actor: Actor = ALICE, phase: Phase = Phase.RUNNING, **changes: object) -> Job:
    made = Job(
        id=f"j-{number:010d}",
        tenant=actor.tenant,
        owner=actor.user,
        name="llama-70b",
        namespace="ml",
        kind="PyTorchJob",
        queue="default",
        priority=0,
        phase=phase,
        epoch=1,
        cluster="onprem-a",
        reason="all 4 pods run",
        workload=workload(),
        roles=(RoleCount("Master", 1, 0, 0, 1), RoleCount("Worker", 3, 0, 0, 3)),
        pods=(PodPlace("llama-70b-master-0", "Master", "gpu-01", (0, 1, 2, 3, 4, 5, 6, 7)),),
        submitted_at=NOW - timedelta(minutes=9),
        placed_at=NOW - timedelta(minutes=9),
        started_at=NOW - timedelta(minutes=8),
        finished_at=None,
        usd_per_hour=38.4,
        spot=False,
        client_key=None,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the fields of Job


def decision(verdict: str = "placed", of: Workload | None = None) -> Decision:
    wanted = of or workload()
    fits = Candidate("onprem-a", score=Score({"gpu": 36.0, "spot-risk": 2.4}), domain="rack r1")
    dear = Candidate("cloud-b", score=Score({"gpu": 131.2}), domain="rack b7")
    short = Candidate("cloud-b", (TopologyShort("cloud-b", "rack", 4, 3, 40, 32, True),))
    other = Candidate("edge-c", (DeviceMissing("edge-c", "nvidia.com/gpu", ("NVIDIA-A100-SXM4-80GB",), ("Tesla-T4",)),))
    if verdict == "placed":
        placed = Placed(Reservation("j-0000000001", 1, "onprem-a", wanted), fits.score or Score({}))
        return Decision("j-0000000001", 1, placed, (fits, dear, other))
    reasons = (*short.reasons, *other.reasons)
    refusal = Waiting(reasons) if verdict == "waiting" else Rejected(reasons)
    return Decision("j-0000000001", 1, refusal, (short, other))


def event(seq: int, of: Job, phase: Phase, name: str, message: str = "") -> JobEvent:
    return JobEvent(seq, of.id, of.tenant, of.epoch, phase, name, message, NOW - timedelta(seconds=300 - seq))


def cluster(name: str = "onprem-a", **changes: object) -> ClusterState:
    made = ClusterState(
        name=name,
        region="bj",
        labels={"tier": "gold"},
        health="ready",
        cordoned=False,
        last_seen=NOW - timedelta(seconds=4),
        agent_version="0.1.0",
        gpus_total=64,
        gpus_free=24,
        nodes=8,
        products={"NVIDIA-A100-SXM4-80GB": 64},
        jobs=2,
        certificate_expires_at=NOW + timedelta(hours=20),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the fields of ClusterState


@dataclass(frozen=True)
class Submitted:
    job: Job
    created: bool


@dataclass(frozen=True)
class Lines:
    pod: str
    data: bytes
    position: str = ""


@dataclass(frozen=True)
class Joined:
    cluster: str
    certificate_pem: bytes
    ca_pem: bytes


@dataclass(frozen=True)
class User:
    name: str
    tenant: str
    role: UserRole


@dataclass
class FakeJobs:
    """A text is one workload, named by its first word; `bad`, `bug`, `many`, `queue` and `large` have meanings."""

    jobs: dict[str, Job] = field(default_factory=dict)
    happened: list[JobEvent] = field(default_factory=list)
    verdict: str = "placed"
    lines: Sequence[Lines | Exception] = ()
    calls: list[tuple[object, ...]] = field(default_factory=list)
    keys: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    closed: int = 0
    logs_end: bool = False  # also while following, as when the job has ended
    events_go_on: bool = False  # while following; else the stream ends after what has happened
    asked_for_events: threading.Event = field(default_factory=threading.Event)
    all_sent: asyncio.Event = field(default_factory=asyncio.Event)

    async def submit_many(
        self,
        actor: Actor,
        texts: Sequence[bytes],
        *,
        namespace: str | None = None,
        client_key: str | None = None,
        if_too_large: str | None = None,
    ) -> Sequence[Submitted]:
        self.calls.append(("submit", *texts, namespace, client_key, if_too_large))
        _may_submit(actor)
        names = [_name(text) for text in texts]
        known = self.keys.get((actor.tenant, client_key or ""))
        if known is not None:
            return [Submitted(self.jobs[one], False) for one in known]
        made = [self._queued(actor, name, namespace or actor.tenant, client_key) for name in names]
        if client_key is not None:
            self.keys[actor.tenant, client_key] = [one.id for one in made]
        return [Submitted(one, True) for one in made]

    def _queued(self, actor: Actor, name: str, namespace: str, client_key: str | None) -> Job:
        warnings = ("muster.dev/que: did you mean queue?",) if name == "warned" else ()
        made = job(
            len(self.jobs) + 1,
            actor,
            Phase.QUEUED,
            name=name,
            namespace=namespace,
            cluster=None,
            pods=(),
            roles=(),
            placed_at=None,
            started_at=None,
            usd_per_hour=None,
            reason="",
            client_key=client_key,
            workload=workload(name, warnings=warnings),
        )
        self.jobs[made.id] = made
        return made

    async def part_states(self, actor: Actor, work: Job) -> Sequence[PartState]:
        parts = [job for job in self.jobs.values() if job.is_part and job.whole == work.id]
        return [PartState(part, part.cluster or "", "eu", False) for part in parts]

    async def parts(self, actor: Actor, work: Job) -> Sequence[Job]:
        return [one.job for one in await self.part_states(actor, work)]

    async def plan(self, actor: Actor, text: bytes, *, namespace: str | None = None) -> Sequence[Planned]:
        self.calls.append(("plan", text, namespace))
        names = ["one", "two"] if _name(text) == "many" else [_name(text)]
        return [Planned(workload(name), decision(self.verdict, workload(name))) for name in names]

    async def manifest(
        self, actor: Actor, text: bytes, cluster: str, *, namespace: str | None = None, show_secrets: bool = False
    ) -> Sequence[Manifest]:
        self.calls.append(("manifest", text, cluster, namespace, show_secrets))
        (planned,) = await self.plan(actor, text, namespace=namespace)
        return [Manifest(planned, cluster, ("eu",), ({"kind": "Job"},))]

    async def show(self, actor: Actor, ref: str) -> Job:
        for one in self.jobs.values():
            if ref in (one.id, one.name) and (actor.sees_every_tenant or one.tenant == actor.tenant):
                return one
        raise NotFound(f"there is no job {ref}", code="no-such-job", mend="muster jobs --all lists them")

    async def list(self, actor: Actor, job_filter: JobFilter) -> Page:
        self.calls.append(("list", job_filter))
        found = [
            one
            for one in self.jobs.values()
            if (actor.sees_every_tenant or one.tenant == actor.tenant)
            and (not job_filter.phases or one.phase in job_filter.phases)
            and (job_filter.name is None or job_filter.name in one.name)
        ]
        start = int(job_filter.cursor or 0)
        end = start + job_filter.limit
        return Page(tuple(found[start:end]), str(end) if end < len(found) else None, len(found))

    async def cancel(self, actor: Actor, ref: str) -> Job:
        _may_submit(actor)
        found = await self.show(actor, ref)
        if found.phase not in TERMINAL:
            self.jobs[found.id] = replace(found, phase=Phase.CANCELLED)
        return self.jobs[found.id]

    async def explain(self, actor: Actor, ref: str) -> Explanation:
        found = await self.show(actor, ref)
        return Explanation(found, decision(self.verdict), tuple(e for e in self.happened if e.job == found.id))

    async def events(
        self, actor: Actor, *, after: int | None, job: str | None, follow: bool
    ) -> AsyncIterator[JobEvent]:
        self.calls.append(("events", after, job, follow))
        self.asked_for_events.set()
        sent = after or 0
        while True:
            for one in [one for one in self.happened if one.seq > sent]:
                sent = one.seq
                if (actor.sees_every_tenant or one.tenant == actor.tenant) and job in (None, one.job):
                    yield one
            if not (follow and self.events_go_on):
                return
            await asyncio.sleep(0.01)

    def tell(self, of: Job) -> None:
        """From any thread: something happened to the job."""
        self.happened = [*self.happened, event(len(self.happened) + 1, of, of.phase, "told")]

    async def logs(
        self, actor: Actor, ref: str, *, role: str = "", follow: bool, tail_lines: int, **more: Any
    ) -> AsyncIterator[Lines]:
        self.calls.append(("logs", ref, role, follow, tail_lines))
        self.log_options = {name: value for name, value in more.items() if value or (value == 0 and value is not False)}
        await self.show(actor, ref)
        try:
            for one in self.lines:
                if isinstance(one, Exception):
                    raise one
                yield one
            self.all_sent.set()
            if follow and not self.logs_end:
                await asyncio.Event().wait()
        finally:
            self.closed += 1


class EchoTunnel(Tunnel):
    """A process that says on standard output what it is told, in capitals, and ends with 7 once it is told no more."""

    def __init__(self) -> None:
        super().__init__(self._echo, lambda amount: None)
        self.pod = "m-0"
        self.sizes: list[tuple[int, int]] = []

    async def _echo(self, piece: Piece) -> None:
        if piece.data:
            self.feed(Piece(STDOUT, piece.data.upper()))
        self.granted(len(piece.data) + 128)
        if piece.end:
            self.close(Closed(exit_code=7))

    async def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))


@dataclass
class FakeEndpoints:
    found: Reachable = Reachable((), ())

    async def of(self, actor: Actor, ref: str) -> Reachable:
        return self.found


class FakeHappenings:
    def __init__(self) -> None:
        self.found: list[Happening] = []

    async def of(self, actor: Actor, ref: str, *, follow: bool) -> AsyncIterator[Happening]:
        if ref == "nowhere":
            raise NotFound("there is no job 'nowhere'", code="no-such-job", mend="muster jobs lists them")
        for one in self.found:
            yield one


class FakeTunnels:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Process | Port, str, int | None, str]] = []
        self.opened: list[EchoTunnel] = []
        self.found: list[Access] = []

    @asynccontextmanager
    async def open(
        self,
        actor: Actor,
        ref: str,
        to: Process | Port,
        *,
        role: str = "",
        rank: int | None = None,
        container: str = "",
    ) -> AsyncIterator[EchoTunnel]:
        self.asked.append((actor.user, ref, to, role, rank, container))
        if ref == "broken":
            raise ConflictError("onprem-a: no pod runs", code="not-running", mend="wait until it runs")
        tunnel = EchoTunnel()
        self.opened.append(tunnel)
        yield tunnel
        tunnel.close(Closed("left", "whoever opened it has gone"))

    async def audit(self, actor: Actor, *, before: int | None = None, limit: int = 100) -> Sequence[Access]:
        return self.found


def _may_submit(actor: Actor) -> None:
    if actor.role is UserRole.VIEWER:
        raise Forbidden(f"{actor.user} is a viewer", code="viewers-read", mend="ask an admin for another role")


def _name(text: bytes) -> str:
    if text.startswith(b"bad"):
        problems = (
            Problem(1, "spec.replicas", "-1 is negative", "give 0 or more"),
            Problem(2, "metadata.name", "is missing", "give the object a name"),
        )
        raise Invalid("the file has 2 problems", code="invalid-manifest", mend="mend them", problems=problems)
    if text.startswith(b"bug"):
        raise RuntimeError("the database password is hunter2")
    return text.decode().split()[0]


@dataclass
class FakeClusters:
    clusters: dict[str, ClusterState] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    async def make_token(self, actor: Actor, name: str, *, region: str, labels: Mapping[str, str]) -> str:
        _admin(actor)
        if name != name.lower():
            raise Invalid(f"{name!r} is no name for a cluster", code="bad-cluster-name", mend="use a-z, 0-9 and '-'")
        self.tokens[f"id.{name}.{'0' * 64}"] = name
        return f"id.{name}.{'0' * 64}"

    async def join(self, token: str, csr_pem: bytes) -> Joined:
        if token not in self.tokens:
            raise Unauthenticated("the join token is not one of this hub's", code="bad-join-token", mend="get one")
        return Joined(self.tokens.pop(token), b"cert", PEM)

    async def list(self, actor: Actor) -> Sequence[ClusterState]:
        return tuple(self.clusters.values())

    async def show(self, actor: Actor, name: str) -> ClusterState:
        if name not in self.clusters:
            raise NotFound(f"there is no cluster {name}", code="no-such-cluster", mend="muster cluster list names them")
        return self.clusters[name]

    async def cordon(self, actor: Actor, name: str, on: bool) -> None:
        _admin(actor)
        self.clusters[name] = replace(await self.show(actor, name), cordoned=on)

    async def label(self, actor: Actor, name: str, changes: Mapping[str, str | None]) -> None:
        _admin(actor)
        known = await self.show(actor, name)
        merged = {key: value for key, value in {**known.labels, **changes}.items() if value is not None}
        self.clusters[name] = replace(known, labels=merged)

    async def drain(self, actor: Actor, name: str) -> int:
        await self.cordon(actor, name, True)
        return self.clusters[name].jobs

    async def remove(self, actor: Actor, name: str, *, force: bool) -> None:
        _admin(actor)
        if (await self.show(actor, name)).jobs and not force:
            raise ConflictError(f"2 jobs hold capacity on {name}", code="cluster-in-use", mend="drain it first")
        del self.clusters[name]


@dataclass
class FakeAccess:
    actors: dict[str, Actor] = field(default_factory=lambda: dict(TOKENS))

    async def authenticate(self, bearer: str) -> Actor:
        if bearer not in self.actors:
            raise Unauthenticated("the bearer token is not one of this hub's", code="bad-token", mend="muster login")
        return self.actors[bearer]

    async def add_user(self, actor: Actor | None, name: str, tenant: str, role: UserRole) -> str:
        _admin(actor)
        self.actors[f"{name}-token"] = Actor(name, tenant, role)
        return f"{name}-token"

    async def users(self, actor: Actor) -> Sequence[User]:
        _admin(actor)
        return [User(one.user, one.tenant, one.role) for one in self.actors.values()]

    async def remove_user(self, actor: Actor, name: str) -> None:
        _admin(actor)
        if f"{name}-token" not in self.actors:
            raise NotFound(f"there is no user {name}", code="no-such-user", mend="muster user list names them")
        del self.actors[f"{name}-token"]


@dataclass
class FakePrices:
    kept: PriceBook = field(default_factory=lambda: PriceBook({("cloud-b", "H100"): Price(4.1, 1.9, 0.05)}))

    async def book(self, actor: Actor) -> PriceBook:
        return self.kept

    async def check(self, actor: Actor, book: PriceBook) -> Sequence[str]:
        _admin(actor)
        return [f"there is no cluster {cluster} yet" for cluster, _ in sorted(book.prices) if cluster == "nowhere"]

    async def replace(self, actor: Actor, book: PriceBook) -> Sequence[str]:
        warnings = await self.check(actor, book)
        self.kept = book
        return warnings


@dataclass
class FakeTenants:
    """Whoever is described by an admin; nobody asks whose a namespace is."""

    known: dict[str, Tenant] = field(default_factory=dict)

    async def list(self, actor: Actor) -> Sequence[Tenant]:
        return [*self.known.values()] if actor.sees_every_tenant else [undescribed(actor.tenant)]

    async def show(self, actor: Actor, name: str) -> Tenant:
        for one in await self.list(actor):
            if one.name == name:
                return one
        raise NotFound(f"there is no tenant {name!r}", code="no-such-tenant")

    async def check(self, actor: Actor, changed: Sequence[Tenant], *, force: bool = False) -> None:
        admins_only(actor, "change tenants")

    async def put(self, actor: Actor, changed: Sequence[Tenant], *, force: bool = False) -> Sequence[Tenant]:
        await self.check(actor, changed, force=force)
        self.known |= {one.name: one for one in changed}
        return changed

    async def delete(self, actor: Actor, name: str) -> None:
        admins_only(actor, "change tenants")
        del self.known[name]


@dataclass(frozen=True)
class FakeKindFile:
    name: str
    text: str
    added_by: str = "root"
    added_at: datetime = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class FakeKind:
    record: FakeKindFile
    kinds: tuple[str, ...] = ("example.com/v1/Sweep",)


@dataclass
class FakeKinds:
    """Whatever an admin gives is taken."""

    known: dict[str, FakeKind] = field(default_factory=dict)

    async def list(self, actor: Actor) -> Sequence[FakeKind]:
        return list(self.known.values())

    async def show(self, actor: Actor, name: str) -> FakeKind:
        if name not in self.known:
            raise NotFound(f"nobody added a kind file {name!r}", code="no-such-kind")
        return self.known[name]

    async def add(self, actor: Actor, name: str, text: str) -> FakeKind:
        admins_only(actor, "add kinds")
        self.known[name] = FakeKind(FakeKindFile(name, text))
        return self.known[name]

    async def remove(self, actor: Actor, name: str) -> None:
        admins_only(actor, "remove kinds")
        await self.show(actor, name)
        del self.known[name]


@dataclass(frozen=True)
class FakeOverride:
    override: Override
    changed_by: str = "root"
    changed_at: datetime = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class FakeOverrides:
    """Whatever an admin gives is taken; every one of them means the same cluster."""

    known: dict[str, FakeOverride] = field(default_factory=dict)

    async def list(self, actor: Actor) -> Sequence[FakeOverride]:
        return list(self.known.values())

    async def show(self, actor: Actor, name: str) -> FakeOverride:
        if name not in self.known:
            raise NotFound(f"there is no override {name!r}", code="no-such-override")
        return self.known[name]

    def selected(self, override: Override) -> Sequence[str]:
        return ["east"]

    def check(self, actor: Actor, changed: Sequence[Override]) -> Sequence[str]:
        admins_only(actor, "change overrides")
        return []

    async def put(self, actor: Actor, changed: Sequence[Override]) -> None:
        self.check(actor, changed)
        self.known |= {one.name: FakeOverride(one) for one in changed}

    async def delete(self, actor: Actor, name: str) -> None:
        admins_only(actor, "delete overrides")
        await self.show(actor, name)
        del self.known[name]


@dataclass
class FakeCrons:
    """What is submitted is one CronJob, nightly at three, whoever's it is; it has run once."""

    known: dict[str, Cron] = field(default_factory=dict)

    async def submit(
        self,
        actor: Actor,
        texts: Sequence[bytes],
        *,
        namespace: str | None = None,
        client_key: str | None = None,
        if_too_large: str | None = None,
    ) -> Taken:
        _may_submit(actor)
        created = "nightly" not in self.known
        self.known["nightly"] = Cron(cron_record(actor), (cron_run(),), NOW + timedelta(hours=15))
        return Taken((), (Made(self.known["nightly"], created),))

    async def plan(self, actor: Actor, text: bytes, *, namespace: str | None = None) -> Sequence[Planned]:
        return (Planned(workload("nightly-1"), decision()),)

    async def list(self, actor: Actor) -> Sequence[Cron]:
        return [one for one in self.known.values() if one.record.tenant == actor.tenant or actor.sees_every_tenant]

    async def show(self, actor: Actor, ref: str) -> Cron:
        for one in await self.list(actor):
            if ref in (one.record.id, one.record.name):
                return one
        raise NotFound(f"there is no CronJob {ref!r}", code="no-such-cron", mend="muster cron list shows them")

    async def suspend(self, actor: Actor, ref: str, on: bool) -> Cron:
        _may_submit(actor)
        known = await self.show(actor, ref)
        next_at = None if on else NOW + timedelta(hours=15)
        changed = replace(known, record=replace(known.record, suspended=on), next_at=next_at)
        self.known[known.record.name] = changed
        return changed

    async def run(self, actor: Actor, ref: str) -> Job:
        _may_submit(actor)
        await self.show(actor, ref)
        return job(7, actor, Phase.QUEUED, name="nightly-run-ab12c")

    async def delete(self, actor: Actor, ref: str, *, keep_runs: bool = False) -> Sequence[str]:
        _may_submit(actor)
        del self.known[(await self.show(actor, ref)).record.name]
        return () if keep_runs else ("j-0000000007",)


def cron_record(actor: Actor) -> CronRecord:
    metadata = {"name": "nightly", "namespace": "ml"}
    spec = {"schedule": "0 3 * * *", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": {}}}
    manifest = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec}
    return CronRecord(
        id="c-0000000001",
        tenant=actor.tenant,
        owner=actor.user,
        namespace="ml",
        name="nightly",
        revision=1,
        suspended=False,
        manifest=manifest,
        objects=(),
        if_too_large=None,
        kept_succeeded=3,
        kept_failed=1,
        created_at=NOW,
        since=NOW,
        look_at=NOW,
        note="1 run before it was missed",
    )


def cron_run() -> RunRecord:
    at = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
    return RunRecord("j-0000000007", "nightly-29539380", at, at, Phase.SUCCEEDED, "onprem-a", at)


@dataclass
class FakeDistributions:
    """Whatever an admin gives is a ConfigMap, which one cluster has and another refuses."""

    known: dict[str, DistributionState] = field(default_factory=dict)

    async def list(self, actor: Actor) -> Sequence[DistributionState]:
        admins_only(actor, "look at distributions")
        return list(self.known.values())

    async def show(self, actor: Actor, name: str) -> DistributionState:
        if name not in {one.record.name for one in await self.list(actor)}:
            raise NotFound(f"there is no distribution {name!r}", code="no-such-distribution")
        return self.known[name]

    async def put(
        self,
        actor: Actor,
        name: str,
        text: bytes,
        *,
        to: str,
        namespace: str = "",
        adopt: bool = False,
        dry: bool = False,
    ) -> DistributionState:
        admins_only(actor, "distribute objects")
        metadata = {"name": text.decode().strip(), "namespace": "gpu"}
        objects = ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata},)
        record = DistributionRecord(name, 0 if dry else 1, to, objects, adopt, False, actor.user, NOW)
        (key,) = record.keys
        why = "the policy of this cluster's owner: kind: v1/ConfigMap is not among the kinds that are allowed"
        clusters = {
            "onprem-a": Shown(State.APPLIED, "", (ObjectState(key, State.APPLIED),)),
            "edge-c": Shown(State.REFUSED, f"{key}: {why}", (ObjectState(key, State.REFUSED, why),)),
        }
        state = DistributionState(record, clusters)
        if not dry:
            self.known[name] = state
        return state

    async def delete(self, actor: Actor, name: str) -> DistributionState | None:
        admins_only(actor, "delete distributions")
        state = await self.show(actor, name)
        del self.known[name]
        return None if name == "gone" else replace(state, record=replace(state.record, deleting=True))


@dataclass
class FakeQueues:
    """Sound trees only, changed by admins; nothing is used or spent."""

    tree: QueueTree = field(
        default_factory=lambda: QueueTree.of(
            [Queue("research"), Queue("team-a", "research", {"A100": Quota(8, 8)}), Queue("default")]
        )
    )

    async def list(self, actor: Actor) -> Sequence[QueueState]:
        return [self._state(name) for name in sorted(self.tree.queues)]

    async def show(self, actor: Actor, name: str) -> QueueState:
        if name not in self.tree.queues:
            raise NotFound(f"there is no queue {name!r}", code="no-such-queue", mend="muster queue list shows them")
        return self._state(name)

    async def create(self, actor: Actor, queue: Queue) -> QueueState:
        if queue.name in self.tree.queues:
            raise ConflictError(f"there is a queue {queue.name} already", code="queue-exists")
        return (await self.put(actor, [queue]))[0]

    async def put(self, actor: Actor, changed: Sequence[Queue], *, force: bool = False) -> Sequence[QueueState]:
        _admin(actor)
        tree = QueueTree.of([*self.tree.queues.values(), *changed])
        if found := faults(tree):
            raise Invalid(str(found[0]), code="invalid-queue", mend=found[0].mend)
        self.tree = tree
        return [self._state(queue.name) for queue in changed]

    async def delete(self, actor: Actor, name: str) -> None:
        _admin(actor)
        self.tree = QueueTree.of(queue for queue in self.tree.queues.values() if queue.name != name)

    def _state(self, name: str) -> QueueState:
        uses = tuple(DeviceUse(device, 2.0, 16.0, 14.0) for device in self.tree.queues[name].quotas)
        return QueueState(self.tree.queues[name], self.tree.children[name], 1, 2, uses, 3.0, 4.0, 5.0, 6.0)


@dataclass
class FakeCosts:
    """Two queues of one tenant, one of another."""

    asked: list[CostQuery] = field(default_factory=list)

    def today(self) -> date:
        return NOW.date()

    async def report(self, actor: Actor, query: CostQuery) -> CostReport:
        self.asked.append(query)
        spent = {
            "red": [("team-a", 1234.5, 120.0), ("default", 8.0, 0.0)],
            "blue": [("team-b", 64.0, 64.0)],
        }
        lines = tuple(
            CostLine(
                key,
                "llama-70b" if query.by is CostBy.JOB else "",
                Cost(usd / 2, 0.0, usd, 0.5, 0.25, lost, usd / 2, usd / 2 * 1.1, 3, 1),
            )
            for tenant in ("red", "blue")
            if actor.sees_every_tenant or tenant == actor.tenant
            for key, usd, lost in spent[tenant]
        )
        total = sum((line.cost for line in lines), Cost())
        return CostReport(query, NOW, lines, total, 0, Cost(), Cost())


@dataclass
class FakeDatasets:
    """Whatever is declared by an admin; nobody is of another tenant."""

    known: dict[str, Dataset] = field(default_factory=dict)

    async def list(self, actor: Actor, *, learned: bool = False) -> Sequence[Dataset]:
        return [one for one in self.known.values() if learned or not one.learned]

    async def show(self, actor: Actor, name: str, *, tenant: str | None = None) -> Dataset:
        if name not in self.known:
            raise NotFound(f"there is no dataset {name!r}", code="no-such-dataset")
        return self.known[name]

    async def create(self, actor: Actor, dataset: Dataset, *, force: bool = False) -> Dataset:
        if dataset.name in self.known:
            raise ConflictError(f"there is a dataset {dataset.name} already", code="dataset-exists")
        return (await self.put(actor, [dataset], force=force))[0]

    async def put(
        self,
        actor: Actor,
        changed: Sequence[Dataset],
        *,
        force: bool = False,
        forget_copies: bool = False,
        regions: Set[str] = frozenset(),
    ) -> Sequence[Dataset]:
        if not forget_copies:
            copies = {one.name: [r for r in one.replicas if r.copied] for one in self.known.values()}
            changed = [replace(one, replicas=(*one.replicas, *copies.get(one.name, ()))) for one in changed]
        self.check(actor, changed, force=force, regions=regions)
        self.known.update((one.name, one) for one in changed)
        return changed

    def check(
        self, actor: Actor, changed: Sequence[Dataset], *, force: bool = False, regions: Set[str] = frozenset()
    ) -> None:
        if changed:
            _admin(actor)
        if not force and any(replica.region in {"mars"} - regions for one in changed for replica in one.replicas):
            raise Invalid("nobody knows a region 'mars'", code="invalid-dataset")

    async def delete(self, actor: Actor, name: str, *, tenant: str | None = None) -> None:
        await self.show(actor, name)
        del self.known[name]


PROPOSAL = Proposal(
    Aim.MAKE_ROOM,
    (Step("j-0000000001", 1, "onprem-a", "cloud-b", 8.0, 2.5, 6.25),),
    gain_usd=40.0,
    gain="j-0000000002 starts on onprem-a 3.0 h earlier",
    job="j-0000000002",
    cluster="onprem-a",
    earlier_hours=3.0,
)


@dataclass
class FakeUsages:
    """What the spoke of each cluster answers; one that is missing is not connected."""

    answers: dict[str, Usage] = field(default_factory=dict)
    asked: list[tuple[str, list[JobRef]]] = field(default_factory=list)

    async def usage(self, cluster: str, refs: Collection[JobRef]) -> Usage:
        self.asked.append((cluster, list(refs)))
        if cluster not in self.answers:
            raise NotConnected(cluster)
        return self.answers[cluster]


class FakeRebalancing:
    async def plan(self, actor: Actor) -> Sequence[Proposal]:
        _admin(actor)
        return (PROPOSAL,)


def _admin(actor: Actor | None) -> None:
    if actor is not None and actor.role is not UserRole.ADMIN:
        raise Forbidden(f"{actor.user} is no admin", code="admins-only", mend="ask an admin to do it")


@dataclass
class FakeHub:
    """All of them, and what a test wants to reach."""

    jobs: FakeJobs = field(default_factory=FakeJobs)
    clusters: FakeClusters = field(default_factory=FakeClusters)
    access: FakeAccess = field(default_factory=FakeAccess)
    prices: FakePrices = field(default_factory=FakePrices)
    queues: FakeQueues = field(default_factory=FakeQueues)
    tenants: FakeTenants = field(default_factory=FakeTenants)
    crons: FakeCrons = field(default_factory=FakeCrons)
    kinds: FakeKinds = field(default_factory=FakeKinds)
    distributions: FakeDistributions = field(default_factory=FakeDistributions)
    overrides: FakeOverrides = field(default_factory=FakeOverrides)
    costs: FakeCosts = field(default_factory=FakeCosts)
    datasets: FakeDatasets = field(default_factory=FakeDatasets)
    rebalancing: FakeRebalancing = field(default_factory=lambda: FakeRebalancing())
    tunnels: FakeTunnels = field(default_factory=lambda: FakeTunnels())
    usages: FakeUsages = field(default_factory=lambda: FakeUsages())
    happenings: FakeHappenings = field(default_factory=lambda: FakeHappenings())
    endpoints: FakeEndpoints = field(default_factory=lambda: FakeEndpoints())
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    store_error: Exception | None = None

    def services(self) -> Services:
        return Services(
            jobs=self.jobs,
            clusters=self.clusters,
            access=self.access,
            prices=self.prices,
            queues=self.queues,
            tenants=self.tenants,
            crons=self.crons,
            kinds=self.kinds,
            distributions=self.distributions,
            overrides=self.overrides,
            costs=self.costs,
            datasets=self.datasets,
            models=cast(Models, None),  # has tests of its own
            rebalancing=self.rebalancing,
            tunnels=self.tunnels,
            usages=Usages(self.jobs, self.usages),
            happenings=self.happenings,
            endpoints=self.endpoints,
            ca_pem=PEM,
            last_event=lambda: max((one.seq for one in self.jobs.happened), default=0),
            grpc_address=":8444",
            check_ready=self._check,
            closing=self.closing,
        )

    async def _check(self) -> None:
        if self.store_error is not None:
            raise self.store_error
