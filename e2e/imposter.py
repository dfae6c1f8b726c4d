"""A spoke that lies: speaks the link's protocol by hand, with whatever certificate it is given."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from types import TracebackType

import grpc

from hub.client import MusterClient
from spoke import identity
from spoke.identity import Identity
from wire import link_pb2 as pb
from wire.link_pb2_grpc import LinkStub


class Imposter:
    """`with Imposter(address, identity) as spoke:` has said hello and been welcomed. Raises grpc.RpcError."""

    def __init__(self, address: str, known: Identity) -> None:
        credentials = grpc.ssl_channel_credentials(known.ca_pem, known.key_pem, known.certificate_pem)
        self._channel = grpc.secure_channel(address, credentials)
        self._outgoing: queue.SimpleQueue[pb.FromSpoke | None] = queue.SimpleQueue()
        self.welcome: pb.Welcome | None = None

    def __enter__(self) -> Imposter:
        self.send(pb.FromSpoke(hello=pb.Hello(agent_version="0", protocol=1, session="imposter")))
        self._incoming: Iterator[pb.FromHub] = LinkStub(self._channel).Connect(
            iter(self._outgoing.get, None), timeout=60
        )
        first = next(self._incoming)
        assert first.WhichOneof("message") == "welcome", first
        self.welcome = first.welcome
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._outgoing.put(None)
        self._channel.close()

    def send(self, message: pb.FromSpoke) -> None:
        self._outgoing.put(message)

    def report(self, job: str, epoch: int, event: str, seq: int = 1_000) -> None:
        ref = pb.JobEpoch(job=job, epoch=epoch)
        self.send(pb.FromSpoke(reports=pb.Reports(reports=[pb.Report(ref=ref, seq=seq, event=event, reason="a lie")])))

    def until_answered(self) -> pb.FromHub:
        """The next thing that the hub says, other than commands."""
        return next(message for message in self._incoming if message.WhichOneof("message") != "commands")


def join(client: MusterClient, token: str) -> Identity:
    """What a spoke gets for a token."""
    key_pem, csr_pem = identity.new_request()
    answer = client.join(token, csr_pem.decode())
    return identity.assemble(key_pem, answer.certificate_pem.encode(), answer.ca_pem.encode())
