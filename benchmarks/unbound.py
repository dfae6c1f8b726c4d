"""When pods came to be and when each was bound, as one watch on an API server tells it.

The watch selects pods without a node and carries their metadata only: a pod that is bound leaves the selection, which
is one small event. It is resumed from the last version seen, so nothing between two watches is missed.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import httpx

from e2e.objects import ApiError, Object, ObjectClient
from e2e.waiting import until

GANG_LABEL = "benchmark.muster.test/gang"
_SELECTION = "spec.nodeName="


class Unbound:
    """`created` and `bound`: pod name -> time (`time.perf_counter`), of pods that carry GANG_LABEL."""

    def __init__(self, client: ObjectClient) -> None:
        self.created: dict[str, float] = {}
        self.bound: dict[str, float] = {}
        self.gangs: dict[str, list[str]] = {}  # by the label: names of its pods
        self._client = client
        self._stopped = False
        self._began = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        until("the watch on pods", self._began.is_set)

    def forget(self) -> None:
        """Of a round that is over."""
        self.created, self.bound, self.gangs = {}, {}, {}

    def stop(self) -> None:
        self._stopped = True

    def _run(self) -> None:
        path = self._client.path("v1", "Pod")
        since = self._client.request("GET", path, fieldSelector=_SELECTION)["metadata"]["resourceVersion"]
        with suppress(ApiError, httpx.HTTPError, RuntimeError):  # the plane was stopped: the measurement is over
            while not self._stopped:
                since = self._follow(since)

    def _follow(self, since: str) -> str:
        with self._client.watch("v1", "Pod", GANG_LABEL, since, fields=_SELECTION, metadata_only=True) as events:
            self._began.set()
            for event in events:
                at = time.perf_counter()
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), str(event["object"].get("message")))
                since = event["object"]["metadata"]["resourceVersion"]
                self._see(event["type"], event["object"]["metadata"], at)
        return since

    def _see(self, kind: str, metadata: Object, at: float) -> None:
        name, gang = metadata["name"], metadata["labels"][GANG_LABEL]
        if kind == "ADDED":
            self.created[name] = at
            self.gangs.setdefault(gang, []).append(name)
        elif kind == "DELETED":
            self.bound[name] = at
