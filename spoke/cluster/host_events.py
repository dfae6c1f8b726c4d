"""The host cluster's events, as Kubernetes' own components tell them: scheduled, started, backing off, killed.

One object for what is said again and again of the same pod, with its count; the newest `AT_MOST` of all.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from spoke.cluster.host_store import HostStore, key_of, rfc3339
from spoke.cluster.port import Object, ObjectKey, Selection

AT_MOST = 1000
_Said = tuple[str, str, str]  # uid, reason, message


class HostEvents:
    def __init__(self, store: HostStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._known: OrderedDict[_Said, ObjectKey] = OrderedDict()
        for event in sorted(store.list(Selection("v1", "Event")), key=lambda one: str(one["lastTimestamp"])):
            self._known[event["involvedObject"]["uid"], event["reason"], event["message"]] = key_of(event)

    def tell(self, about: Object, reason: str, message: str, *, warning: bool = False, by: str = "kubelet") -> None:
        now = rfc3339(self._clock())
        said = (about["metadata"]["uid"], reason, message)
        key = self._known.get(said)
        present = self._store.find(key) if key is not None else None
        if present is not None:
            self._known.move_to_end(said)
            self._store.put({**present, "count": present["count"] + 1, "lastTimestamp": now})
            return
        metadata = about["metadata"]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": by},
        }
        self._known[said] = key_of(self._store.create(event))
        while len(self._known) > AT_MOST:
            self._store.remove(self._known.popitem(last=False)[1])

    def of_status(self, pod: Object, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """What a pod's new status tells beyond its last one."""
        for reason, message, warning in changes(before, after):
            self.tell(pod, reason, message, warning=warning)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """(reason, message, whether it is a warning) of each container that has done something new."""
    known = {status["name"]: status for status in _containers(before)}
    for status in _containers(after):
        name, state = status["name"], status["state"]
        old = known.get(name, {"state": {}, "restartCount": 0})
        again = status["restartCount"] > old["restartCount"]
        if "running" in state and ("running" not in old["state"] or again):
            yield "Started", f"Started container {name}", False
        ended = _ended(status)
        if ended and ended != _ended(old):
            failed = ended["exitCode"] != 0
            detail = f": {ended['message']}" if ended.get("message") else ""
            words = f"Container {name} ended with exit code {ended['exitCode']} ({ended['reason']}){detail}"
            yield ("Failed" if failed else "Completed"), words, failed
        waiting = state.get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing") and state != old["state"]:
            reason = "BackOff" if waiting["reason"] == "CrashLoopBackOff" else "Failed"
            yield reason, f"{waiting['reason']}: {waiting.get('message', '')}", True


def _containers(status: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for group in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(group) or ()


def _ended(status: Mapping[str, Any]) -> dict[str, Any]:
    """How its newest run that has ended did; a run may be over before its status was ever `terminated`."""
    last: dict[str, Any] = (status.get("lastState") or {}).get("terminated") or {}
    return {name: value for name, value in (status["state"].get("terminated") or last).items() if name != "startedAt"}
