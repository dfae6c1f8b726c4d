"""Keeps this spoke connected to its hub: dials out, dials again, renews the certificate in time.

One stream at a time (`spoke.session`), over mutual TLS with the spoke's own certificate. When it ends, the next attempt
waits a little longer each time, up to a limit, with jitter, so that a hub that comes back is not met by all its spokes
at once; a stream that outlived the wait before it starts the series anew. At two thirds of the certificate's life a new
one is asked for over the same connection, with a fresh key, and the stream changes over to it; streams begin so that
nothing is lost in between. A certificate that expired while the hub was out of reach cannot be renewed: `run` raises.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from spoke import identity
from spoke.identity import Identity
from spoke.ledger import LedgerUnusable
from spoke.port import AgentSide
from spoke.session import Ended, Session
from wire import lanes
from wire import link_pb2 as pb
from wire.link_pb2_grpc import LinkStub

if TYPE_CHECKING:  # the stub of an asynchronous channel has a type of its own, and no class
    from wire.link_pb2_grpc import LinkAsyncStub

log = logging.getLogger(__name__)

_OPTIONS = (
    ("grpc.max_receive_message_length", lanes.MESSAGE_LIMIT),
    ("grpc.max_send_message_length", lanes.MESSAGE_LIMIT),
    # A hub whose machine vanished, or a NAT that forgot the connection, is noticed within 20 seconds.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Each connection is made with the certificate of now, never shared with one made before a renewal.
    ("grpc.use_local_subchannel_pool", 1),
)


class MustJoinAgain(Exception):
    """The certificate expired. Only a new token helps."""


@dataclass(frozen=True, slots=True)
class Pace:
    first_wait_s: float = 0.2
    longest_wait_s: float = 15.0
    displaced_wait_s: float = 60.0  # another agent serves this cluster: look again now and then
    welcome_s: float = 20.0
    renewal_check_s: float = 30.0
    renewal_s: float = 20.0


class Link:
    """`identity_directory` holds the identity, and gets each renewed one. `session` is random, new at each start."""

    def __init__(
        self,
        side: AgentSide,
        present: Identity,
        *,
        address: str,
        identity_directory: Path,
        version: str,
        session: str,
        rng: Random,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        pace: Pace = Pace(),
    ) -> None:
        self._side = side
        self._identity = present
        self._address = address
        self._directory = identity_directory
        self._version = version
        self._session_name = session
        self._rng = rng
        self._clock = clock
        self._pace = pace
        self._session: Session | None = None
        self._renewed = False
        self.last_end: Ended | None = None  # why the last stream ended, for people
        self.apart_since = clock()  # while not connected

    @property
    def connected(self) -> bool:
        return self._session is not None and self._session.welcomed

    @property
    def identity(self) -> Identity:
        return self._identity

    async def run(self) -> None:
        """Until the hub says that this cluster was removed. Raises MustJoinAgain, LedgerUnusable."""
        failures = 0
        while True:
            if identity.must_join_again(self._identity.certificate, self._clock()):
                raise MustJoinAgain(
                    f"the certificate of cluster {self._identity.cluster} expired at "
                    f"{self._identity.certificate.expires_at:%F %T} UTC; join again with a new token "
                    f"(at the hub: muster cluster token {self._identity.cluster})"
                )
            began = asyncio.get_running_loop().time()
            ended = await self._one_stream()
            lived_s = asyncio.get_running_loop().time() - began
            if ended is None:  # changed over to a new certificate
                failures = 0
                continue
            self.last_end = ended
            if ended.code == "removed":
                log.error("the hub removed this cluster: %s", ended.message)
                await self._side.removed()
                return
            if ended.welcomed and lived_s > wait_s(failures, self._pace):
                failures = 0
            await self._wait(ended, failures)
            failures += 1

    async def _wait(self, ended: Ended, failures: int) -> None:
        longest_s = self._pace.displaced_wait_s if ended.code == "displaced" else wait_s(failures, self._pace)
        pause_s = longest_s * self._rng.uniform(0.5, 1.0)
        log.warning("the link to %s ended (%s: %s); again in %.1f s", self._address, ended.code, ended.message, pause_s)
        await asyncio.sleep(pause_s)

    async def _one_stream(self) -> Ended | None:
        """How it ended; None where the certificate was renewed."""
        channel = grpc.aio.secure_channel(self._address, _credentials(self._identity), options=_OPTIONS)
        ended: list[Ended] = []
        self._renewed = False
        try:
            stub: LinkAsyncStub = LinkStub(channel)
            await lanes.until_one_ends(self._converse(stub, ended), self._renew_in_time(stub))
        except LedgerUnusable:
            raise
        except Exception as error:  # of AgentSide: the next stream begins with everything that is not acknowledged
            log.exception("the agent failed while it served the link")
            return Ended("lost", f"{type(error).__name__}: {error}", True)
        finally:
            if self.connected:
                self.apart_since = self._clock()
            self._session = None
            await channel.close()
        return None if self._renewed else ended[0]

    async def _converse(self, stub: LinkAsyncStub, ended: list[Ended]) -> None:
        self._session = Session(self._side, stub.Connect())
        ended.append(
            await self._session.run(version=self._version, session=self._session_name, welcome_s=self._pace.welcome_s)
        )

    async def _renew_in_time(self, stub: LinkAsyncStub) -> None:
        """Returns once there is a new certificate, in memory and on disk."""
        while True:
            # Looked at often rather than slept until: machines are suspended and clocks are set.
            if self.connected and self._clock() >= identity.renew_at(self._identity.certificate):
                try:
                    await self._renew(stub)
                except (grpc.aio.AioRpcError, identity.BadIdentity) as error:
                    reason = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
                    expires_at = self._identity.certificate.expires_at
                    log.error(
                        "the certificate was not renewed (%s); it is good until %s UTC", reason, f"{expires_at:%F %T}"
                    )
                else:
                    self._renewed = True
                    return
            certificate = self._identity.certificate
            life_s = (certificate.expires_at - certificate.not_before).total_seconds()
            await asyncio.sleep(min(self._pace.renewal_check_s, life_s / 20))

    async def _renew(self, stub: LinkAsyncStub) -> None:
        key_pem, csr_pem = identity.new_request()
        answer = await stub.Renew(pb.RenewRequest(csr_pem=csr_pem), timeout=self._pace.renewal_s)
        # The CA stays the one that this spoke joined with: a connection cannot vouch for another one.
        own = self._identity
        fresh = identity.assemble(key_pem, answer.certificate_pem, own.ca_pem, own.grpc_address, own.token_id)
        if fresh.cluster != own.cluster:
            raise identity.BadIdentity(f"the hub's new certificate is for {fresh.cluster}, not {own.cluster}")
        identity.save(self._directory, fresh)
        self._identity = fresh
        log.info("the certificate was renewed; it is good until %s UTC", f"{fresh.certificate.expires_at:%F %T}")


def wait_s(failures: int, pace: Pace) -> float:
    """Before the attempt after so many that failed in a row: doubling, up to the limit, before jitter."""
    return min(pace.longest_wait_s, pace.first_wait_s * 2.0 ** min(failures, 30))


def _credentials(own: Identity) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(own.ca_pem, own.key_pem, own.certificate_pem)
