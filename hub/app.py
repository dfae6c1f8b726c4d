"""The composition root: every part of the hub made, joined, started in order and stopped in reverse.

One event loop for all of it. The REST port answers from the beginning, but only that the hub is not ready, and why; its
API and the spokes' port open last, so that nobody is let in before the store, the fleet and the loops are there. On
PostgreSQL there is a wait in between, for this replica to lead. What ends first are the open streams, so that stopping
takes as long as the last request; what ends last is the term, when nothing is written any more.

    async with Hub(HubSettings(data_dir=path, rest_port=0, grpc_port=0)) as hub:
        MusterClient(hub.rest_url, hub.admin_token, ca=hub.ca_file)

Not promised: supervision. When a loop ends that should not, or another replica has taken over, `failed` says so and
`run` ends the process; whoever started it starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from hub import admission, leadership, rest
from hub.access import Access, new_bootstrap_token, weakness_of
from hub.admission import Admitted, Submission
from hub.api import pricebook
from hub.api.app import create_api
from hub.api.services import NotReady, Services
from hub.api.standby import Door
from hub.clusters import Clusters
from hub.costs import Costs
from hub.crons import Crons
from hub.datasets import Datasets
from hub.distributions import Distributions
from hub.endpoints import Endpoints
from hub.errors import Unauthenticated
from hub.federation import Federation
from hub.happenings import Happenings
from hub.jobs import Jobs
from hub.kinds import KindBook
from hub.leadership import AnotherAuthority, Campaign
from hub.link import server as link_server
from hub.link.directory import Directory
from hub.loops.calendar import CalendarLoop
from hub.loops.distributing import DistributingLoop
from hub.loops.dividing import DividingLoop
from hub.loops.health import HealthLoop
from hub.loops.placing import PlacingLoop, Planning
from hub.loops.resume import Copies, resume
from hub.models.catalogue import Models
from hub.models.storage import Storage
from hub.overrides import OverrideBook
from hub.overriding import Overriding
from hub.pki import Authority, DamagedAuthority, GivenRefused
from hub.presence import Presence
from hub.prices import Prices
from hub.queues import Queues
from hub.rebalancing import Rebalancing
from hub.records import Actor, Object, UserRole
from hub.rest_tls import GivenFiles, RestTls
from hub.settings import HubSettings
from hub.store import users
from hub.store.dialect import DatabaseInUse, is_sqlite
from hub.store.leadership import Candidate, Deposed, Term
from hub.store.migrate import NewerDatabase
from hub.store.store import Store
from hub.tenants import TenantBook
from hub.tunnels import Tunnels
from hub.uplink import Uplink
from hub.usage import Usages
from placement import invariants, planner
from placement.data import DataPlace
from placement.kinds import reader, render
from placement.kinds.catalogue import Catalogue
from placement.kinds.problems import ManifestError
from placement.overrides.variants import Judge
from placement.queues.tree import Queue, QueueTree
from registry.blobs import Blobs, open_blobs
from wire import private_file, service_loop

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]

# Given by hand, so it is a person's to renew.
CA_NEAR_ITS_END = timedelta(days=60)
_ITSELF = Actor("hub", "", UserRole.ADMIN)


class CannotStart(Exception):
    """Something outside the hub is in its way; `mend` says what to do about it."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.mend = mend


def utc_now() -> datetime:
    return datetime.now(UTC)


class Hub:
    """`start` and `stop` once each, or use it as a context manager."""

    def __init__(self, settings: HubSettings, *, clock: Clock = utc_now, rng: Random | None = None) -> None:
        self.settings = settings
        self.failed = asyncio.Event()
        self.admin_token = ""  # the first admin's, where this hub still has its file
        self.rest_url = ""
        self.grpc_address = ""
        self._clock = clock
        self._rng = rng or SystemRandom()
        self._door = Door()
        self._resources = AsyncExitStack()

    @property
    def ca_file(self) -> Path:
        """The CA's certificate without its key: what clients trust."""
        return self.settings.data_dir / "ca.crt"

    async def __aenter__(self) -> Hub:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Returns when it answers. Raises CannotStart; then nothing is left running."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        await self._resources.aclose()

    async def _start(self) -> None:
        settings, clock = self.settings, self._clock
        authority = self._authority()
        self._known_token()  # one that cannot be used is told before there is anything to wait for
        server = await self._listen(authority)
        term = await self._lead(authority)
        store = await self._store(term)
        copies = Copies.empty(_federation(settings))
        await resume(store, copies, clock)
        parts = _assemble(store, copies, authority, clock, self._rng, settings, self._blobs())
        self._resources.push_async_callback(parts.models.storage.close)
        await parts.kinds.load()
        await self._set_prices(parts.prices)
        await parts.queues.keep_initial()
        self.admin_token = await self._first_admin(parts.access)
        self._run_loop("placing", parts.placing.run())
        self._run_loop("dividing", parts.dividing.run())
        self._run_loop("health", parts.health.run())
        self._run_loop("distributing", parts.distributing.run())
        self._run_loop("calendar", parts.calendar.run())
        self._run_loop("presence", parts.presence.run())
        self._run_loop("collecting", parts.models.storage.run())
        if term is not None:
            self._run_loop("leadership", _keep(store, term, settings.leader_lease_s))
        self.grpc_address = await self._open_link(parts.uplink, authority, parts.directory)
        self._open_api(parts, authority, server)
        self._save_context()
        log.info("hub started rest=%s link=%s data=%s", self.rest_url, self.grpc_address, settings.data_dir)

    def _authority(self) -> Authority:
        """Makes the data directory, the CA in it unless one is given, and the CA's certificate for people to copy."""
        data_dir, given = self.settings.data_dir, self.settings.ca_dir
        now, life = self._clock(), timedelta(seconds=self.settings.certificate_life_s)
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if given is None:
                authority = Authority.open(data_dir / "pki", now, spoke_life=life)
            else:
                authority = Authority.given(given, data_dir / "pki", now, spoke_life=life)
            before = self.ca_file.read_bytes() if self.ca_file.exists() else None
            if before not in (None, authority.ca_pem):
                log.warning("the CA is not the one before: every cluster must join again, with a new token")
            if before != authority.ca_pem:
                private_file.write(self.ca_file, authority.ca_pem)
                self.ca_file.chmod(0o644)
        except DamagedAuthority as error:
            raise CannotStart(str(error), "see above") from error
        except GivenRefused as error:
            raise CannotStart(str(error), "mend the files that --ca-dir names") from error
        except OSError as error:
            raise CannotStart(
                f"the data directory {data_dir} cannot be used: {error}", "mend it, or give another --data-dir"
            ) from error
        if authority.expires_at - now < CA_NEAR_ITS_END:
            log.warning("the CA is good until %s UTC only: no certificate outlives it", f"{authority.expires_at:%F %T}")
        return authority

    async def _listen(self, authority: Authority) -> rest.RestServer:
        """The REST port, which answers that the hub is not ready until its API is opened."""
        settings = self.settings
        given = None
        if settings.rest_certificate is not None and settings.rest_key is not None:
            given = GivenFiles(settings.rest_certificate, settings.rest_key)
        try:
            tls = RestTls(authority, settings.certificate_names, given, self._clock)
        except GivenRefused as error:
            raise CannotStart(str(error), "mend the files that --rest-certificate and --rest-key name") from error
        try:
            listener = rest.listen(settings.rest_host, settings.rest_port)
        except OSError as error:
            raise CannotStart(
                f"cannot listen on {settings.rest_host}:{settings.rest_port}: {error.strerror}",
                "give another --rest-host or --rest-port",
            ) from error
        server = rest.RestServer(self._door, listener, tls, on_end=self.failed.set)
        self._resources.push_async_callback(server.stop)
        await server.start()
        self.rest_url = f"https://{_address(settings.rest_host, listener.getsockname()[1])}"
        return server

    async def _lead(self, authority: Authority) -> Term | None:
        """Returns when this hub leads; None where the database is a file, whose lock says as much."""
        settings = self.settings
        try:
            if is_sqlite(settings.database):
                return None
            candidate = Candidate(settings.replica, authority.ca_fingerprint, settings.leader_lease_s)
            campaign = Campaign(settings.database, candidate)
        except (SQLAlchemyError, ValueError) as error:
            raise _no_database(error) from error
        log.info("%s stands by on %s", candidate.name, self.rest_url)

        def tell(words: str) -> None:
            self._door.waits_for = words

        try:
            term = await campaign.lead(tell)
        except AnotherAuthority as error:
            raise CannotStart(str(error), "give every replica the same --ca-dir") from error
        except NewerDatabase as error:
            raise CannotStart(str(error), "or give another --database-url") from error
        self._resources.push_async_callback(campaign.give_back, term)
        log.info("%s leads in term %d", candidate.name, term.number)
        self._door.waits_for = "this hub leads from now on and reads what there is"
        return term

    async def _store(self, term: Term | None) -> Store:
        store = Store(self.settings.database, term=term, settle_s=self.settings.leader_lease_s)
        try:
            await store.open()
        except DatabaseInUse as error:
            raise CannotStart(str(error), "or give another --data-dir") from error
        except (NewerDatabase, Deposed) as error:
            raise CannotStart(str(error), "or give another --database-url") from error
        except (SQLAlchemyError, OSError, ValueError) as error:
            raise _no_database(error) from error
        self._resources.push_async_callback(store.close)
        return store

    def _blobs(self) -> Blobs:
        try:
            return open_blobs(self.settings.models)
        except (ValueError, OSError) as error:
            raise CannotStart(
                f"the store of models {self.settings.models} cannot be used: {error}", "give another --models-store"
            ) from error

    async def _set_prices(self, prices: Prices) -> None:
        path = self.settings.price_book
        if path is None:
            return
        try:
            book = pricebook.parse(path.read_bytes())
        except (OSError, ManifestError) as error:
            raise CannotStart(f"the price book {path} cannot be used: {error}", "mend the file") from error
        if book != await prices.book(_ITSELF):
            for warning in await prices.replace(_ITSELF, book, regions_may_come=True):
                log.warning("the price book %s: %s", path, warning)

    async def _first_admin(self, access: Access) -> str:
        """The token is on disk before it counts: a crash in between makes it count at the next start.

        A file that somebody else has made is read and never written.
        """
        path, known = self.settings.token_path, self._known_token()
        token = known or new_bootstrap_token()
        if not known:
            try:
                private_file.write(path, token.encode() + b"\n")
            except OSError as error:
                raise CannotStart(
                    f"the admin token cannot be written to {path}: {error}", "give another --admin-token-file"
                ) from error
        if await access.bootstrap(token) is not None:
            log.info("the first admin's token is in %s", path)
        elif not known:
            path.unlink()  # there are users already, and this token is none of theirs
            return ""
        elif not await _counts(access, token):
            log.warning("the token in %s is no user's: it counts only where there are no users yet", path)
            return ""
        return token

    def _known_token(self) -> str:
        """ "" where there is no file."""
        path = self.settings.token_path
        try:
            known = path.read_text().strip() if path.exists() else None
        except (OSError, ValueError) as error:
            raise CannotStart(
                f"the admin token cannot be read from {path}: {error}", "give another --admin-token-file"
            ) from error
        if known is None:
            return ""
        if problem := weakness_of(known):
            raise CannotStart(f"the admin token in {path} {problem}", "put a better one there, or remove the file")
        return known

    def _run_loop(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(loop, name=name)
        task.add_done_callback(self._ended)

        async def end() -> None:
            task.remove_done_callback(self._ended)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        self._resources.push_async_callback(end)

    def _ended(self, task: asyncio.Task[None]) -> None:
        log.critical("the loop %s ended", task.get_name(), exc_info=None if task.cancelled() else task.exception())
        self.failed.set()

    async def _open_link(self, uplink: Uplink, authority: Authority, directory: Directory) -> str:
        settings = self.settings
        try:
            link = await link_server.serve(
                uplink,
                authority,
                directory,
                host=settings.grpc_host,
                port=settings.grpc_port,
                names=settings.certificate_names,
                clock=self._clock,
            )
        except OSError as error:
            raise CannotStart(str(error), "give another --grpc-host or --grpc-port") from error
        self._resources.push_async_callback(link.stop)
        return _address(settings.grpc_host, link.port)

    def _open_api(self, parts: _Parts, authority: Authority, server: rest.RestServer) -> None:
        settings = self.settings
        closing = asyncio.Event()
        services = Services(
            jobs=parts.jobs,
            crons=parts.crons,
            clusters=parts.clusters,
            access=parts.access,
            prices=parts.prices,
            queues=parts.queues,
            tenants=parts.tenants,
            kinds=parts.kinds,
            distributions=parts.distributions,
            overrides=parts.overrides,
            costs=parts.costs,
            datasets=parts.datasets,
            models=parts.models,
            rebalancing=parts.rebalancing,
            tunnels=parts.tunnels,
            usages=Usages(parts.jobs, parts.directory),
            happenings=parts.happenings,
            endpoints=Endpoints(parts.jobs, parts.directory, parts.copies.federation),
            ca_pem=authority.ca_pem,
            last_event=lambda: parts.copies.feed.last,
            grpc_address=settings.grpc_public_address or f":{self.grpc_address.rpartition(':')[2]}",
            check_ready=lambda: self._check_ready(parts.store),
            closing=closing,
        )
        self._door.open(create_api(services))
        self._resources.push_async_callback(server.stop)  # before the parts that its requests use
        self._resources.callback(closing.set)  # first of all when stopping

    async def _check_ready(self, store: Store) -> None:
        """Raises NotReady, or what the store raised."""
        if self.failed.is_set():
            raise NotReady("a part of the hub has failed; the hub is ending")
        await store.read(users.count)

    def _save_context(self) -> None:
        """What `muster` needs to talk to this hub from this machine: MUSTER_CONTEXT=<data>/context.json."""
        from hub.cli.context import Connection, save

        if self.admin_token:
            ca = str(self.ca_file.resolve())
            save(self.settings.data_dir / "context.json", Connection(self.rest_url, self.admin_token, ca))


@dataclass(frozen=True, slots=True)
class _Parts:
    copies: Copies
    directory: Directory
    jobs: Jobs
    crons: Crons
    clusters: Clusters
    access: Access
    prices: Prices
    queues: Queues
    tenants: TenantBook
    kinds: KindBook
    distributions: Distributions
    overrides: OverrideBook
    costs: Costs
    datasets: Datasets
    models: Models
    rebalancing: Rebalancing
    tunnels: Tunnels
    happenings: Happenings
    uplink: Uplink
    presence: Presence
    placing: PlacingLoop
    dividing: DividingLoop
    health: HealthLoop
    distributing: DistributingLoop
    calendar: CalendarLoop
    store: Store


def _federation(settings: HubSettings) -> Federation:
    queues = QueueTree.of(map(Queue, settings.queues))
    return Federation(
        heartbeat_s=settings.heartbeat_s,
        lease_s=settings.lease_s,
        queues=queues,
        half_life_h=settings.fair_share_half_life_h,
    )


def _assemble(
    store: Store,
    copies: Copies,
    authority: Authority,
    clock: Clock,
    rng: Random,
    settings: HubSettings,
    blobs: Blobs,
) -> _Parts:
    directory, catalogue = Directory(), Catalogue.builtin()
    federation, backlog = copies.federation, copies.backlog

    def read(text: bytes, *, namespace: str) -> Sequence[Submission]:
        return reader.read(text, catalogue, namespace=namespace, salt=secrets.token_hex(4))

    def rendered(
        objects: Sequence[Object],
        *,
        job: str,
        epoch: int,
        data: Sequence[DataPlace] = (),
        pods: Mapping[str, int] | None = None,
    ) -> Sequence[Object]:
        return render.render(objects, catalogue, job=job, epoch=epoch, data=data, pods=pods)

    def admit(submission: Submission, actor: Actor) -> Admitted:
        return admission.admit(submission, actor, federation.tenants, catalogue)

    token_life = timedelta(seconds=settings.join_token_life_s)
    clusters = Clusters(store, federation, authority, directory, clock=clock, token_life=token_life)

    def judge(tenant: str) -> Judge:
        policy = federation.tenants.of(tenant).policy
        return Judge(catalogue, lambda submission: admission.footprint_of(submission, catalogue), policy)

    overriding = Overriding(federation, backlog, judge)
    presence = Presence(directory, federation, backlog, clock=clock)
    planning = Planning(planner.Planner().plan, invariants.check, rendered, overriding, presence)
    kinds = KindBook(store, catalogue, directory, clock=clock)
    jobs = Jobs(
        store,
        federation,
        backlog,
        copies.feed,
        read,
        admit,
        planner.plan_fully,
        directory,
        overriding,
        rendered,
        presence,
        catalogue,
        clock=clock,
        rng=rng,
    )
    crons = Crons(store, jobs, catalogue, clock=clock, rng=rng)
    return _Parts(
        copies=copies,
        directory=directory,
        jobs=jobs,
        crons=crons,
        tunnels=Tunnels(store, jobs, directory, clock=clock),
        happenings=Happenings(jobs, directory, clock=clock),
        clusters=clusters,
        access=Access(store, clock=clock),
        prices=Prices(store, federation),
        queues=Queues(store, federation, backlog, clock=clock),
        tenants=TenantBook(store, federation),
        kinds=kinds,
        distributions=Distributions(store, federation, catalogue, directory, clock=clock),
        overrides=OverrideBook(store, federation, clock=clock),
        costs=Costs(store, clock=clock),
        datasets=Datasets(store, federation),
        models=Models(store, Storage(store, blobs, clock=clock)),
        rebalancing=Rebalancing(federation, backlog, clock=clock),
        uplink=Uplink(
            store,
            federation,
            backlog,
            copies.outbox,
            clusters,
            authority.ca_pem,
            clock=clock,
            kind_files=lambda: kinds.files,
        ),
        presence=presence,
        placing=PlacingLoop(store, federation, backlog, planning, clock=clock),
        dividing=DividingLoop(store, federation, backlog, copies.wholes, catalogue, clock=clock, rng=rng),
        health=HealthLoop(store, federation, clock=clock, keep_ended_days=settings.keep_ended_days),
        distributing=DistributingLoop(store, clock=clock),
        calendar=CalendarLoop(store, crons, clock=clock),
        store=store,
    )


def _no_database(error: Exception) -> CannotStart:
    return CannotStart(
        f"the database cannot be opened: {str(error).splitlines()[0]}", "mend --database-url, or the file"
    )


async def _counts(access: Access, token: str) -> bool:
    try:
        await access.authenticate(token)
    except Unauthenticated:
        return False
    return True


async def _keep(store: Store, term: Term, lease_s: float) -> None:
    """Returns when the term is lost."""
    keeping = asyncio.ensure_future(leadership.keep(store, lease_s, clock=time.monotonic, sleep=asyncio.sleep))
    losing = asyncio.ensure_future(store.lost.wait())
    try:
        await asyncio.wait((keeping, losing), return_when=asyncio.FIRST_COMPLETED)
        why = keeping.result() if keeping.done() else "a write was refused, since another replica has taken over"
        log.critical("this replica no longer leads (term %d): %s; it ends, to stand by anew", term.number, why)
    finally:
        keeping.cancel()
        losing.cancel()


def _address(host: str, port: int) -> str:
    """As this machine reaches it."""
    host = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host  # noqa: S104
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# ---- the process ----


def run(settings: HubSettings) -> None:
    """Until a signal. Raises CannotStart; SystemExit 1 where a part of the hub failed."""
    from hub.logs import configure

    # Keys, tokens and the database: whatever this process makes is its owner's, also in a directory open to all.
    os.umask(0o077)
    configure(settings.log_level)
    if not service_loop.run(_serve(settings)):
        raise SystemExit(1)


async def _serve(settings: HubSettings) -> bool:
    """Whether it ended as asked."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    hub = Hub(settings)
    starting = asyncio.ensure_future(hub.start())
    waiting = [asyncio.ensure_future(event.wait()) for event in (asked, hub.failed)]
    try:
        await asyncio.wait((starting, *waiting), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _greet(hub)
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # a second one ends the process at once
        log.info("hub stopping")
        return not hub.failed.is_set()
    finally:
        for one in (starting, *waiting):
            one.cancel()
        with suppress(asyncio.CancelledError, CannotStart):
            await starting
        await hub.stop()


def _greet(hub: Hub) -> None:
    if sys.stderr.isatty():
        context = hub.settings.data_dir / "context.json"
        sys.stderr.write(
            f"\nMuster hub at {hub.rest_url}, spokes at {hub.grpc_address}.\n"
            f"  export MUSTER_CONTEXT={context.resolve()}\n  muster cluster token NAME\n\n"
        )
