"""Which objects hold the bytes of models, and when an object may go.

A chunk is put in three steps: its object's name is written down as garbage, the object is put, and the chunk's row
takes the name out of the garbage. So whatever a crash leaves behind is garbage already. An object goes in three steps
too: it becomes garbage when no row refers to it, is doomed once its grace is over (from then on no row can take it),
and is forgotten when it is deleted. Names are never used twice: a deletion that comes late meets nothing new.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from hub.store.model_rows import chunks, files, garbage
from hub.store.pieces import in_pieces
from registry import chunk_lists
from registry.cutting import Chunk


@dataclass(frozen=True, slots=True)
class StoredFile:
    size: int
    chunks: tuple[Chunk, ...]
    runs_code: bool


@dataclass(frozen=True, slots=True)
class Usage:
    chunks: int
    stored: int  # bytes of them
    unused: int  # bytes of chunks that nothing refers to: unfinished pushes, and what will be collected
    garbage: int  # objects


# --- what arrives ---


def expect(session: Session, tenant: str, chunk: Chunk, object_name: str, due: datetime, lease: datetime) -> bool:
    """Whether the chunk is to be put under this name; else it is there, for as long as the lease at least."""
    if _is_there(session, tenant, chunk.name):
        _lease(session, tenant, [chunk.name], lease)
        return False
    _is_garbage(session, [object_name], due)
    return True


def arrived(session: Session, tenant: str, chunk: Chunk, object_name: str, due: datetime, lease: datetime) -> bool:
    """False where the object came so late that it is deleted, or will be."""
    taken = delete(garbage).where(garbage.c.object == object_name, garbage.c.doomed.is_(False))
    if not session.connection().execute(taken).rowcount:
        # It may have been put after it was deleted: it is deleted once more.
        session.connection().execute(delete(garbage).where(garbage.c.object == object_name))
        _is_garbage(session, [object_name], due)
        return False
    if _is_there(session, tenant, chunk.name):  # somebody else was quicker
        _is_garbage(session, [object_name], due)
        _lease(session, tenant, [chunk.name], lease)
        return True
    mended = (
        update(chunks)
        .where(chunks.c.tenant == tenant, chunks.c.name == chunk.name)
        .values(object=object_name, leased_until=lease)
    )
    if not session.connection().execute(mended).rowcount:
        row = {"tenant": tenant, "name": chunk.name, "size": chunk.size, "object": object_name}
        session.connection().execute(insert(chunks), row | {"uses": 0, "leased_until": lease})
    return True


def missing(session: Session, tenant: str, names: Collection[str], lease: datetime) -> frozenset[str]:
    """Those that are to be put; the others are there for as long as the lease at least."""
    there = {
        name
        for piece in in_pieces(names)
        for (name,) in session.connection().execute(
            select(chunks.c.name).where(chunks.c.tenant == tenant, chunks.c.name.in_(piece), chunks.c.object != "")
        )
    }
    _lease(session, tenant, there, lease)
    return frozenset(names) - there


def lease_file(session: Session, tenant: str, sha256: str, lease: datetime) -> bool:
    """Whether it is there; then it is for as long as the lease at least."""
    mine = (files.c.tenant == tenant, files.c.sha256 == sha256)
    later = update(files).where(*mine, files.c.leased_until < lease).values(leased_until=lease)
    session.connection().execute(later)
    return session.connection().execute(select(files.c.uses).where(*mine)).first() is not None


def add_file(session: Session, tenant: str, sha256: str, file: StoredFile, lease: datetime) -> frozenset[str]:
    """Answers the chunks that are not there; only where there are none, it is added."""
    names = {chunk.name for chunk in file.chunks}
    if gone := missing(session, tenant, names, lease):
        return gone
    if not lease_file(session, tenant, sha256, lease):
        row = {"tenant": tenant, "sha256": sha256, "size": file.size, "chunks": chunk_lists.pack(file.chunks)}
        row |= {"runs_code": file.runs_code, "uses": 0, "leased_until": lease}
        session.connection().execute(insert(files), row)
        _count_chunks(session, tenant, names, 1)
    return frozenset()


# --- what is read ---


def find_file(session: Session, tenant: str, sha256: str) -> StoredFile | None:
    query = select(files.c.size, files.c.chunks, files.c.runs_code)
    row = session.connection().execute(query.where(files.c.tenant == tenant, files.c.sha256 == sha256)).first()
    return None if row is None else StoredFile(row[0], chunk_lists.unpack(row[1]), row[2])


def objects(session: Session, tenant: str, names: Collection[str]) -> Mapping[str, str]:
    """By chunk; those that are not there are left out."""
    return {
        name: found
        for piece in in_pieces(names)
        for name, found in session.connection().execute(
            select(chunks.c.name, chunks.c.object).where(
                chunks.c.tenant == tenant, chunks.c.name.in_(piece), chunks.c.object != ""
            )
        )
    }


def damaged(session: Session, tenant: str, name: str, object_name: str, due: datetime) -> None:
    """The object is gone, or is not what it was: the chunk is taken again from whoever pushes it."""
    this = (chunks.c.tenant == tenant, chunks.c.name == name, chunks.c.object == object_name)
    if session.connection().execute(update(chunks).where(*this).values(object="")).rowcount:
        _is_garbage(session, [object_name], due)


def usage(session: Session, tenant: str | None) -> Usage:
    """`tenant` None: all of them."""
    mine = () if tenant is None else (chunks.c.tenant == tenant,)
    total = select(func.count(), func.coalesce(func.sum(chunks.c.size), 0)).where(*mine)
    count, stored = session.connection().execute(total).one()
    unused = select(func.coalesce(func.sum(chunks.c.size), 0)).where(*mine, chunks.c.uses == 0)
    waste = session.connection().execute(select(func.count()).select_from(garbage)).scalar_one()
    return Usage(count, int(stored), int(session.connection().execute(unused).scalar_one()), waste)


# --- what refers, and what goes ---


def count_files(session: Session, tenant: str, names: Collection[str], by: int) -> None:
    """A manifest more, or less, refers to these files."""
    for piece in in_pieces(names):
        mine = (files.c.tenant == tenant, files.c.sha256.in_(piece))
        session.connection().execute(update(files).where(*mine).values(uses=files.c.uses + by))


def sweep(session: Session, now: datetime, due: datetime, *, most_files: int = 4, most_chunks: int = 1000) -> int:
    """Files and chunks that nothing refers to and nobody has leased; answers how many went."""
    unused = select(files.c.tenant, files.c.sha256, files.c.chunks).where(files.c.uses == 0, files.c.leased_until < now)
    gone = session.connection().execute(unused.limit(most_files)).all()
    for tenant, sha256, packed in gone:
        session.connection().execute(delete(files).where(files.c.tenant == tenant, files.c.sha256 == sha256))
        _count_chunks(session, tenant, {chunk.name for chunk in chunk_lists.unpack(packed)}, -1)
    idle = select(chunks.c.tenant, chunks.c.name, chunks.c.object)
    rows = (
        session.connection()
        .execute(idle.where(chunks.c.uses == 0, chunks.c.leased_until < now).limit(most_chunks))
        .all()
    )
    for tenant in {row.tenant for row in rows}:
        names = [row.name for row in rows if row.tenant == tenant]
        session.connection().execute(delete(chunks).where(chunks.c.tenant == tenant, chunks.c.name.in_(names)))
    _is_garbage(session, [row.object for row in rows if row.object], due)
    return len(gone) + len(rows)


def doom(session: Session, now: datetime, most: int = 1000) -> Sequence[str]:
    """Objects to be deleted now; from here on no chunk can refer to them."""
    ripe = select(garbage.c.object).where((garbage.c.due < now) | garbage.c.doomed.is_(True)).limit(most)
    found = list(session.connection().execute(ripe).scalars())
    session.connection().execute(update(garbage).where(garbage.c.object.in_(found)).values(doomed=True))
    return found


def forget(session: Session, deleted: Sequence[str]) -> None:
    gone = delete(garbage).where(garbage.c.object.in_(deleted), garbage.c.doomed.is_(True))
    session.connection().execute(gone)


def _is_there(session: Session, tenant: str, name: str) -> bool:
    query = select(chunks.c.uses).where(chunks.c.tenant == tenant, chunks.c.name == name, chunks.c.object != "")
    return session.connection().execute(query).first() is not None


def _lease(session: Session, tenant: str, names: Collection[str], until: datetime) -> None:
    for piece in in_pieces(names):
        mine = (chunks.c.tenant == tenant, chunks.c.name.in_(piece), chunks.c.leased_until < until)
        session.connection().execute(update(chunks).where(*mine).values(leased_until=until))


def _count_chunks(session: Session, tenant: str, names: Collection[str], by: int) -> None:
    for piece in in_pieces(names):
        mine = (chunks.c.tenant == tenant, chunks.c.name.in_(piece))
        session.connection().execute(update(chunks).where(*mine).values(uses=chunks.c.uses + by))


def _is_garbage(session: Session, names: Sequence[str], due: datetime) -> None:
    if names:
        rows = [{"object": name, "due": due, "doomed": False} for name in names]
        session.connection().execute(insert(garbage), rows)
