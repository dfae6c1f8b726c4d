"""What the REST API needs of the hub behind it.

The API holds no rule of its own: it reads a request, passes the actor on, and words the answer. Roles and tenants are
enforced behind these ports, so that no second door can forget them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from hub.records import (
    Actor,
    ClusterState,
    CostQuery,
    CostReport,
    Explanation,
    Job,
    JobEvent,
    JobFilter,
    Page,
    Planned,
    UserRole,
)
from hub.usage import Top
from placement.data import Dataset
from placement.money import PriceBook
from placement.queues.tree import Queue
from placement.rebalance.proposals import Proposal
from placement.safety.tenants import Tenant
from wire.tunnels import Closed, Piece, Port, Process, Resize


class SubmittedJob(Protocol):
    @property
    def job(self) -> Job: ...
    @property
    def created(self) -> bool: ...


class PodLines(Protocol):
    @property
    def pod(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def position(self) -> str: ...


class JoinedCluster(Protocol):
    @property
    def cluster(self) -> str: ...
    @property
    def certificate_pem(self) -> bytes: ...
    @property
    def ca_pem(self) -> bytes: ...


class KnownUser(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def role(self) -> UserRole: ...


class KnownUse(Protocol):
    @property
    def device(self) -> str: ...
    @property
    def used(self) -> float: ...
    @property
    def may_use(self) -> float: ...
    @property
    def left(self) -> float: ...


class KnownQueue(Protocol):
    @property
    def queue(self) -> Queue: ...
    @property
    def parts(self) -> Sequence[str]: ...
    @property
    def waiting(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def uses(self) -> Sequence[KnownUse]: ...
    @property
    def gpu_hours_day(self) -> float: ...
    @property
    def usd_day(self) -> float: ...
    @property
    def gpu_hours_month(self) -> float: ...
    @property
    def usd_month(self) -> float: ...


class JobsPort(Protocol):
    async def submit_many(
        self,
        actor: Actor,
        texts: Sequence[bytes],
        *,
        namespace: str | None = None,
        client_key: str | None = None,
        if_too_large: str | None = None,
    ) -> Sequence[SubmittedJob]: ...
    async def plan(self, actor: Actor, text: bytes, *, namespace: str | None = None) -> Sequence[Planned]: ...
    async def show(self, actor: Actor, ref: str) -> Job: ...
    async def list(self, actor: Actor, job_filter: JobFilter) -> Page: ...
    async def cancel(self, actor: Actor, ref: str) -> Job: ...
    async def explain(self, actor: Actor, ref: str) -> Explanation: ...
    def events(self, actor: Actor, *, after: int | None, job: str | None, follow: bool) -> AsyncIterator[JobEvent]: ...
    def logs(
        self,
        actor: Actor,
        ref: str,
        *,
        role: str = "",
        follow: bool,
        tail_lines: int,
        rank: int | None = None,
        since: datetime | None = None,
        previous: bool = False,
        timestamps: bool = False,
        container: str = "",
        after: Mapping[str, str] | None = None,
    ) -> AsyncIterator[PodLines]: ...


class ClustersPort(Protocol):
    async def make_token(self, actor: Actor, name: str, *, region: str, labels: Mapping[str, str]) -> str: ...
    async def join(self, token: str, csr_pem: bytes) -> JoinedCluster: ...
    async def list(self, actor: Actor) -> Sequence[ClusterState]: ...
    async def show(self, actor: Actor, name: str) -> ClusterState: ...
    async def cordon(self, actor: Actor, name: str, on: bool) -> None: ...
    async def drain(self, actor: Actor, name: str) -> int: ...
    async def remove(self, actor: Actor, name: str, *, force: bool) -> None: ...


class AccessPort(Protocol):
    async def authenticate(self, bearer: str) -> Actor: ...
    async def add_user(self, actor: Actor | None, name: str, tenant: str, role: UserRole) -> str: ...
    async def users(self, actor: Actor) -> Sequence[KnownUser]: ...
    async def remove_user(self, actor: Actor, name: str) -> None: ...


class PricesPort(Protocol):
    async def book(self, actor: Actor) -> PriceBook: ...
    async def check(self, actor: Actor, book: PriceBook) -> Sequence[str]: ...
    async def replace(self, actor: Actor, book: PriceBook) -> Sequence[str]: ...


class CostsPort(Protocol):
    def today(self) -> date: ...
    async def report(self, actor: Actor, query: CostQuery) -> CostReport: ...


class QueuesPort(Protocol):
    async def list(self, actor: Actor) -> Sequence[KnownQueue]: ...
    async def show(self, actor: Actor, name: str) -> KnownQueue: ...
    async def create(self, actor: Actor, queue: Queue) -> KnownQueue: ...
    async def put(self, actor: Actor, changed: Sequence[Queue], *, force: bool = False) -> Sequence[KnownQueue]: ...
    async def delete(self, actor: Actor, name: str) -> None: ...


class TenantsPort(Protocol):
    async def list(self, actor: Actor) -> Sequence[Tenant]: ...
    async def show(self, actor: Actor, name: str) -> Tenant: ...
    async def check(self, actor: Actor, changed: Sequence[Tenant], *, force: bool = False) -> None: ...
    async def put(self, actor: Actor, changed: Sequence[Tenant], *, force: bool = False) -> Sequence[Tenant]: ...
    async def delete(self, actor: Actor, name: str) -> None: ...


class DatasetsPort(Protocol):
    async def list(self, actor: Actor, *, learned: bool = False) -> Sequence[Dataset]: ...
    async def show(self, actor: Actor, name: str, *, tenant: str | None = None) -> Dataset: ...
    async def create(self, actor: Actor, dataset: Dataset, *, force: bool = False) -> Dataset: ...
    async def put(
        self,
        actor: Actor,
        changed: Sequence[Dataset],
        *,
        force: bool = False,
        forget_copies: bool = False,
        regions: Set[str] = frozenset(),
    ) -> Sequence[Dataset]: ...
    def check(
        self, actor: Actor, changed: Sequence[Dataset], *, force: bool = False, regions: Set[str] = frozenset()
    ) -> None: ...
    async def delete(self, actor: Actor, name: str, *, tenant: str | None = None) -> None: ...


class RebalancingPort(Protocol):
    async def plan(self, actor: Actor) -> Sequence[Proposal]: ...


class OpenTunnel(Protocol):
    """One end of a tunnel to a pod."""

    @property
    def pod(self) -> str: ...
    @property
    def closed(self) -> Closed | None: ...
    async def write(self, channel: int, data: bytes, *, end: bool = False) -> None: ...
    async def read(self) -> Piece | Resize | None: ...
    async def resize(self, columns: int, rows: int) -> None: ...


class KnownAccess(Protocol):
    @property
    def seq(self) -> int: ...
    @property
    def at(self) -> datetime: ...
    @property
    def user(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def job(self) -> str: ...
    @property
    def cluster(self) -> str: ...
    @property
    def detail(self) -> str: ...


class TunnelsPort(Protocol):
    def open(
        self,
        actor: Actor,
        ref: str,
        to: Process | Port,
        *,
        role: str = "",
        rank: int | None = None,
        container: str = "",
    ) -> AbstractAsyncContextManager[OpenTunnel]: ...
    async def audit(self, actor: Actor, *, before: int | None = None, limit: int = 100) -> Sequence[KnownAccess]: ...


class UsagesPort(Protocol):
    async def top(self, actor: Actor, ref: str | None = None) -> Top: ...


class NotReady(Exception):
    """The hub cannot serve now, and the message says why in words for people."""


@dataclass(frozen=True, slots=True)
class Services:
    jobs: JobsPort
    clusters: ClustersPort
    access: AccessPort
    prices: PricesPort
    queues: QueuesPort
    tenants: TenantsPort
    costs: CostsPort
    datasets: DatasetsPort
    rebalancing: RebalancingPort
    tunnels: TunnelsPort
    usages: UsagesPort
    ca_pem: bytes
    last_event: Callable[[], int]  # the number of the newest event
    grpc_address: str  # where spokes find the link; ":PORT" means the host they joined at
    check_ready: Callable[[], Awaitable[None]]  # raises NotReady, or what the store raised
    # Set when the hub stops: open streams end then, instead of holding the shutdown up.
    closing: asyncio.Event = field(default_factory=asyncio.Event)
