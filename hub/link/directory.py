"""Which clusters are connected now, and the way to their streams for the rest of the hub."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

from hub.link.stream import PresenceBroken, Stream
from hub.link.tunnel_streams import LinkTunnel
from hub.link.usage_flow import UsageBroken
from placement.presence import ObjectName
from wire import capabilities
from wire import link_pb2 as pb
from wire.orders import JobRef, LogLines, LogQuery
from wire.tunnels import TunnelQuery
from wire.usage import Usage


class NotConnected(Exception):
    """The cluster has no live stream at this moment."""

    def __init__(self, cluster: str) -> None:
        super().__init__(f"cluster {cluster} is not connected")
        self.cluster = cluster


class Directory:
    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}
        self._expected: set[Stream] = set()  # not let in yet
        self._requests = itertools.count(1)

    def connected(self, cluster: str) -> bool:
        return cluster in self._streams

    def clusters(self) -> frozenset[str]:
        return frozenset(self._streams)

    def can(self, cluster: str, capability: str) -> bool:
        """Whether its spoke says that it can (`wire.capabilities`). Raises NotConnected."""
        return capability in self._stream(cluster).capabilities

    async def kinds_changed(self, files: Mapping[str, str]) -> None:
        """What admins added, to every spoke that is connected."""
        for stream in self._streams.values():
            stream.tell_kinds(files)

    async def send(self, cluster: str, message: pb.FromHub) -> None:
        """Returns when there is room for it on the way to the writer. Raises NotConnected."""
        await self._stream(cluster).send(message)

    def open_logs(self, cluster: str, query: LogQuery) -> AsyncGenerator[LogLines, None]:
        """Raises NotConnected at once, `hub.link.log_flow.LogBroken` while it is read.

        Close the generator (`contextlib.aclosing`) to stop early. Memory is bounded by lanes.LOG_WINDOW, whatever the
        reader's pace: the spoke waits.
        """
        return self._stream(cluster).open_logs(next(self._requests), query)

    async def open_tunnel(self, cluster: str, query: TunnelQuery) -> LinkTunnel:
        """Returns once the pod's end is there. Raises NotConnected, `hub.link.tunnel_failed.TunnelFailed`."""
        return await self._stream(cluster).tunnels.open(next(self._requests), query)

    async def usage(self, cluster: str, refs: Collection[JobRef]) -> Usage:
        """What these jobs use. Raises NotConnected, `hub.link.usage_flow.UsageBroken`."""
        if not self.can(cluster, capabilities.USAGE):
            raise UsageBroken(f"{cluster}: its spoke is too old to measure what jobs use; upgrade it")
        return await self._stream(cluster).usage(next(self._requests), refs)

    async def missing(self, cluster: str, names: Sequence[ObjectName]) -> frozenset[ObjectName]:
        """Of at most `wire.presence.MOST_NAMES`. Raises NotConnected, `hub.link.stream.PresenceBroken`."""
        if not self.can(cluster, capabilities.PRESENCE):
            raise PresenceBroken(f"{cluster}: its spoke is too old to tell what is there")
        return await self._stream(cluster).missing(next(self._requests), names)

    def close(self, cluster: str, code: str, message: str) -> bool:
        """Ends the live stream at once, with a goodbye (the codes are link.proto's); False where there is none.

        One that is about to begin is ended as well: it may have been let in by what was true a moment ago.
        """
        ending = {stream for stream in self._expected if stream.cluster == cluster}
        live = self._streams.pop(cluster, None)
        for stream in ending if live is None else {live, *ending}:
            stream.end(code, message)
        return live is not None

    def expect(self, stream: Stream) -> None:
        self._expected.add(stream)

    def enter(self, stream: Stream) -> Stream | None:
        """From now on the cluster's one stream; answers the one that it takes the place of."""
        self._expected.discard(stream)
        before = self._streams.get(stream.cluster)
        self._streams[stream.cluster] = stream
        return before

    def leave(self, stream: Stream) -> None:
        self._expected.discard(stream)
        if self._streams.get(stream.cluster) is stream:
            del self._streams[stream.cluster]

    def _stream(self, cluster: str) -> Stream:
        stream = self._streams.get(cluster)
        if stream is None:
            raise NotConnected(cluster)
        return stream
