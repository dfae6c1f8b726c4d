"""The controllers of the host cluster: they make each workload's pods and write its status, as `emulate` says.

Every workload gets a rendezvous port of its own when its first pods are made (an annotation remembers it), since all of
this machine's jobs share the ports; a port that the manifest fixes stays. When a workload has succeeded or failed,
what still runs of it is stopped.

Not promised: rolling updates; a workload is what it was when it was created, but for how many pods it has.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence

from placement.kinds import emulate, observe
from placement.kinds.catalogue import Catalogue
from placement.kinds.kind import Kind
from placement.lifecycle import Event
from spoke.cluster import host_pods
from spoke.cluster.host_env import LOOPBACK
from spoke.cluster.host_store import HostStore, key_of
from spoke.cluster.port import Object, ObjectKey, Selection

PORT_ANNOTATION = "host.muster.dev/port"
_log = logging.getLogger(__name__)

_Seen = tuple[str, tuple[str, ...]]  # resource versions of a workload and of its pods


class Controllers:
    """`end_pod` stops a pod's processes and removes it."""

    def __init__(self, store: HostStore, catalogue: Catalogue, end_pod: Callable[[Object], None]) -> None:
        self._store = store
        self._kinds = [kind for kind in catalogue.kinds if kind.rules.emulate is not None]
        self._end_pod = end_pod
        self._seen: dict[ObjectKey, _Seen] = {}

    def has(self, api_version: str, kind: str) -> bool:
        return any((each.api_version, each.kind) == (api_version, kind) for each in self._kinds)

    def reconcile(self) -> None:
        """Brings every workload that changed, or whose pods did, to where it says it should be."""
        pods = _by_owner(self._store.list(Selection("v1", "Pod")))
        there: dict[ObjectKey, _Seen] = {}
        for kind in self._kinds:
            for obj in self._store.list(Selection(kind.api_version, kind.kind)):
                own = pods.get(obj["metadata"]["uid"], [])
                seen = _seen(obj, own)
                there[key_of(obj)] = seen
                if self._seen.get(key_of(obj)) != seen:
                    self._reconcile(kind, obj, own)
        self._seen = there

    def _reconcile(self, kind: Kind, obj: Object, pods: Sequence[Object]) -> None:
        if _is_over(kind, obj):
            return  # for good, whatever becomes of its pods
        try:
            own = self._with_port(obj)
            made = emulate.pods(kind, own, pods, address=LOOPBACK, port=int(_annotations(own)[PORT_ANNOTATION]))
            surplus = emulate.surplus(kind, own, pods)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            # A spec that the kind's real controller would not take either must not stop the others.
            _log.exception("%s %s: %s", kind.kind, obj["metadata"]["name"], error)
            return
        for pod in made:
            if self._store.find(key_of(pod)) is None:
                self._store.create({**pod, "status": host_pods.PENDING})
        for beyond in surplus:
            if not host_pods.is_ending(beyond):
                self._end_pod(beyond)
        now = self._store.put({**own, "status": emulate.status(kind, own, pods)})
        if _is_over(kind, now):
            for left in pods:
                if not host_pods.is_over(left) and not host_pods.is_ending(left):
                    self._end_pod(left)

    def _with_port(self, obj: Object) -> Object:
        if PORT_ANNOTATION in _annotations(obj):
            return obj
        taken = {_annotations(other).get(PORT_ANNOTATION) for other in self._store.objects_by_key().values()}
        port = next(port for port in iter(_free_port, None) if str(port) not in taken)
        annotations = {**_annotations(obj), PORT_ANNOTATION: str(port)}
        return self._store.put({**obj, "metadata": {**obj["metadata"], "annotations": annotations}})


def _is_over(kind: Kind, obj: Object) -> bool:
    return observe.observe(kind, obj).event in (Event.SUCCEED, Event.FAIL)


def _by_owner(pods: Iterable[Object]) -> Mapping[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for pod in pods:
        for owner in pod["metadata"].get("ownerReferences") or ():
            found.setdefault(owner["uid"], []).append(pod)
    return found


def _seen(obj: Object, pods: Iterable[Object]) -> _Seen:
    return obj["metadata"]["resourceVersion"], tuple(pod["metadata"]["resourceVersion"] for pod in pods)


def _annotations(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}


def _free_port() -> int:
    # Racy by nature: somebody may take it before the job does; the ranks then fail and are restarted.
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
