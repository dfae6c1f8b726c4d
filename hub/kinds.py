"""Kinds of workloads that admins add to those that Muster comes with: one file each, checked before it is taken.

From the moment it is taken the hub reads manifests of the kind, and every spoke that is connected, or connects later,
is told. A spoke's owner has the last word on whether such a kind runs in the cluster (its policy, and its rights).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session

from hub.errors import ConflictError, Invalid, NotFound
from hub.records import Actor
from hub.roles import admins_only
from hub.store import kind_files
from hub.store.kind_files import KindFileRecord
from hub.store.store import Store
from placement.kinds.catalogue import Catalogue, CatalogueError
from placement.kinds.kind import Kind
from placement.kinds.problems import did_you_mean

log = logging.getLogger(__name__)

MAX_FILES = 200
MAX_BYTES = 64 << 10  # of one file
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class AddedKind:
    record: KindFileRecord
    kinds: tuple[str, ...]  # "example.com/v1/Sweep"


class Spokes(Protocol):
    async def kinds_changed(self, files: Mapping[str, str]) -> None:
        """Tells those that are connected; the others learn it when they are."""


class KindBook:
    def __init__(self, store: Store, catalogue: Catalogue, spokes: Spokes, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._catalogue = catalogue
        self._spokes = spokes
        self._clock = clock
        self.files: Mapping[str, str] = {}  # by name, as every spoke is to know them
        self._one_change = asyncio.Lock()  # from what was checked to what all know

    async def load(self) -> None:
        """At the start. A file that an earlier release took and this one does not is left out, and said."""
        records = await self._store.read(kind_files.every)
        taken: dict[str, str] = {}
        for record in records:
            try:
                self._catalogue.replace_added({**taken, record.name: record.text})
                taken[record.name] = record.text
            except CatalogueError as error:
                log.error("the kind file %s is left out: %s", record.name, error)
        self._catalogue.replace_added(taken)
        self.files = taken

    async def list(self, actor: Actor) -> Sequence[AddedKind]:
        """Everybody may look."""
        records = await self._store.read(kind_files.every)
        return [self._added(record) for record in records]

    async def show(self, actor: Actor, name: str) -> AddedKind:
        """Raises NotFound."""
        found = {one.record.name: one for one in await self.list(actor)}
        if name not in found:
            close = did_you_mean(name, list(found))
            mend = f"did you mean {close!r}?" if close else "muster kind list shows them"
            raise NotFound(f"nobody added a kind file {name!r}", code="no-such-kind", mend=mend)
        return found[name]

    def check(self, actor: Actor, name: str, text: str) -> tuple[Kind, ...]:
        """What the file is for. Raises Forbidden, Invalid."""
        admins_only(actor, "add kinds")
        if not _NAME.fullmatch(name):
            raise Invalid(
                f"{name!r} is no name of a kind file",
                code="invalid-kind",
                mend="1 to 63 small letters, digits, - and .; the kind's name will do: sweep",
            )
        if len(text.encode()) > MAX_BYTES:
            raise Invalid(
                f"the file has {len(text.encode()):,} bytes, at most {MAX_BYTES:,} are taken",
                code="invalid-kind",
                mend="leave comments out",
            )
        try:
            kinds = self._catalogue.read_file(name, text)
            others = {other: known for other, known in self.files.items() if other != name}
            trial = Catalogue(self._catalogue.own, self._catalogue.others)
            trial.replace_added({**others, name: text})
        except CatalogueError as error:
            mend = "docs/kinds.md says what may stand there, with an example"
            raise Invalid(str(error), code="invalid-kind", mend=mend) from error
        if name not in self.files and len(self.files) >= MAX_FILES:
            raise Invalid(f"there are {MAX_FILES} kind files already", code="invalid-kind", mend="remove some first")
        return kinds

    async def add(self, actor: Actor, name: str, text: str) -> AddedKind:
        """Takes it, or puts it in the place of the one of that name. Raises Forbidden, Invalid, ConflictError."""
        async with self._one_change:
            kinds = self.check(actor, name, text)
            record = KindFileRecord(name, text, actor.user, self._clock())

            def write(session: Session) -> None:
                self._refuse_while_used(session, name, {kind.resource_kind for kind in kinds})
                kind_files.save(session, record)

            await self._store.write(write)
            await self._changed({**self.files, name: text})
        return self._added(record)

    async def remove(self, actor: Actor, name: str) -> None:
        """Raises Forbidden, NotFound, ConflictError where jobs of it have not ended."""
        admins_only(actor, "remove kinds")
        async with self._one_change:
            await self.show(actor, name)

            def write(session: Session) -> None:
                self._refuse_while_used(session, name, set())
                kind_files.forget(session, name)

            await self._store.write(write)
            await self._changed({other: text for other, text in self.files.items() if other != name})

    async def _changed(self, files: Mapping[str, str]) -> None:
        self.files = dict(files)
        self._catalogue.replace_added(self.files)
        await self._spokes.kinds_changed(self.files)

    def _refuse_while_used(self, session: Session, name: str, kept: set[str]) -> None:
        """Jobs of what the file was for and is for no more: nobody could read their status."""
        if name not in self.files:
            return
        gone = {kind.resource_kind: kind for kind in self._catalogue.read_file(name, self.files[name])}
        gone = {each: kind for each, kind in gone.items() if each not in kept}
        for kind in {kind.kind for kind in gone.values()}:
            if live := kind_files.live_jobs(session, kind, gone):
                shown = ", ".join(live[:5]) + (f" and {len(live) - 5} more" if len(live) > 5 else "")
                raise ConflictError(
                    f"{shown} are of kind {kind} and have not ended",
                    code="kind-in-use",
                    mend="cancel them, or wait for their end",
                )

    def _added(self, record: KindFileRecord) -> AddedKind:
        try:
            kinds = self._catalogue.read_file(record.name, record.text)
        except CatalogueError:  # of an earlier release
            kinds = ()
        return AddedKind(record, tuple(kind.resource_kind for kind in kinds))
