"""The one way to the database: functions of a session, run on one writer thread or on the readers' threads.

Every commit costs a sync of the disk, so write functions that are waiting together share one transaction (group
commit), each in a savepoint: one that fails takes nothing of the others with it. An answer is given only after the
commit, so whatever was answered survives a crash.

Write functions must be quick, do no IO of their own, and may be cancelled only before they run: a caller that is
cancelled while waiting may find its write done. Not promised: fairness between writers beyond first come, first served.

Where replicas share the database, each transaction begins at the fence of the term that this one leads in. A connection
that breaks before the commit has done nothing, and `StoreUnavailable` says so; of one that breaks during the commit the
store finds out whether it was done, and answers accordingly. Only when even that cannot be found out within the lease
is `OutcomeUnknown` raised; then, as when it is deposed, `lost` is set and the process must end: what it keeps in memory
is no longer known to agree with the tables.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from hub.store import dialect, migrate
from hub.store.changes import Change, announced
from hub.store.dialect import Engines, FileLock, is_lost, open_engines
from hub.store.leadership import Deposed, Term

log = logging.getLogger(__name__)

T = TypeVar("T")
A = TypeVar("A")
Listener = Callable[[Change], None]


class StoreClosed(Exception):
    """The hub is shutting down; what was asked was not done."""


class StoreUnavailable(Exception):
    """The connection to the database broke; what was asked was not done, and may be asked again."""


class OutcomeUnknown(Exception):
    """The connection broke during the commit, and whether it was done could not be found out."""


@dataclass(slots=True)
class _Write:
    function: Callable[[Session], Any]
    future: asyncio.Future[Any]
    together: Together | None = None  # then `function` is it, with this item alone
    item: Any = None
    answer: Any = None
    error: BaseException | None = None


Together = Callable[[Session, Sequence[Any]], Sequence[Any]]


class Store:
    """Opened once per process, closed at its end; listeners hear of every committed change on the event loop.

    `term`: what this replica leads in, where it has to. `settle_s`: how long it asks what became of a lost commit.
    """

    def __init__(
        self, url: str, *, readers: int = 2, group: int = 256, term: Term | None = None, settle_s: float = 10.0
    ) -> None:
        self.lost = asyncio.Event()  # set: another replica leads, or what was committed is not known
        self._url = url
        self._term = term
        self._settle_s = settle_s
        self._readers = readers
        self._group = group
        self._listeners: list[Listener] = []
        self._waiting: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._closed = True

    async def open(self) -> None:
        """Migrates the schema. Raises DatabaseInUse where another hub has the file, NewerDatabase, Deposed."""
        self._loop = asyncio.get_running_loop()
        self._lock = FileLock(self._url)
        try:
            self._engines: Engines = await asyncio.to_thread(_prepared, self._url, self._readers, self._term)
        except BaseException:
            self._lock.release()
            raise
        self._pool = ThreadPoolExecutor(self._readers, thread_name_prefix="store-read")
        self._thread = threading.Thread(target=self._write_loop, name="store-write", daemon=True)
        self._closed = False
        self._thread.start()

    def subscribe(self, listener: Listener) -> None:
        """Called on the event loop, in commit order, before the writer's own answer. Must not raise or wait."""
        self._listeners.append(listener)

    async def write(self, function: Callable[[Session], T]) -> T:
        """Runs it in a transaction and answers what it answered, once committed; raises what it raised.

        Raises StoreClosed, StoreUnavailable, Deposed, OutcomeUnknown.
        """
        future: asyncio.Future[T] = self._new_future()
        self._waiting.put(_Write(function, future))
        return await future

    async def write_together(self, function: Callable[[Session, Sequence[A]], Sequence[T | Exception]], item: A) -> T:
        """As `write`, for small writes of one sort: those that wait at the same time are given to `function` at once.

        It answers, item by item, a value or the exception that this item's caller gets, and must have done nothing for
        the latter. If it raises, the items are tried again one by one. `function` is told apart by identity.
        """
        future: asyncio.Future[T] = self._new_future()
        self._waiting.put(_Write(lambda session: _only(function(session, [item])), future, function, item))
        return await future

    def _new_future(self) -> asyncio.Future[Any]:
        if self._closed:
            raise StoreClosed("the store is closed")
        return self._loop.create_future()

    async def read(self, function: Callable[[Session], T]) -> T:
        """Runs it on one consistent snapshot that holds at least every write answered so far."""
        if self._closed:
            raise StoreClosed("the store is closed")
        return await self._loop.run_in_executor(self._pool, self._read, function)

    async def scrub(self) -> None:
        """Leaves nothing in the database's files of what was deleted or written over, as far as that can be had."""
        if self._closed:
            raise StoreClosed("the store is closed")
        await self._loop.run_in_executor(self._pool, dialect.scrub, self._engines)

    async def close(self) -> None:
        """Finishes what is waiting."""
        if self._closed:
            return
        self._closed = True
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._pool.shutdown)
        self._engines.dispose()
        self._lock.release()

    def _read(self, function: Callable[[Session], T]) -> T:
        try:
            with Session(self._engines.readers, autoflush=False) as session:
                return function(session)
        except DBAPIError as error:
            raise _worded(error) from error

    def _write_loop(self) -> None:
        ending = False
        while not ending:
            batch: list[_Write] = []
            entry = self._waiting.get()
            while entry is not None:
                batch.append(entry)
                if len(batch) >= self._group:
                    break
                try:
                    entry = self._waiting.get_nowait()
                except queue.Empty:
                    break
            else:
                ending = True
            if batch:
                changes = self._commit(batch)
                self._hand_over(changes, batch)

    def _commit(self, batch: Sequence[_Write]) -> Sequence[Change]:
        """Runs the batch; fills each answer or error. Whatever raises outside a function fails them all."""
        changes: Sequence[Change] = ()
        committing = False
        try:
            with Session(self._engines.writer) as session:
                if self._term is not None:
                    self._term.begin(session.connection())
                for group in _groups(batch):
                    _run_together(session, group)
                changes = tuple(announced(session))
                committing = True
                session.commit()
                return changes
        except Exception as error:
            cause: Exception = error
            try:
                if committing and self._term is not None and is_lost(error) and self._was_committed(self._term):
                    log.warning("the connection broke during a commit, which was done all the same")
                    return changes
            except Exception as unknown:
                cause = unknown
            self._fail(batch, cause)
            return ()

    def _fail(self, batch: Sequence[_Write], cause: Exception) -> None:
        if isinstance(cause, Deposed):
            log.error("a transaction of %d writes was refused: %s", len(batch), cause)
        else:
            log.error("a transaction of %d writes failed", len(batch), exc_info=cause)
        # SQLite keeps a transaction open whose commit failed (a full disk, say), and SQLAlchemy does not know: the
        # next one begins on a fresh connection.
        self._engines.writer.dispose()
        for write in batch:
            write.answer, write.error = None, write.error or _worded(cause)

    def _was_committed(self, term: Term) -> bool:
        """Of the transaction begun last, whose connection broke while it was committed. Raises OutcomeUnknown."""
        deadline = time.monotonic() + self._settle_s
        while True:
            try:
                with self._engines.writer.begin() as connection:
                    return term.was_committed(connection)
            except DBAPIError as error:
                if time.monotonic() > deadline:
                    raise OutcomeUnknown("the connection broke during a commit: it may have been done") from error
                time.sleep(_ASK_AGAIN_S)
            except Deposed as error:
                raise OutcomeUnknown("another replica took over during a commit: it may have been done") from error

    def _hand_over(self, changes: Sequence[Change], batch: Sequence[_Write]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._committed, changes, batch)
        except RuntimeError:  # the loop is gone: nobody waits for the answers any more
            log.debug("the loop ended before %d writes were answered", len(batch))

    def _committed(self, changes: Sequence[Change], batch: Sequence[_Write]) -> None:
        for change in changes:
            for listener in self._listeners:
                try:
                    listener(change)
                except Exception:
                    log.exception("a listener failed on %r", change)
        for write in batch:
            if isinstance(write.error, Deposed | OutcomeUnknown):
                self.lost.set()
            if write.future.done():  # its caller was cancelled
                continue
            if write.error is not None:
                write.future.set_exception(write.error)
            else:
                write.future.set_result(write.answer)


_ASK_AGAIN_S = 0.2


def _worded(error: Exception) -> Exception:
    if not is_lost(error):
        return error
    unavailable = StoreUnavailable("the connection to the database broke: nothing of this was done")
    unavailable.__cause__ = error
    return unavailable


def _prepared(url: str, readers: int, term: Term | None) -> Engines:
    engines = open_engines(url, readers)
    try:
        migrate.upgrade(engines.writer, None if term is None else term.begin)
    except BaseException:
        engines.dispose()
        raise
    return engines


def _groups(batch: Sequence[_Write]) -> list[list[_Write]]:
    """Those that may run together; each of the others alone. Callers that wait together are in no order yet."""
    groups: dict[object, list[_Write]] = {}
    for write in batch:
        groups.setdefault(write.together or id(write), []).append(write)
    return list(groups.values())


def _run_together(session: Session, group: Sequence[_Write]) -> None:
    together = group[0].together
    if together is None or len(group) == 1:
        _run(session, group[0])
        return
    whole = _Write(lambda session: together(session, [write.item for write in group]), group[0].future)
    _run(session, whole)
    if whole.error is not None:
        log.warning("%d writes failed together and are tried one by one: %s", len(group), whole.error)
        for write in group:
            _run(session, write)
        return
    for write, answer in zip(group, whole.answer, strict=True):
        if isinstance(answer, Exception):
            write.error = answer
        else:
            write.answer = answer


def _only(answers: Sequence[T | Exception]) -> T:
    (answer,) = answers
    if isinstance(answer, Exception):
        raise answer
    return answer


def _run(session: Session, write: _Write) -> None:
    before = len(announced(session))
    # Numbers given out by a function that is undone are given out again; nobody has seen them.
    numbers = dict(session.info.get("numbers", {}))
    savepoint = session.begin_nested()
    try:
        write.answer = write.function(session)
        savepoint.commit()
    except Exception as error:
        if is_lost(error):
            raise  # there is no transaction any more to be rolled back to
        write.error = error
        savepoint.rollback()
        del announced(session)[before:]
        session.info["numbers"] = numbers
