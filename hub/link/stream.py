"""One spoke's live stream, from welcome to goodbye: one reader, one writer, and a worker for each concern.

The reader sorts what comes in and waits for nobody (see `wire.lanes`). Each worker takes all that has gathered while
its last call was under way, so that the busier the hub, the larger its transactions. Reports and acknowledgements are
confirmed after `HubSide` returned, which is after the commit. If `HubSide` raises (its store is down), the stream ends
and the spoke comes again with everything unconfirmed; nothing is dropped to keep a stream alive. If it raises
NotWelcome, that is the goodbye. A single message that cannot be understood is dropped and logged; the rest goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import grpc.aio

from hub.link.log_flow import LogBroken, LogFlow
from hub.link.port import Attached, HubSide, NotWelcome
from hub.link.tunnel_streams import TunnelStreams
from hub.link.usage_flow import OPEN_USAGES, UsageBroken, UsageFlow
from placement.inventory import Summary
from placement.presence import ObjectName
from wire import distribution, lanes, presence, translate, translate_summary
from wire import link_pb2 as pb
from wire.capabilities import DISTRIBUTE, KINDS
from wire.certificates import ClusterCertificate
from wire.checks import ProtocolError
from wire.distribution import DistributionAck, DistributionReport
from wire.lanes import Mailbox, Outbox
from wire.orders import Command, CommandAck, DataFound, JobRef, LogLines, LogQuery, Report
from wire.usage import Usage

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[pb.FromSpoke, pb.FromHub]

GOODBYE_S = 0.7  # for the goodbye to be written; a peer that does not read does not get one
DISTRIBUTION_NEWS = 1024  # messages that wait; a spoke sends one a change
OPEN_LOGS = 64  # at a time from one cluster: at LOG_WINDOW each, a bound on memory


class PresenceBroken(Exception):
    """No answer will come."""


class Stream:
    def __init__(
        self,
        peer: ClusterCertificate,
        session: str,
        side: HubSide,
        context: Context,
        clock: Callable[[], datetime],
        capabilities: Iterable[str] = (),
    ) -> None:
        self.cluster = peer.cluster
        self.capabilities = frozenset(capabilities)
        self.session = session
        self._peer = peer
        self._side = side
        self._context = context
        self._clock = clock
        self._outbox: Outbox[pb.FromHub] = Outbox()
        # A spoke that keeps to the protocol never fills these.
        self._reports: Mailbox[Report] = Mailbox(2 * lanes.REPORT_WINDOW)
        self._acks: Mailbox[CommandAck] = Mailbox(65_536)
        self._summaries: Mailbox[Summary] = Mailbox(1)
        self._data: Mailbox[Sequence[DataFound]] = Mailbox(1)
        self._heartbeats: Mailbox[None] = Mailbox(1)
        self._distribution_news: Mailbox[pb.DistributionNews] = Mailbox(DISTRIBUTION_NEWS)
        self._logs: dict[int, LogFlow] = {}
        self.tunnels = TunnelStreams(self.cluster, self._outbox)
        self._usages: dict[int, UsageFlow] = {}
        self._presences: dict[int, asyncio.Future[Sequence[int]]] = {}
        self._ending = asyncio.Event()

    async def run(self, attached: Attached) -> None:
        """Returns when the stream is over, for whatever reason; raises what HubSide raised."""
        self._outbox.push(pb.FromHub(welcome=_welcome(attached)))
        self.tell_kinds(attached.kind_files)  # before any job of them
        try:
            await lanes.until_one_ends(
                self._read(),
                self._write(),
                self._while_welcome(self._send_commands()),
                self._while_welcome(self._take_reports()),
                self._while_welcome(self._take_acks()),
                self._while_welcome(self._take_summaries()),
                self._while_welcome(self._take_data()),
                self._while_welcome(self._take_heartbeats()),
                self._while_welcome(self._send_distributions()),
                self._while_welcome(self._take_distribution_news()),
                self._give_up_on_goodbye(),
            )
        finally:
            for flow in self._logs.values():
                flow.end(f"the connection to cluster {self.cluster} was lost")
            self.tunnels.end()
            for asked in self._usages.values():
                asked.broken(f"the connection to cluster {self.cluster} was lost")
            for answer in self._presences.values():
                if not answer.done():
                    answer.set_exception(PresenceBroken(f"the connection to cluster {self.cluster} was lost"))

    def end(self, code: str, message: str) -> None:
        """Says goodbye and ends, at once: what else waits to be sent is dropped (another stream sends it again)."""
        self._outbox.finish(pb.FromHub(goodbye=pb.Goodbye(code=code, message=message)))
        self._ending.set()

    def tell_kinds(self, files: Mapping[str, str]) -> None:
        if KINDS in self.capabilities:
            self._outbox.push(pb.FromHub(kind_files=translate.kind_files_to_wire(files)))

    async def send(self, message: pb.FromHub) -> None:
        await self._outbox.send(message)

    async def open_logs(self, request_id: int, query: LogQuery) -> AsyncGenerator[LogLines, None]:
        """Raises LogBroken. Closing the generator stops the log at its source."""
        if len(self._logs) >= OPEN_LOGS:
            raise LogBroken(f"{OPEN_LOGS} logs of cluster {self.cluster} are open already; close one, or try again")
        flow = LogFlow(lanes.LOG_WINDOW, lambda amount: self._grant(request_id, amount))
        self._logs[request_id] = flow
        self._outbox.push(pb.FromHub(log_request=translate.log_request_to_wire(request_id, query, lanes.LOG_WINDOW)))
        try:
            async for lines in flow.lines():
                yield lines
        finally:
            if not flow.ended:
                self._outbox.push(pb.FromHub(log_stop=pb.LogStop(id=request_id)))
            del self._logs[request_id]

    def _grant(self, request_id: int, amount: int) -> None:
        self._outbox.push(pb.FromHub(log_credit=pb.LogCredit(id=request_id, amount=amount)))

    async def usage(self, request_id: int, refs: Collection[JobRef]) -> Usage:
        """Raises UsageBroken."""
        if len(self._usages) >= OPEN_USAGES:
            raise UsageBroken(f"{self.cluster}: {OPEN_USAGES} ask what its jobs use already; try again")
        flow = self._usages[request_id] = UsageFlow()
        wanted = [translate.ref_to_wire(ref) for ref in refs]
        try:
            await self._outbox.send(pb.FromHub(usage_request=pb.UsageRequest(id=request_id, jobs=wanted)))
            return await flow.answer()
        finally:
            del self._usages[request_id]

    async def missing(self, request_id: int, names: Sequence[ObjectName]) -> frozenset[ObjectName]:
        """Of these, what is not in the cluster. Raises PresenceBroken."""
        if len(self._presences) >= OPEN_USAGES:
            raise PresenceBroken(f"{self.cluster} is being asked {OPEN_USAGES} times already")
        answer: asyncio.Future[Sequence[int]] = asyncio.get_running_loop().create_future()
        self._presences[request_id] = answer
        try:
            await self._outbox.send(pb.FromHub(presence_request=presence.request_to_wire(request_id, names)))
            return presence.missing_from_wire(names, await answer)
        finally:
            del self._presences[request_id]

    async def _while_welcome(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except NotWelcome as error:  # any more: the cluster was removed, or has joined anew, while this stream lived
            self.end(error.code, error.message)
            await asyncio.Event().wait()  # for the writer, which ends the stream with the goodbye

    async def _write(self) -> None:
        last = False
        while not last:
            message, last = await self._outbox.next()
            await self._context.write(message)

    async def _give_up_on_goodbye(self) -> None:
        await self._ending.wait()
        await asyncio.sleep(GOODBYE_S)

    async def _read(self) -> None:
        while True:
            message = await self._context.read()
            if not isinstance(message, pb.FromSpoke):  # grpc.aio.EOF
                return
            try:
                await self._sort(message)
            except ProtocolError as error:
                log.warning("cluster %s: dropped a message: %s", self.cluster, error)

    async def _sort(self, message: pb.FromSpoke) -> None:
        match message.WhichOneof("message"):
            case "heartbeat":
                self._heartbeats.replace(None)
            case "summary":
                self._summaries.replace(translate_summary.summary_from_wire(message.summary))
            case "acks":
                acks, bad_acks = translate.acks_from_wire(message.acks)
                self._drop([error for _, error in bad_acks])
                await self._acks.put(acks)
            case "reports":
                reports, bad_reports = translate.reports_from_wire(message.reports)
                self._drop([error for _, error in bad_reports])
                await self._reports.put(reports)
            case "datasets":
                found, bad_found = translate.found_from_wire(message.datasets)
                self._drop([error for _, error in bad_found])
                self._data.replace(found)
            case "distribution_news":
                await self._distribution_news.put([message.distribution_news])
            case "log_chunk":
                self._take_log(message.log_chunk)
            case "tunnel_opened" | "tunnel_data" | "tunnel_credit" | "tunnel_close":
                self.tunnels.take(message)
            case "usage":
                asked = self._usages.get(message.usage.id)
                if asked is not None:
                    asked.feed(message.usage)
            case "presence":
                answer = self._presences.get(message.presence.id)
                if answer is not None and not answer.done():
                    answer.set_result(tuple(message.presence.missing))
            case "hello":
                raise ProtocolError("hello", "came a second time")
            case _:  # of a newer agent
                pass

    def _drop(self, errors: Sequence[ProtocolError]) -> None:
        for error in errors:
            log.warning("cluster %s: dropped one item of a message: %s", self.cluster, error)

    def _take_log(self, chunk: pb.LogChunk) -> None:
        flow = self._logs.get(chunk.id)
        if flow is None or flow.ended:
            return  # was on its way when the log was closed
        if chunk.data:
            flow.feed(translate.log_lines_from_wire(chunk))
            if flow.ended:  # beyond its window
                self._outbox.push(pb.FromHub(log_stop=pb.LogStop(id=chunk.id)))
        if chunk.end:
            flow.end(chunk.error)

    async def _send_commands(self) -> None:
        commands = await self._side.pending_commands(self.cluster)
        sent = 0
        while True:
            for message in await self._messages(commands):
                await self._outbox.send(pb.FromHub(commands=message))
            sent = max([sent, *(command.id for command in commands)])
            commands = await self._side.wait_for_commands(self.cluster, sent)

    async def _messages(self, commands: Sequence[Command]) -> Sequence[pb.Commands]:
        """Batches; a command that no message can carry is refused here, for the spoke will never see it."""
        encoded, refused = [], []
        for command in commands:
            try:
                encoded.append(translate.command_to_wire(command))
            except ProtocolError as error:
                log.error("cluster %s: command %d cannot be sent: %s", self.cluster, command.id, error)
                refused.append(CommandAck(command.id, command.ref, "invalid", f"the hub cannot send it: {error}"))
        if refused:
            await self._side.acknowledged(self.cluster, refused)
        return list(_batches(encoded))

    async def _take_reports(self) -> None:
        while True:
            acks = await self._side.reported(self.cluster, await self._reports.take())
            for start in range(0, len(acks), lanes.ACKS_PER_MESSAGE):
                batch = [translate.report_ack_to_wire(ack) for ack in acks[start : start + lanes.ACKS_PER_MESSAGE]]
                await self._outbox.send(pb.FromHub(report_acks=pb.ReportAcks(acks=batch)))

    async def _take_acks(self) -> None:
        while True:
            await self._side.acknowledged(self.cluster, await self._acks.take())

    async def _take_summaries(self) -> None:
        while True:
            for summary in await self._summaries.take():
                await self._side.summary(self.cluster, summary)

    async def _take_data(self) -> None:
        while True:
            for found in await self._data.take():
                await self._side.data(self.cluster, found)

    async def _send_distributions(self) -> None:
        if DISTRIBUTE not in self.capabilities:
            await asyncio.Event().wait()  # it would drop them without a word
        refs = await self._side.standing_distributions(self.cluster)
        standing = [distribution.ref_to_wire(ref) for ref in refs]
        await self._outbox.send(
            pb.FromHub(distribution_orders=pb.DistributionOrders(first=True, standing=standing)),
        )
        sent = 0
        while True:
            for order in await self._side.wait_for_distributions(self.cluster, sent):
                sent = order.ref.generation
                message = pb.DistributionOrders(orders=[distribution.order_to_wire(order)])
                await self._outbox.send(pb.FromHub(distribution_orders=message))

    async def _take_distribution_news(self) -> None:
        while True:
            acks: list[DistributionAck] = []
            reports: list[DistributionReport] = []
            for message in await self._distribution_news.take():
                more_acks, more_reports, bad = distribution.news_from_wire(message)
                self._drop(bad)
                acks += more_acks
                reports += more_reports
            await self._side.distributions_told(self.cluster, acks, reports)

    async def _take_heartbeats(self) -> None:
        while True:
            await self._heartbeats.take()
            if self._clock() >= self._peer.expires_at:
                self.end("expired", f"the certificate expired at {self._peer.expires_at:%F %T} UTC")
            await self._side.heartbeat(self.cluster)


def _welcome(attached: Attached) -> pb.Welcome:
    live = [translate.ref_to_wire(ref) for ref in attached.live]
    return pb.Welcome(heartbeat_s=attached.heartbeat_s, lease_s=attached.lease_s, live=live)


def _batches(commands: Sequence[pb.Command]) -> Iterator[pb.Commands]:
    batch: list[pb.Command] = []
    size = 0
    for command in commands:
        command_size = command.ByteSize()
        too_large = size + command_size > lanes.COMMANDS_BYTES_PER_MESSAGE
        if batch and (too_large or len(batch) == lanes.COMMANDS_PER_MESSAGE):
            yield pb.Commands(commands=batch)
            batch, size = [], 0
        batch.append(command)
        size += command_size
    if batch:
        yield pb.Commands(commands=batch)
