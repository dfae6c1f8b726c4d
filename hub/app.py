"""The composition root: every part of the hub made, joined, started in order and stopped in reverse.

One event loop for all of it. What is listened on comes last, so that nobody is let in before the store, the fleet and
the loops are there; and what ends first are the open streams, so that stopping takes as long as the last request.

    async with Hub(HubSettings(data_dir=path, rest_port=0, grpc_port=0)) as hub:
        MusterClient(hub.rest_url, hub.admin_token, ca=hub.ca_file)

Not promised: supervision. When a loop ends that should not, `failed` says so and `run` ends the process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from hub import admission, rest
from hub.access import Access, new_bootstrap_token
from hub.admission import Submission
from hub.api import pricebook
from hub.api.app import create_api
from hub.api.services import Services
from hub.clusters import Clusters
from hub.federation import Federation
from hub.jobs import Jobs
from hub.link import server as link_server
from hub.link.directory import Directory
from hub.loops.health import HealthLoop
from hub.loops.placing import PlacingLoop, Planning
from hub.loops.resume import Copies, resume
from hub.pki import Authority, DamagedAuthority
from hub.prices import Prices
from hub.records import Actor, Object, UserRole
from hub.settings import HubSettings
from hub.store import users
from hub.store.dialect import DatabaseInUse
from hub.store.store import Store
from hub.uplink import Uplink
from placement import invariants, planner
from placement.kinds import reader, render
from placement.kinds.catalogue import Catalogue
from placement.kinds.problems import ManifestError, Problem
from wire import private_file, service_loop

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]

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
        store = await self._store()
        copies = Copies.empty(_federation(settings))
        await resume(store, copies, clock)
        parts = _assemble(store, copies, authority, clock, self._rng, settings)
        await self._set_prices(parts.prices)
        self.admin_token = await self._first_admin(parts.access)
        self._run_loop("placing", parts.placing.run())
        self._run_loop("health", parts.health.run())
        self.grpc_address = await self._open_link(parts.uplink, authority, parts.directory)
        self.rest_url = await self._open_rest(parts, authority)
        self._save_context()
        log.info("hub started rest=%s link=%s data=%s", self.rest_url, self.grpc_address, settings.data_dir)

    def _authority(self) -> Authority:
        """Makes the data directory, the CA in it, and the CA's certificate for people to copy."""
        data_dir = self.settings.data_dir
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            life = timedelta(seconds=self.settings.certificate_life_s)
            authority = Authority.open(data_dir / "pki", self._clock(), spoke_life=life)
            if not self.ca_file.exists() or self.ca_file.read_bytes() != authority.ca_pem:
                private_file.write(self.ca_file, authority.ca_pem)
                self.ca_file.chmod(0o644)
        except DamagedAuthority as error:
            raise CannotStart(str(error), "see above") from error
        except OSError as error:
            raise CannotStart(
                f"the data directory {data_dir} cannot be used: {error}", "mend it, or give another --data-dir"
            ) from error
        return authority

    async def _store(self) -> Store:
        store = Store(self.settings.database)
        try:
            await store.open()
        except DatabaseInUse as error:
            raise CannotStart(str(error), "or give another --data-dir") from error
        except (SQLAlchemyError, OSError, ValueError) as error:
            raise CannotStart(
                f"the database cannot be opened: {str(error).splitlines()[0]}", "mend --database-url, or the file"
            ) from error
        self._resources.push_async_callback(store.close)
        return store

    async def _set_prices(self, prices: Prices) -> None:
        path = self.settings.price_book
        if path is None:
            return
        try:
            book = pricebook.parse(path.read_bytes())
        except (OSError, ManifestError) as error:
            raise CannotStart(f"the price book {path} cannot be used: {error}", "mend the file") from error
        if book != await prices.book(_ITSELF):
            await prices.replace(_ITSELF, book)

    async def _first_admin(self, access: Access) -> str:
        """The token is on disk before it counts: a crash in between makes it count at the next start."""
        path = self.settings.token_path
        known = path.read_text().strip() if path.exists() else ""
        token = known or new_bootstrap_token()
        if not known:
            private_file.write(path, token.encode() + b"\n")
        if await access.bootstrap(token) is not None:
            log.info("the first admin's token is in %s", path)
        elif not known:
            path.unlink()  # there are users already, and this token is none of theirs
            return ""
        return token

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

    async def _open_rest(self, parts: _Parts, authority: Authority) -> str:
        settings = self.settings
        try:
            listener = rest.listen(settings.rest_host, settings.rest_port)
        except OSError as error:
            raise CannotStart(
                f"cannot listen on {settings.rest_host}:{settings.rest_port}: {error.strerror}",
                "give another --rest-host or --rest-port",
            ) from error
        closing = asyncio.Event()
        services = Services(
            jobs=parts.jobs,
            clusters=parts.clusters,
            access=parts.access,
            prices=parts.prices,
            ca_pem=authority.ca_pem,
            last_event=lambda: parts.copies.feed.last,
            grpc_address=settings.grpc_public_address or f":{self.grpc_address.rpartition(':')[2]}",
            check_ready=parts.check_ready,
            closing=closing,
        )
        server = rest.RestServer(create_api(services), listener, authority, settings.certificate_names, self._clock)
        self._resources.push_async_callback(server.stop)
        await server.start()
        self._resources.callback(closing.set)  # first of all when stopping
        return f"https://{_address(settings.rest_host, listener.getsockname()[1])}"

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
    clusters: Clusters
    access: Access
    prices: Prices
    uplink: Uplink
    placing: PlacingLoop
    health: HealthLoop
    store: Store

    async def check_ready(self) -> None:
        await self.store.read(users.count)


def _federation(settings: HubSettings) -> Federation:
    return Federation(heartbeat_s=settings.heartbeat_s, lease_s=settings.lease_s, queues=frozenset(settings.queues))


def _assemble(
    store: Store, copies: Copies, authority: Authority, clock: Clock, rng: Random, settings: HubSettings
) -> _Parts:
    directory, catalogue = Directory(), Catalogue.builtin()
    federation, backlog = copies.federation, copies.backlog

    def read(text: bytes, *, namespace: str) -> Sequence[Submission]:
        return reader.read(text, catalogue, namespace=namespace, salt=secrets.token_hex(4))

    def rendered(objects: Sequence[Object], *, job: str, epoch: int) -> Sequence[Object]:
        return render.render(objects, catalogue, job=job, epoch=epoch)

    def refusals(submission: Submission, actor: Actor) -> Sequence[Problem]:
        return admission.refusals(submission, actor, catalogue)

    token_life = timedelta(seconds=settings.join_token_life_s)
    clusters = Clusters(store, federation, authority, directory, clock=clock, token_life=token_life)
    planning = Planning(planner.Planner().plan, invariants.check, rendered)
    return _Parts(
        copies=copies,
        directory=directory,
        jobs=Jobs(
            store, federation, backlog, copies.feed, read, refusals, planner.plan, directory, clock=clock, rng=rng
        ),
        clusters=clusters,
        access=Access(store, clock=clock),
        prices=Prices(store, federation),
        uplink=Uplink(store, federation, backlog, copies.outbox, clusters, authority.ca_pem, clock=clock),
        placing=PlacingLoop(store, federation, backlog, planning, clock=clock),
        health=HealthLoop(store, federation, clock=clock, keep_ended_days=settings.keep_ended_days),
        store=store,
    )


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
    async with Hub(settings) as hub:
        _greet(hub)
        waiting = [asyncio.ensure_future(event.wait()) for event in (asked, hub.failed)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # a second one ends the process at once
        log.info("hub stopping")
        return not hub.failed.is_set()


def _greet(hub: Hub) -> None:
    if sys.stderr.isatty():
        context = hub.settings.data_dir / "context.json"
        sys.stderr.write(
            f"\nMuster hub at {hub.rest_url}, spokes at {hub.grpc_address}.\n"
            f"  export MUSTER_CONTEXT={context.resolve()}\n  muster cluster token NAME\n\n"
        )
