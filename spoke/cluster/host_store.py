"""The host cluster's objects: what an API server and etcd are to Kubernetes, for one process on one machine.

Objects live in memory and, before anybody hears of a change, in one SQLite file.

Not promised: durability against power loss of the last second (`synchronous=NORMAL`: the machine's processes are gone
then too); history (a watcher that comes late gets the present state, never the past); field validation.
"""

from __future__ import annotations

import asyncio
import copy
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from spoke.cluster import host_selectors
from spoke.cluster.port import Change, Gone, NotFound, Object, ObjectKey, Selection, Snapshot, Upsert

Body = dict[str, Any]


class HostStore:
    """Every method but `watch` is done when it returns: all of it happens on the event loop's thread."""

    def __init__(self, file: Path, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._objects: dict[ObjectKey, Body] = {}
        self._watchers: list[_Watcher] = []
        self._revision = 0
        self._database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute("CREATE TABLE IF NOT EXISTS object (key BLOB PRIMARY KEY, body BLOB)")
        self._load()

    def get(self, key: ObjectKey) -> Object:
        """Raises NotFound."""
        return self._present(key)

    def find(self, key: ObjectKey) -> Object | None:
        return self._objects.get(key)

    def list(self, selection: Selection) -> list[Object]:
        """Raises Refused where the label selector cannot be read."""
        return list(self._selected(selection))

    def objects_by_key(self) -> Mapping[ObjectKey, Object]:
        """As of now; later changes are not seen."""
        return dict(self._objects)

    def create(self, obj: Object) -> Object:
        """With an identity of its own; whoever calls has made sure that none of that name is there."""
        body = copy.deepcopy(dict(obj))
        body["metadata"] = self._identity(body)
        return self._write(key_of(obj), body)

    def put(self, obj: Object) -> Object:
        """Replaces an object that is there. Raises NotFound."""
        key = key_of(obj)
        if self._present(key) == obj:
            return obj
        return self._write(key, dict(obj))

    def remove(self, key: ObjectKey) -> None:
        body = self._objects.pop(key, None)
        if body is None:
            return
        self._database.execute("DELETE FROM object WHERE key = ?", (_row_key(key),))
        self._publish(key, Gone(body))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Changes in here reach the disk all or none."""
        self._database.execute("BEGIN")
        try:
            yield
        finally:
            # Also after an error: memory has the changes that were made, and so must the disk.
            self._database.execute("COMMIT")

    async def watch(self, selection: Selection) -> AsyncIterator[Change]:
        watcher = _Watcher(selection)
        snapshot = self._selected(selection)
        watcher.known = {key_of(obj) for obj in snapshot}
        self._watchers.append(watcher)
        try:
            yield Snapshot(snapshot)
            while True:
                yield await watcher.changes.get()
        finally:
            self._watchers.remove(watcher)

    def close(self) -> None:
        self._database.close()

    def _present(self, key: ObjectKey) -> Body:
        try:
            return self._objects[key]
        except KeyError:
            where = f"{key.namespace}/{key.name}" if key.namespace else key.name
            raise NotFound(f'{key.kind} "{where}" not found') from None

    def _selected(self, selection: Selection) -> tuple[Object, ...]:
        return tuple(body for key, body in self._objects.items() if _selects(selection, key, body))

    def _identity(self, obj: Object) -> Body:
        metadata: Body = dict(obj.get("metadata", {}))
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = rfc3339(self._clock())
        metadata["generation"] = 1
        return metadata

    def _write(self, key: ObjectKey, body: Body) -> Body:
        self._revision += 1
        # A new value each time: what readers and watchers were given is never changed under them.
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self._revision)}}
        self._database.execute(
            "INSERT OR REPLACE INTO object (key, body) VALUES (?, ?)", (_row_key(key), orjson.dumps(body))
        )
        self._objects[key] = body
        self._publish(key, Upsert(body))
        return body

    def _publish(self, key: ObjectKey, change: Upsert | Gone) -> None:
        for watcher in self._watchers:
            watcher.hear(key, change)

    def _load(self) -> None:
        for row_key, body in self._database.execute("SELECT key, body FROM object"):
            key = ObjectKey(*orjson.loads(row_key))
            self._objects[key] = orjson.loads(body)
            self._revision = max(self._revision, int(self._objects[key]["metadata"]["resourceVersion"]))


@dataclass(slots=True, eq=False)
class _Watcher:
    selection: Selection
    known: set[ObjectKey] = field(default_factory=set)
    changes: asyncio.Queue[Change] = field(default_factory=asyncio.Queue)

    def hear(self, key: ObjectKey, change: Upsert | Gone) -> None:
        """An object that stops matching the selector is gone for this watcher."""
        matches = isinstance(change, Upsert) and _selects(self.selection, key, change.object)
        if matches:
            self.known.add(key)
            self.changes.put_nowait(change)
        elif key in self.known:
            self.known.discard(key)
            self.changes.put_nowait(Gone(change.object))


def key_of(obj: Object) -> ObjectKey:
    metadata = obj["metadata"]
    return ObjectKey(obj["apiVersion"], obj["kind"], metadata.get("namespace", ""), metadata["name"])


def rfc3339(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _selects(selection: Selection, key: ObjectKey, obj: Object) -> bool:
    return (
        key.api_version == selection.api_version
        and key.kind == selection.kind
        and selection.namespace in ("", key.namespace)
        and host_selectors.matches(selection.label_selector, obj["metadata"].get("labels") or {})
        and host_selectors.fields_match(selection.field_selector, obj)
    )


def _row_key(key: ObjectKey) -> bytes:
    return orjson.dumps([key.api_version, key.kind, key.namespace, key.name])
