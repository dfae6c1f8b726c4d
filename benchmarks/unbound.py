"""When pods came to be and when each was bound, as one watch on an API server tells it.

The watch selects pods without a node and carries their metadata only: a pod that is bound leaves the selection, which
is one small event. It is resumed from the last version seen, so nothing between two watches is missed.

The machine is that of those who are measured, so while events come they are only counted and kept with their time;
they are read when somebody asks what they said.
"""

from __future__ import annotations

import base64
import http.client
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
import yaml

from e2e.objects import METADATA_ONLY
from e2e.waiting import until

GANG_LABEL = "benchmark.muster.test/gang"
_SELECTION = {"fieldSelector": "spec.nodeName=", "labelSelector": GANG_LABEL}
_BOUND = b'{"type":"DELETED"'
_WATCH_S = 25


class Unbound:
    """Pods that carry GANG_LABEL. `kubeconfig` is one with a token. `forget` is for when nothing happens to them."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._host = urlsplit(server["server"]).netloc
        self._tls = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
        self._headers = {"Authorization": f"Bearer {user['token']}"}
        self.bound_so_far = 0
        self._created: dict[str, float] = {}
        self._bound: dict[str, float] = {}
        self._gangs: dict[str, list[str]] = {}
        self._unread: list[tuple[float, bytes]] = []
        self._reading = threading.Lock()
        self._version = ""
        self._stopped = False
        self._began = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        until("the watch on pods", self._began.is_set)

    @property
    def created(self) -> dict[str, float]:
        """Pod name -> time (`time.perf_counter`)."""
        self._read()
        return self._created

    @property
    def bound(self) -> dict[str, float]:
        """Likewise."""
        self._read()
        return self._bound

    @property
    def gangs(self) -> dict[str, list[str]]:
        """By the label: names of its pods."""
        self._read()
        return self._gangs

    def forget(self) -> None:
        """Of a round that is over."""
        self._read()
        self._created, self._bound, self._gangs, self.bound_so_far = {}, {}, {}, 0

    def stop(self) -> None:
        self._stopped = True

    # ---- the watch ----

    def _run(self) -> None:
        with suppress(http.client.HTTPException, OSError, RuntimeError):  # the plane was stopped: it is over
            self._version = self._begin()
            while not self._stopped:
                self._follow()

    def _begin(self) -> str:
        connection, answer = self._get(_SELECTION, "application/json")
        version: str = orjson.loads(answer.read())["metadata"]["resourceVersion"]
        connection.close()
        return version

    def _follow(self) -> None:
        watch = {"watch": "true", "resourceVersion": self._version, "timeoutSeconds": str(_WATCH_S)}
        connection, answer = self._get(_SELECTION | watch, METADATA_ONLY)
        self._began.set()
        rest = b""
        while chunk := answer.read1(1 << 18):
            at = time.perf_counter()
            *lines, rest = (rest + chunk).split(b"\n")
            self._unread += [(at, line) for line in lines]
            self.bound_so_far += sum(line.startswith(_BOUND) for line in lines)
        connection.close()
        self._read()

    def _get(self, query: dict[str, str], accept: str) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPSConnection(self._host, context=self._tls, timeout=2 * _WATCH_S)
        connection.request("GET", f"/api/v1/pods?{urlencode(query)}", headers=self._headers | {"Accept": accept})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise RuntimeError(f"the watch on pods: {answer.status} {answer.read(500)!r}")
        return connection, answer

    # ---- what it said ----

    def _read(self) -> None:
        with self._reading:
            unread, self._unread = self._unread, []
            for at, line in unread:
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise RuntimeError(f"the watch on pods: {event['object'].get('message')}")
                self._version = event["object"]["metadata"]["resourceVersion"]
                self._see(event["type"], event["object"]["metadata"], at)

    def _see(self, kind: str, metadata: dict[str, Any], at: float) -> None:
        name, gang = metadata["name"], metadata["labels"][GANG_LABEL]
        if kind == "ADDED":
            self._created[name] = at
            self._gangs.setdefault(gang, []).append(name)
        elif kind == "DELETED":
            self._bound[name] = at
