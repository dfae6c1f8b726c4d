"""What people do with queues: look, make, change, delete. All of them are saved together or not at all.

A change is refused where the whole would be wrong afterwards, and where it would leave jobs without a queue. Quota
below what is used is refused too, unless forced: then nothing is stopped, and the queue gets nothing more until it uses
less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from hub.errors import ConflictError, Invalid, NotFound
from hub.federation import Federation
from hub.loops.backlog import Backlog
from hub.records import Actor
from hub.roles import admins_only
from hub.store import queues
from hub.store.store import Store
from placement.fleet import Fleet
from placement.kinds.problems import Problem, did_you_mean
from placement.queues.budgets import BudgetBook
from placement.queues.quota import Limits, QuotaBook
from placement.queues.tree import Queue, QueueTree, faults
from placement.queues.usage import of_reservation

MAX_QUEUES = 1000


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """Of one device class that is limited: used with all parts, what there is, and what may still be taken."""

    device: str
    used: float
    may_use: float
    left: float


@dataclass(frozen=True, slots=True)
class QueueState:
    queue: Queue
    parts: tuple[str, ...]  # of a cohort; such a one takes no jobs
    waiting: int
    running: int
    uses: tuple[DeviceUse, ...]
    gpu_hours_day: float  # ended attempts, and running ones until now; parts included
    usd_day: float
    gpu_hours_month: float
    usd_month: float


class Queues:
    def __init__(
        self, store: Store, federation: Federation, backlog: Backlog, *, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._federation = federation
        self._backlog = backlog
        self._clock = clock

    async def keep_initial(self) -> None:
        """What the settings say, where the store has no queues yet."""
        initial = self._federation.queues

        def write(session: Session) -> None:
            if queues.tree(session) is None:
                queues.save(session, initial)

        await self._store.write(write)

    async def list(self, actor: Actor) -> Sequence[QueueState]:
        return self._states()

    async def show(self, actor: Actor, name: str) -> QueueState:
        """Raises NotFound."""
        for state in self._states():
            if state.queue.name == name:
                return state
        raise _unknown(name, self._federation.queues)

    async def create(self, actor: Actor, queue: Queue) -> QueueState:
        """Raises Forbidden, ConflictError, Invalid."""
        admins_only(actor, "change queues")
        if queue.name in self._federation.queues.queues:
            raise ConflictError(
                f"there is a queue {queue.name} already",
                code="queue-exists",
                mend=f"muster queue edit {queue.name} changes it",
            )
        return (await self.put(actor, [queue]))[0]

    async def put(self, actor: Actor, changed: Sequence[Queue], *, force: bool = False) -> Sequence[QueueState]:
        """Makes them, or puts them in the place of those of the same names.

        Raises Forbidden, ConflictError, Invalid; then none of them counts.
        """
        admins_only(actor, "change queues")
        tree = QueueTree.of([*self._federation.queues.queues.values(), *changed])
        await self._save(tree, force=force)
        names = [queue.name for queue in changed]
        return [state for name in dict.fromkeys(names) for state in self._states() if state.queue.name == name]

    async def delete(self, actor: Actor, name: str) -> None:
        """Raises Forbidden, NotFound, ConflictError."""
        admins_only(actor, "change queues")
        tree = self._federation.queues
        if name not in tree.queues:
            raise _unknown(name, tree)
        if parts := tree.children[name]:
            raise ConflictError(
                f"{name} is the cohort of {', '.join(parts)}", code="queue-in-use", mend="delete or move those first"
            )
        await self._save(QueueTree.of(queue for queue in tree.queues.values() if queue.name != name))

    async def _save(self, tree: QueueTree, *, force: bool = False) -> None:
        if found := faults(tree):
            problems = [Problem(0, f"{one.queue}.{one.field}", one.message, one.mend) for one in found]
            raise Invalid(str(found[0]), code="invalid-queue", mend=found[0].mend, problems=problems)
        if not tree.open or len(tree.queues) > MAX_QUEUES:
            raise Invalid(
                f"there would be {len(tree.queues)} queues, of which jobs may name {len(tree.open)}",
                code="invalid-queue",
                mend=f"keep 1 to {MAX_QUEUES}, and one that is no cohort",
            )
        if homeless := self._homeless(tree):
            raise ConflictError(
                f"jobs wait or run in {', '.join(homeless)}, which would take none",
                code="queue-in-use",
                mend="wait for them or cancel them first (muster jobs --queue)",
            )
        if not force and (short := list(_below_use(tree, self._federation.fleet()))):
            raise ConflictError(
                short[0], code="quota-below-use", mend="give as much as is used, wait, or force it (--force)"
            )
        await self._store.write(lambda session: queues.save(session, tree))

    def _homeless(self, tree: QueueTree) -> tuple[str, ...]:
        held = {one.workload.hints.queue for one in self._federation.fleet().reservations}
        before = self._federation.queues.open
        return tuple(sorted((held | self._backlog.queues().keys()) & before - tree.open))

    def _states(self) -> Sequence[QueueState]:
        fleet, waiting = self._federation.fleet(), self._backlog.queues()
        tree, limits = fleet.queues, Limits(fleet.queues)
        quota = QuotaBook(limits, ((one.workload.hints.queue, of_reservation(one)) for one in fleet.reservations))
        spent = BudgetBook(tree, fleet.past, fleet.reservations, self._clock(), fleet.half_life_h, every_queue=True)
        found = []
        for name, queue in sorted(tree.queues.items()):
            path = tree.paths[name]
            uses = tuple(
                DeviceUse(device, quota.used(name, device), limits.may_use(path, device), quota.left(path, device))
                for device in sorted(tree.classes[path[-1].name])
            )
            running = sum(one.workload.hints.queue == name for one in fleet.reservations)
            sums = spent.spent(name)
            found.append(QueueState(queue, tree.children[name], waiting.get(name, 0), running, uses, *sums))
        return found


def _below_use(tree: QueueTree, fleet: Fleet) -> Iterator[str]:
    """Where a queue would have less than it uses, and had enough before."""
    used = [(one.workload.hints.queue, of_reservation(one)) for one in fleet.reservations]
    before, after = (QuotaBook(Limits(each), used) for each in (fleet.queues, tree))
    for name, path in sorted(tree.paths.items()):
        for device in sorted(tree.classes[path[-1].name]):
            left = after.left(path, device)
            known = fleet.queues.paths.get(name)
            if (
                left < -1e-6
                and after.used(name, device)
                and (known is None or left < before.left(known, device) - 1e-6)
            ):
                uses = after.used(name, device)
                yield f"queue {name} uses {uses:g} {device} and could use {uses + left:g}: quota below use"


def _unknown(name: str, tree: QueueTree) -> NotFound:
    close = did_you_mean(name, tree.queues)
    return NotFound(
        f"there is no queue {name!r}",
        code="no-such-queue",
        mend=f"did you mean {close!r}?" if close else "muster queue list shows them",
    )
