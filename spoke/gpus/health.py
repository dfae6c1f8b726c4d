"""Marks GPUs that are unfit, so that they are given to nobody, and says of which pods that their card is one of them.

Everything comes by watches: nodes, Events about nodes, pods, devices. A turn of the loop is needed only for what ends
by time. `handing_back` asks `why` for each pod of ours when marks have changed, and moves the jobs.

Whose card it is: the pods that a source names; else those that have the index by the annotation of their binding; else,
where a sign means every card or more are given out than are left, every pod with a card there. What a pod's own status
says of its devices (`allocatedResourcesStatus`) and taints of devices that are had by claim are exact.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from spoke.cluster.port import Object
from spoke.device_book import DeviceBook
from spoke.gpus import claimed, event_signs, node_signs
from spoke.gpus.book import PATIENCE, Book, Marks, Names, Patience
from spoke.gpus.incident import LIMIT, Incident, Limit
from spoke.gpus.memory import Memory
from spoke.gpus.signs import Sign
from spoke.inventory import Inventory
from spoke.pods import PodFacts
from spoke.watch import Sink, take_each

log = logging.getLogger(__name__)

TOLD = 20  # nodes that a summary names, of those with marked cards
_SETTLE_S = 1.0


class GpuHealth:
    """`changed` is called when marks have changed, and once more when what is held back may be moved."""

    def __init__(
        self,
        inventory: Inventory,
        devices: DeviceBook,
        *,
        clock: Callable[[], float],
        wall: Callable[[], datetime],
        memory: Memory | None = None,
        patience: Patience = PATIENCE,
        limit: Limit = LIMIT,
    ) -> None:
        """`clock` counts seconds and never goes back."""
        self.book = Book(patience)
        self._inventory = inventory
        self._devices = devices
        self._clock = clock
        self._wall = wall
        self._memory = memory or Memory(None)
        self._incident = Incident(limit)
        self._held_back: set[str] = set()  # nodes whose jobs are not moved, because too many are sick at once
        self._saved: Sequence[object] = ()
        self._news = False
        self._awake = asyncio.Event()
        self.changed: Callable[[], None] = lambda: None
        self.book.remember(self._memory.load())

    # ---- what is told ----

    def nodes_reset(self, objects: Sequence[Object]) -> None:
        self.book.keep(obj["metadata"]["name"] for obj in objects)

    def node(self, obj: Object) -> None:
        """After the inventory has taken it."""
        name = obj["metadata"]["name"]
        facts = self._inventory.told(name)
        if facts is not None:
            self._renewed(name, self.book.node(node_signs.read(obj, facts), self._clock()))

    def node_gone(self, name: str) -> None:
        self.book.drop(name)

    def measured(self, node: str, found: Sequence[Sign], names: Mapping[int, Names]) -> None:
        """What the counters of its cards say now, and what they are called."""
        self._renewed(node, self.book.measured(node, found, names, self._clock()))

    def events(self) -> Sink:
        """Of Events about nodes; one that is gone is merely old."""
        return Sink(lambda objects: take_each(self._event, objects), self._event, lambda obj: None)

    def _event(self, obj: Object) -> None:
        event = event_signs.read(obj)
        if event is not None:
            self._renewed(event.node, self.book.event(event, self._clock(), self._wall()))

    def _renewed(self, node: str, changed: bool) -> None:
        if changed:
            marks = self.book.marks(node)
            self._inventory.mark_gpus(node, frozenset(marks.cards), every=bool(marks.every))
            for line in lines(node, marks):
                log.warning("%s", line)
            if not marks:
                log.info("the GPUs of node %s count as well again", node)
            self._news = True
        if changed or self.book.due():
            self._wake()

    def _wake(self) -> None:
        self._awake.set()

    # ---- what is asked ----

    def why(self, pod: PodFacts) -> str:
        """Why the pod's card is unfit and the pod is to go; "" where it is well, or may stay for now."""
        found = self.trouble(pod)
        if not found:
            return ""
        if self._incident.may_move(pod.node, self._inventory.gpu_nodes(), self._clock()):
            self._held_back.discard(pod.node)
            return found
        if pod.node not in self._held_back:
            self._held_back.add(pod.node)
            log.warning(
                "jobs stay on node %s though it is so: %s. More than %d nodes within %g s is one incident",
                pod.node,
                found,
                self._incident.limit.nodes(self._inventory.gpu_nodes()),
                self._incident.limit.within_s,
            )
            self._wake()
        return ""

    def trouble(self, pod: PodFacts) -> str:
        if not pod.node or not (pod.devices or pod.claims):
            return ""
        marks = self.book.marks(pod.node)
        if pod.sick:
            return f"{pod.node}: {pod.sick}"
        if pod.claims and (why := claimed.trouble(self._devices, pod)):
            return why
        why = marks.pods.get((pod.namespace, pod.name), "")
        if why:
            return f"a GPU of {pod.node}: {why}"
        for index in pod.gpus:
            if index in marks.cards and index not in marks.owned:
                return f"GPU {index} of {pod.node}: {marks.cards[index]}"
        if marks.every:
            return f"GPUs of {pod.node}: {marks.every}"
        if marks.missing and self._inventory.cards_short(pod.node):
            return f"GPUs of {pod.node}: {_missing(marks)}, and more were given out than are left"
        return ""

    def unusable(self) -> tuple[int, tuple[str, ...]]:
        """How many cards nobody is given, and why, node by node (some of them where they are many)."""
        marked = self.book.all_marks()
        count = sum(self._inventory.cards_unusable(node, marks.missing) for node, marks in marked.items())
        told: list[str] = []
        for node in sorted(marked)[:TOLD]:
            held = "; jobs there stay, for too many nodes are so at once" if node in self._held_back else ""
            if self._inventory.is_avoided(node):
                held += "; its other GPUs are not given either while its device plugin may give out this one"
            told += [line + held for line in lines(node, marked[node])]
        if len(marked) > TOLD:
            told.append(f"and {len(marked) - TOLD} more nodes")
        return count, tuple(told[: 4 * TOLD])

    async def run(self) -> None:
        while True:
            await self._awake.wait()
            self._awake.clear()
            for node in self.book.settle(self._clock()):
                self._renewed(node, changed=True)
            self._held_back &= self.book.all_marks().keys()
            if self._news or self._held_back:
                self._news = False
                self.changed()
            await self._remember()
            await asyncio.sleep(_SETTLE_S)
            if self.book.due() or self._held_back:
                self._wake()

    async def _remember(self) -> None:
        happened = self.book.happenings()
        if happened != self._saved:
            await asyncio.to_thread(self._memory.save, happened)
            self._saved = happened


def lines(node: str, marks: Marks) -> list[str]:
    """For people, one for each reason."""
    found = [f"{node}: every GPU: {marks.every}"] if marks.every else []
    found += [f"{node}: GPU {index}: {why}" for index, why in marks.cards.items()]
    return found + ([f"{node}: {_missing(marks)}"] if marks.missing else [])


def _missing(marks: Marks) -> str:
    return f"{marks.missing} {'GPU is' if marks.missing == 1 else 'GPUs are'} missing"
