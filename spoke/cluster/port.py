"""What the agent needs of a cluster. `kube.py` is a Kubernetes API server, `host.py` this machine's own processes.

Objects are Kubernetes objects as JSON values. Both implementations pass the contract suite in tests/spoke/cluster.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from placement.objects import ObjectKey as ObjectKey
from wire.tunnels import Process

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Selection:
    """What to list and watch: one kind, in one namespace or ("") in all, narrowed by selectors."""

    api_version: str
    kind: str
    namespace: str = ""
    label_selector: str = ""  # "muster.dev/job" or "a=b,c"
    field_selector: str = ""  # "metadata.name=x"; which fields there are depends on the kind


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything selected, as of now. What the watcher knew and is not in here is gone."""

    objects: Sequence[Object]


@dataclass(frozen=True, slots=True)
class Upsert:
    object: Object


@dataclass(frozen=True, slots=True)
class Gone:
    object: Object  # its last known state


Change = Snapshot | Upsert | Gone


@dataclass(frozen=True, slots=True)
class PodBinding:
    namespace: str
    pod: str
    uid: str
    node: str
    annotations: Mapping[str, str]  # copied onto the pod


@dataclass(frozen=True, slots=True)
class LogPart:
    """Whole lines of a log, each with the time when it was written before it: RFC 3339 and a space."""

    stamped: bytes
    position: str  # given as `after`, what comes next is what comes after these lines

    @property
    def plain(self) -> bytes:
        return _STAMP.sub(b"", self.stamped)


_STAMP = re.compile(rb"(?m)^\S+ ")


class ClusterError(Exception):
    """The cluster did not do what was asked."""


class Unavailable(ClusterError):
    """Try again later: connection refused, timeout, 429, 5xx."""


class Refused(ClusterError):
    """Trying again changes nothing: invalid, forbidden, kind not served. The message is the API's own."""


class Conflict(ClusterError):
    """The object is not in the state that the call assumed (already bound elsewhere, uid changed)."""


class NotFound(ClusterError):
    """No such object."""


class PodStream(Protocol):
    """A process in a pod, or a connection to a port of it, that somebody holds at the other end. Close it.

    One task reads and one writes. Neither goes on while the other side is slow: nothing piles up in between.
    """

    @property
    def exit_code(self) -> int | None:
        """Of a process, once `read` has answered None."""

    async def write(self, data: bytes) -> None:
        """To its standard input, or to the port. Raises Unavailable where the connection broke."""

    async def write_end(self) -> None:
        """Nothing more is to be read there. Where the cluster has no word for it, without effect."""

    async def resize(self, columns: int, rows: int) -> None:
        """Of its terminal, if it has one."""

    async def read(self) -> tuple[int, bytes] | None:
        """STDOUT or STDERR (`wire.tunnels`) and what came there; None at its end.

        Raises Unavailable where the connection broke, Refused where there is nothing at the other end.
        """

    async def close(self) -> None:
        """Ends the process with all that it has started, or the connection."""


class ClusterPort(Protocol):
    async def kinds(self) -> frozenset[str]:
        """What the API serves now, as `apiVersion/Kind` ("v1/Pod", "kubeflow.org/v1/PyTorchJob")."""

    def watch(self, selection: Selection) -> AsyncIterator[Change]:
        """First a Snapshot, then changes, for ever. Resumes dropped watches; after a gap (410) a new Snapshot.

        Raises Refused where the kind is not served or may not be read; outages are waited out inside.
        """

    async def get(self, key: ObjectKey) -> Object:
        """Raises NotFound."""

    async def exists(self, key: ObjectKey) -> bool:
        """Without reading what is in it. A kind that is not served has no objects. Raises Refused, Unavailable."""

    async def list(self, selection: Selection) -> Sequence[Object]: ...

    async def create(self, obj: Object) -> None:
        """Raises Conflict where an object of that name exists: a workload must never change somebody else's object.

        Creates the namespace where it is missing. Raises Refused, Unavailable.
        """

    async def update(self, obj: Object, *, subresource: str = "") -> Object:
        """Puts the object, or its `subresource` ("status"), where its resourceVersion stands. Answers what it became.

        Raises Conflict where it has changed since, NotFound, Refused, Unavailable.
        """

    async def apply(self, obj: Object, *, manager: str, force: bool) -> Object:
        """Server-side apply: makes the object, or sets what `manager` says in it; what that set before and leaves out
        now goes. Answers what it became. Creates the namespace where it is missing.

        Raises Conflict where another has set one of the fields otherwise, unless `force`; Refused (also a namespaced
        kind without a namespace), Unavailable.
        """

    async def delete(self, key: ObjectKey, *, uid: str = "", grace_s: float | None = None) -> None:
        """With its dependents, in the background. An object that is gone, or has another uid, is no error."""

    async def bind(self, binding: PodBinding) -> None:
        """Raises NotFound, Conflict (bound to another node, or another uid), Refused, Unavailable.

        Binding again to the same node is no error.
        """

    def logs(
        self,
        namespace: str,
        pod: str,
        *,
        follow: bool,
        tail_lines: int = 0,
        container: str = "",
        since: datetime | None = None,
        previous: bool = False,
        after: str = "",
    ) -> AsyncIterator[LogPart]:
        """Without `follow` ends at the present; with it, when the container ends, also where it is to start again.

        `tail_lines`, `since`: where to begin, 0 and None at the first line. `previous`: the run before the present one.
        `after`: a position that was given out, which all these go without; what came after it of the run that it lies
        in, as far as that is kept, and then the runs after that.

        Raises NotFound (no such pod, container, or run before), Unavailable (not started, does not answer now), and
        Refused where `after` is no position.
        """

    async def execute(self, namespace: str, pod: str, process: Process, *, container: str = "") -> PodStream:
        """Starts a process beside those of a running container, with its environment.

        Raises NotFound (no such pod or container), Refused (it does not run, or that may not be done), Unavailable.
        A command that is not there is told by the process' end, or as Refused by `PodStream.read`.
        """

    async def forward(self, namespace: str, pod: str, port: int, *, container: str = "") -> PodStream:
        """Raises NotFound, Refused, Unavailable; where nobody listens, only `PodStream.read` may."""

    async def proxy_get(self, namespace: str, pod: str, port: int, path: str, *, limit: int) -> bytes:
        """What a pod answers to an HTTP GET of `path` (without a leading slash) on that port, through the cluster.

        Raises NotFound (no such pod, or nothing of it listens), Unavailable, and Refused where it may not be done or
        the answer is longer than `limit` bytes.
        """

    async def close(self) -> None: ...


def bounded(answer: bytes, limit: int) -> bytes:
    """Raises Refused where it is longer."""
    if len(answer) > limit:
        raise Refused(f"the answer is longer than {limit} bytes")
    return answer
