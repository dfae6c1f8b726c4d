"""A spoke that says whatever a test wants, at the level of messages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from spoke.identity import Identity
from wire import lanes
from wire import link_pb2 as pb
from wire.link_pb2_grpc import LinkStub

HELLO = pb.FromSpoke(hello=pb.Hello(agent_version="raw", protocol=1, session="s"))


class RawSpoke:
    def __init__(self, port: int, own: Identity) -> None:
        credentials = grpc.ssl_channel_credentials(own.ca_pem, own.key_pem, own.certificate_pem)
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", lanes.MESSAGE_LIMIT))
        self.channel = grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options)
        self.stub: Any = LinkStub(self.channel)
        self.call = self.stub.Connect()

    async def __aenter__(self) -> RawSpoke:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    async def hello(self) -> pb.FromHub:
        await self.say(HELLO)
        return await self.hear()

    async def say(self, *messages: pb.FromSpoke) -> None:
        for message in messages:
            await self.call.write(message)

    async def hear(self, timeout_s: float = 5.0) -> pb.FromHub:
        async with asyncio.timeout(timeout_s):
            message = await self.call.read()
        assert isinstance(message, pb.FromHub), "the stream ended"
        return message

    async def hear_goodbye(self, timeout_s: float = 5.0) -> str:
        """The code; whatever comes before it is passed over, and the stream ends after it."""
        while True:
            message = await self.hear(timeout_s)
            if message.WhichOneof("message") == "goodbye":
                async with asyncio.timeout(timeout_s):
                    assert await self.call.read() is grpc.aio.EOF
                return message.goodbye.code


def reports(*items: pb.Report) -> pb.FromSpoke:
    return pb.FromSpoke(reports=pb.Reports(reports=items))


def report(job: str, seq: int, event: str = "running", epoch: int = 1) -> pb.Report:
    return pb.Report(ref=pb.JobEpoch(job=job, epoch=epoch), seq=seq, event=event, at=1.0)


def acks(ids: Sequence[int], job: str = "j-a") -> pb.FromSpoke:
    made = [pb.CommandAck(id=number, ref=pb.JobEpoch(job=job, epoch=1)) for number in ids]
    return pb.FromSpoke(acks=pb.CommandAcks(acks=made))
