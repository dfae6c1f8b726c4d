"""The gRPC door for spokes: mutual TLS, one live stream per cluster, renewal of certificates.

Who calls is what the verified client certificate says, and nothing else: no message has a field for it. The newest
stream of a cluster counts, for an older one may be a connection that died without anybody noticing. To HubSide the
streams of one cluster look like this: `attach` for each, in order, and `detach` only when the last one of them ended,
never while another is live; the calls for one cluster do not overlap. A removed cluster is HubSide's to refuse in
`attach`; `Directory.close` also ends the streams whose `attach` is under way, so that none slips through between.

The server's certificate is looked at again every hour and replaced in the running server when it is renewed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import grpc.aio

from hub.link.directory import Directory
from hub.link.port import Attached, HubSide, NotWelcome
from hub.link.stream import GOODBYE_S, Context, Stream
from hub.pki import Authority, RequestRefused
from wire import certificates, lanes
from wire import link_pb2 as pb
from wire.certificates import BadCertificate, ClusterCertificate
from wire.link_pb2_grpc import LinkServicer, add_LinkServicer_to_server

log = logging.getLogger(__name__)

PROTOCOL = 1
HELLO_S = 15.0  # for the first message of a stream
CERTIFICATE_CHECK = timedelta(hours=1)

_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", lanes.MESSAGE_LIMIT),
    ("grpc.max_send_message_length", lanes.MESSAGE_LIMIT),
    # A spoke whose machine vanished is noticed within half a minute; spokes may ping every five seconds.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.so_reuseport", 0),  # two hubs on one port are a mistake, not a cluster
)


class LinkServer:
    """Made by `serve`."""

    def __init__(self, server: grpc.aio.Server, service: LinkService, port: int) -> None:
        self._server = server
        self._service = service
        self.port = port

    async def stop(self, grace_s: float = 2.0) -> None:
        """Says goodbye to every spoke; they come again when a hub is back."""
        self._service.close_all("shutdown", "the hub stops")
        await self._server.stop(max(grace_s, GOODBYE_S))


async def serve(
    side: HubSide,
    authority: Authority,
    directory: Directory,
    *,
    host: str,
    port: int,
    names: Sequence[str],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> LinkServer:
    """Listens; `port` 0 takes a free one (`.port` says which). `names` are those that spokes dial (SANs).

    Raises OSError where the address cannot be had.
    """
    server = grpc.aio.server(options=_OPTIONS)
    service = LinkService(side, directory, clock)
    add_LinkServicer_to_server(service, server)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_secure_port(address, _credentials(authority, names, clock))
    except RuntimeError as error:
        await server.stop(None)  # one that is merely dropped blocks the loop when it is collected
        raise OSError(f"cannot listen on {address} for spokes: {error}") from error
    await server.start()
    return LinkServer(server, service, bound)


def _credentials(authority: Authority, names: Sequence[str], clock: Callable[[], datetime]) -> grpc.ServerCredentials:
    look_again = clock() + CERTIFICATE_CHECK

    def configuration() -> grpc.ServerCertificateConfiguration:
        certificate = authority.server_certificate(names, clock())
        pair = (certificate.key_pem, certificate.certificate_pem)
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=authority.ca_pem)

    def fetch() -> Any:  # gRPC's type stubs do not know of the None
        """Asked by gRPC at each handshake, on a thread of its own; None keeps the present one."""
        nonlocal look_again
        if clock() < look_again:
            return None
        look_again = clock() + CERTIFICATE_CHECK
        return configuration()

    return grpc.dynamic_ssl_server_credentials(configuration(), fetch, require_client_authentication=True)


class LinkService(LinkServicer):
    def __init__(self, side: HubSide, directory: Directory, clock: Callable[[], datetime]) -> None:
        self._side = side
        self._directory = directory
        self._clock = clock
        self._attached: dict[str, Stream] = {}  # by cluster: the stream that HubSide knows of
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def Connect(  # type: ignore[override]  # noqa: N802 - grpc.aio also takes one that reads and writes by itself
        self, request_iterator: object, context: Context
    ) -> None:
        peer = await _peer(context)
        hello = await self._hello(peer, context)
        if hello is None:
            return
        stream = Stream(peer, hello.session, self._side, context, self._clock, hello.capabilities)
        try:
            attached = await self._attach(peer, hello, stream)
            await stream.run(attached)
        except NotWelcome as error:  # of attach: nothing was written yet
            log.warning("cluster %s is not welcome: %s", peer.cluster, error.message)
            await context.write(_goodbye(error.code, error.message))
        except Exception:
            log.exception("cluster %s: its stream ends, it will come again", peer.cluster)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the hub cannot serve this stream now; come again")
        finally:
            # In a task of its own, for this one may be under cancellation (the peer went away).
            await asyncio.shield(asyncio.ensure_future(self._left(stream)))

    async def Renew(self, request: pb.RenewRequest, context: Any) -> pb.RenewResponse:  # noqa: N802
        peer = await _peer(context)
        try:
            certificate_pem, ca_pem = await self._side.renew(peer.cluster, peer.serial, request.csr_pem)
        except NotWelcome as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{error.code}: {error.message}")
        except RequestRefused as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return pb.RenewResponse(certificate_pem=certificate_pem, ca_pem=ca_pem)

    def close_all(self, code: str, message: str) -> None:
        for cluster in self._directory.clusters():
            self._directory.close(cluster, code, message)

    async def _hello(self, peer: ClusterCertificate, context: Context) -> pb.Hello | None:
        try:
            async with asyncio.timeout(HELLO_S):
                first = await context.read()
        except TimeoutError:
            return None
        if not isinstance(first, pb.FromSpoke):  # grpc.aio.EOF
            return None
        if first.WhichOneof("message") != "hello" or first.hello.protocol != PROTOCOL:
            problem = (
                f"this hub speaks protocol {PROTOCOL} and wants a hello first; is the spoke's version another one?"
            )
            log.warning("cluster %s: no hello of protocol %d", peer.cluster, PROTOCOL)
            await context.write(_goodbye("protocol", problem))
            return None
        return first.hello

    async def _attach(self, peer: ClusterCertificate, hello: pb.Hello, stream: Stream) -> Attached:
        self._directory.expect(stream)
        async with self._turns[peer.cluster]:
            attached = await self._side.attach(peer.cluster, peer.serial, hello.agent_version, hello.session)
            self._attached[peer.cluster] = stream
            older = self._directory.enter(stream)
        if older is not None:
            older.end("displaced", f"a newer connection of cluster {peer.cluster} took this one's place")
        log.info("cluster %s connected", peer.cluster)
        return attached

    async def _left(self, stream: Stream) -> None:
        self._directory.leave(stream)
        async with self._turns[stream.cluster]:
            if self._attached.get(stream.cluster) is stream:
                del self._attached[stream.cluster]
                await self._side.detach(stream.cluster, stream.session)
                log.info("cluster %s disconnected", stream.cluster)


async def _peer(context: Any) -> ClusterCertificate:
    """What the verified client certificate says. Without one no call gets this far."""
    try:
        (certificate_pem,) = context.auth_context()["x509_pem_cert"]
        return certificates.read_cluster(certificate_pem)
    except (KeyError, ValueError) as error:  # BadCertificate is a ValueError
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"the certificate speaks for no cluster: {error}")
        raise BadCertificate from error  # not reached: abort raises


def _goodbye(code: str, message: str) -> pb.FromHub:
    return pb.FromHub(goodbye=pb.Goodbye(code=code, message=message))
