"""One stream of this spoke to its hub, from hello to its end: one reader, one writer, and a worker for each concern.

Whatever moment the stream breaks at, nothing is lost: commands are answered after the ledger has them, and unanswered
ones are sent again by the hub; reports that the hub has not acknowledged are read from the ledger again when the next
stream begins. So nothing here retries or remembers; it ends, and `spoke.link` dials again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from spoke.log_sender import LogSender
from spoke.port import AgentSide
from spoke.tunnel_server import TunnelServer
from wire import capabilities, distribution, lanes, presence, translate, translate_summary, usage
from wire import link_pb2 as pb
from wire.checks import ProtocolError
from wire.distribution import DistributionRef
from wire.lanes import Mailbox, Outbox
from wire.orders import Command, CommandAck, JobRef, Report, ReportAck
from wire.usage import Usage

log = logging.getLogger(__name__)

PROTOCOL = 1
SUMMARY_INTERVAL_S = 1.0
DATA_INTERVAL_S = 30.0
# Waiting for the ledger. Beyond this many the stream's reader waits too, and with it the hub's writer, nobody else.
COMMANDS_WAITING = 2048
DISTRIBUTIONS_WAITING = 64
_ANSWERS_AT_ONCE = 16

Call = grpc.aio.StreamStreamCall[pb.FromSpoke, pb.FromHub]


@dataclass(frozen=True, slots=True)
class Ended:
    """`code`: the Goodbye's (see link.proto), or "lost" where the stream broke without one."""

    code: str
    message: str
    welcomed: bool


class Session:
    def __init__(self, side: AgentSide, call: Call) -> None:
        self._side = side
        self._call = call
        self._outbox: Outbox[pb.FromSpoke] = Outbox()
        self._commands: Mailbox[Command] = Mailbox(COMMANDS_WAITING)
        self._report_acks: Mailbox[ReportAck] = Mailbox(4 * lanes.REPORT_WINDOW)
        self._distributions: Mailbox[pb.DistributionOrders] = Mailbox(DISTRIBUTIONS_WAITING)
        self._window = _Window(lanes.REPORT_WINDOW)
        self._logs = LogSender(side, self._outbox)
        self._tunnels = TunnelServer(side, self._outbox)
        self._asked: set[asyncio.Task[None]] = set()
        self.welcomed = False

    async def run(self, *, version: str, session: str, welcome_s: float) -> Ended:
        """Returns when the stream has ended; raises what AgentSide raised."""
        try:
            return await self._run(version, session, welcome_s)
        except grpc.aio.AioRpcError as error:
            return Ended("lost", f"{error.code().name}: {error.details()}", self.welcomed)
        except asyncio.InvalidStateError as error:  # grpc.aio's word for writing to a call that has ended
            return Ended("lost", str(error), self.welcomed)
        finally:
            self._call.cancel()
            await self._logs.close()
            await self._tunnels.close()
            for task in self._asked:
                task.cancel()

    async def _run(self, version: str, session: str, welcome_s: float) -> Ended:
        try:
            async with asyncio.timeout(welcome_s):
                hello = pb.Hello(
                    agent_version=version,
                    protocol=PROTOCOL,
                    session=session,
                    capabilities=sorted(capabilities.OURS),
                )
                await self._call.write(pb.FromSpoke(hello=hello))
                first = await self._call.read()
        except TimeoutError:
            return Ended("lost", f"no welcome within {welcome_s:g} s", False)
        if not isinstance(first, pb.FromHub):
            return await self._broken()
        match first.WhichOneof("message"):
            case "welcome":
                return await self._converse(first.welcome)
            case "goodbye":
                return Ended(first.goodbye.code, first.goodbye.message, False)
            case other:
                return Ended("lost", f"the hub began with {other} instead of a welcome", False)

    async def _converse(self, welcome: pb.Welcome) -> Ended:
        live = [JobRef(ref.job, ref.epoch) for ref in welcome.live]
        await self._side.welcomed(live, welcome.lease_s)
        self.welcomed = True
        ended: list[Ended] = []
        await lanes.until_one_ends(
            self._read(ended),
            self._write(),
            self._beat(welcome.heartbeat_s / 2),
            self._send_summaries(),
            self._send_reports(),
            self._send_data(),
            self._obey(),
            self._distribute(),
            self._send_distribution_reports(),
            self._note_report_acks(),
        )
        return ended[0]  # only the reader ever returns

    async def _broken(self) -> Ended:
        return Ended("lost", f"{(await self._call.code()).name}: {await self._call.details()}", self.welcomed)

    async def _read(self, ended: list[Ended]) -> None:
        while True:
            message = await self._call.read()
            if not isinstance(message, pb.FromHub):  # grpc.aio.EOF
                ended.append(await self._broken())
                return
            if message.WhichOneof("message") == "goodbye":
                ended.append(Ended(message.goodbye.code, message.goodbye.message, True))
                return
            await self._sort(message)

    async def _sort(self, message: pb.FromHub) -> None:
        match message.WhichOneof("message"):
            case "commands":
                commands, bad = translate.commands_from_wire(message.commands)
                await self._refuse(bad)
                await self._commands.put(commands)
            case "report_acks":
                acks, bad_acks = translate.report_acks_from_wire(message.report_acks)
                for _, error in bad_acks:
                    log.warning("dropped an acknowledgement of the hub: %s", error)
                self._window.acknowledged(acks)
                await self._report_acks.put(acks)
            case "kind_files":
                self._side.kinds_told(translate.kind_files_from_wire(message.kind_files))
            case "distribution_orders":
                await self._distributions.put([message.distribution_orders])
            case "log_request":
                await self._logs.request(message.log_request)
            case "usage_request":
                self._answer(self._tell_usage(message.usage_request))
            case "presence_request":
                self._answer(self._tell_presence(message.presence_request))
            case "log_credit":
                self._logs.grant(message.log_credit)
            case "log_stop":
                self._logs.stop(message.log_stop)
            case "tunnel_open":
                self._tunnels.open(message.tunnel_open)
            case "tunnel_data":
                self._tunnels.data(message.tunnel_data)
            case "tunnel_credit":
                self._tunnels.credit(message.tunnel_credit)
            case "tunnel_resize":
                self._tunnels.resize(message.tunnel_resize)
            case "tunnel_close":
                self._tunnels.closed(message.tunnel_close)
            case _:  # of a newer hub
                pass

    def _answer(self, telling: Coroutine[Any, Any, None]) -> None:
        """Beside the reader: it takes as long as the slowest node, or the API server."""
        if len(self._asked) >= _ANSWERS_AT_ONCE:
            telling.close()
            return
        task = asyncio.create_task(telling)
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def _tell_presence(self, request: pb.PresenceRequest) -> None:
        try:
            names = presence.names_from_wire(request)
            missing = await self._side.missing(names)
        except Exception:  # whoever asks hears nothing, and takes it for unknown
            log.exception("whether objects are there could not be found out")
            return
        await self._outbox.send(pb.FromSpoke(presence=presence.answer_to_wire(request.id, names, missing)))

    async def _tell_usage(self, request: pb.UsageRequest) -> None:
        try:
            found = await self._side.usage(frozenset(JobRef(ref.job, ref.epoch) for ref in request.jobs))
        except Exception as error:  # whoever asks is told; the stream has other things to do
            log.exception("what jobs use could not be measured")
            found = Usage((), (f"the spoke could not measure it: {type(error).__name__}",))
        for part in usage.to_wire(request.id, found):
            await self._outbox.send(pb.FromSpoke(usage=part))

    async def _refuse(self, bad: Sequence[tuple[pb.Command, ProtocolError]]) -> None:
        refusals = []
        for message, error in bad:
            log.warning("refused command %d of the hub: %s", message.id, error)
            if message.id and message.ref.job and message.ref.epoch:
                refusals.append(
                    CommandAck(message.id, JobRef(message.ref.job, message.ref.epoch), "invalid", str(error))
                )
        await self._acknowledge(refusals)

    async def _acknowledge(self, acks: Sequence[CommandAck]) -> None:
        for start in range(0, len(acks), lanes.ACKS_PER_MESSAGE):
            batch = [translate.ack_to_wire(ack) for ack in acks[start : start + lanes.ACKS_PER_MESSAGE]]
            await self._outbox.send(pb.FromSpoke(acks=pb.CommandAcks(acks=batch)))

    async def _write(self) -> None:
        try:
            while True:
                message, _ = await self._outbox.next()
                await self._call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The call has ended; why, the reader finds out: there may be a goodbye that it has not read yet.
            await asyncio.Event().wait()

    async def _beat(self, interval_s: float) -> None:
        nonce = 0
        while True:
            nonce += 1
            await self._outbox.send(pb.FromSpoke(heartbeat=pb.Heartbeat(nonce=nonce)))
            await asyncio.sleep(interval_s)

    async def _send_summaries(self) -> None:
        revision = -1
        while True:
            summary = await self._side.wait_for_summary(revision)
            revision = summary.revision
            await self._outbox.send(pb.FromSpoke(summary=translate_summary.summary_to_wire(summary)))
            await asyncio.sleep(SUMMARY_INTERVAL_S)

    async def _send_data(self) -> None:
        revision = 0
        while True:
            revision, found = await self._side.wait_for_data(revision)
            await self._outbox.send(pb.FromSpoke(datasets=translate.found_to_wire(found)))
            await asyncio.sleep(DATA_INTERVAL_S)

    async def _send_reports(self) -> None:
        reports = await self._side.unacked_reports()
        while True:
            for start in range(0, len(reports), lanes.REPORTS_PER_MESSAGE):
                batch = reports[start : start + lanes.REPORTS_PER_MESSAGE]
                await self._window.sending(batch)
                encoded = [translate.report_to_wire(report) for report in batch]
                await self._outbox.send(pb.FromSpoke(reports=pb.Reports(reports=encoded)))
            reports = await self._side.wait_for_reports()

    async def _obey(self) -> None:
        while True:
            await self._acknowledge(await self._side.commanded(await self._commands.take()))

    async def _distribute(self) -> None:
        while True:
            for message in await self._distributions.take():
                orders, bad = distribution.orders_from_wire(message)
                for _, error in bad:
                    log.warning("refused a distribution of the hub: %s", error)
                refused = distribution.refusals(bad)
                acks = [*refused, *await self._side.distributed(orders, _standing(message))]
                for start in range(0, len(acks), lanes.ACKS_PER_MESSAGE):
                    batch = distribution.acks_to_wire(acks[start : start + lanes.ACKS_PER_MESSAGE])
                    news = pb.DistributionNews(acks=batch)
                    await self._outbox.send(pb.FromSpoke(distribution_news=news))

    async def _send_distribution_reports(self) -> None:
        reports = self._side.distribution_reports()
        while True:
            for report in reports:
                news = pb.DistributionNews(reports=[distribution.report_to_wire(report)])
                await self._outbox.send(pb.FromSpoke(distribution_news=news))
            reports = await self._side.wait_for_distribution_reports()

    async def _note_report_acks(self) -> None:
        while True:
            await self._side.reports_acked(await self._report_acks.take())


def _standing(message: pb.DistributionOrders) -> frozenset[DistributionRef] | None:
    if not message.first:
        return None
    try:
        return distribution.standing_from_wire(message)
    except ProtocolError as error:
        log.error("what the hub has distributed here cannot be read, and stays as it is: %s", error)
        return None


class _Window:
    """Holds back reports while too many are under way; acknowledgements are cumulative per job epoch."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._under_way: dict[JobRef, deque[int]] = {}
        self._count = 0
        self._room = asyncio.Event()

    async def sending(self, reports: Sequence[Report]) -> None:
        while self._count and self._count + len(reports) > self._limit:
            self._room.clear()
            await self._room.wait()
        for report in reports:
            self._under_way.setdefault(report.ref, deque()).append(report.seq)
        self._count += len(reports)

    def acknowledged(self, acks: Sequence[ReportAck]) -> None:
        for ack in acks:
            waiting = self._under_way.get(ack.ref)
            while waiting and waiting[0] <= ack.seq:
                waiting.popleft()
                self._count -= 1
            if not waiting:
                self._under_way.pop(ack.ref, None)
        self._room.set()
