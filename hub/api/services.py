"""What the REST API needs of the hub behind it.

The API holds no rule of its own: it reads a request, passes the actor on, and words the answer. Roles and tenants are
enforced behind these ports, so that no second door can forget them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hub.records import Actor, ClusterState, Explanation, Job, JobEvent, JobFilter, Page, Planned, UserRole
from placement.money import PriceBook


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


class JobsPort(Protocol):
    async def submit_many(
        self,
        actor: Actor,
        texts: Sequence[bytes],
        *,
        namespace: str = "default",
        client_key: str | None = None,
        if_too_large: str | None = None,
    ) -> Sequence[SubmittedJob]: ...
    async def plan(self, actor: Actor, text: bytes, *, namespace: str = "default") -> Sequence[Planned]: ...
    async def show(self, actor: Actor, ref: str) -> Job: ...
    async def list(self, actor: Actor, job_filter: JobFilter) -> Page: ...
    async def cancel(self, actor: Actor, ref: str) -> Job: ...
    async def explain(self, actor: Actor, ref: str) -> Explanation: ...
    def events(self, actor: Actor, *, after: int | None, job: str | None, follow: bool) -> AsyncIterator[JobEvent]: ...
    def logs(
        self, actor: Actor, ref: str, *, role: str = "", follow: bool, tail_lines: int
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
    async def replace(self, actor: Actor, book: PriceBook) -> None: ...


class NotReady(Exception):
    """The hub cannot serve now, and the message says why in words for people."""


@dataclass(frozen=True, slots=True)
class Services:
    jobs: JobsPort
    clusters: ClustersPort
    access: AccessPort
    prices: PricesPort
    ca_pem: bytes
    last_event: Callable[[], int]  # the number of the newest event
    grpc_address: str  # where spokes find the link; ":PORT" means the host they joined at
    check_ready: Callable[[], Awaitable[None]]  # raises NotReady, or what the store raised
    # Set when the hub stops: open streams end then, instead of holding the shutdown up.
    closing: asyncio.Event = field(default_factory=asyncio.Event)
