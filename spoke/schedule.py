"""Decides which pods of which gang go to which nodes and GPUs: all of a gang or none, and nothing twice.

When a job is accepted, places for all its pods are worked out and held, so that what the hub was promised stays free
until its pods exist. Once enough pods exist, they take those places; where the places are not sound any more (a node is
gone, another scheduler was faster) or there are none, the gang is assigned anew. What was decided takes capacity at
once; `binding` then does it.

A gang that does not fit stays unbound and says why with numbers; it is tried again when capacity was freed, by
priority and then by arrival. Deciding never waits for anything, so each decision sees all those before it.

Not promised: that the GPU indices written on a pod are the cards its kubelet hands out, unless the cluster's device
plugin reads them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from placement import topology
from placement.assignment import Assignment, NodeAssignment, PodToPlace, Shortfall
from placement.dra.names import without_claimed
from placement.dra.requests import ClaimSpec
from placement.survey import Surveyor
from placement.workload import Workload
from spoke import gangs
from spoke.binding import Binder, Placing
from spoke.claims import ClaimGrant, Claims
from spoke.device_book import DeviceBook
from spoke.gangs import Batch
from spoke.inventory import Inventory, Slot, Usage
from spoke.jobs import Job, Jobs, counts_by_role
from spoke.pods import PodFacts
from wire.orders import JobRef, PodPlace

log = logging.getLogger(__name__)

_NOTED = 65_536  # jobs that are known to have been seen
_NO_CLAIMS: Mapping[str, tuple[ClaimSpec, ...]] = {}
_RETRY_SHARE = 4.0  # after trying those that wait, rest so many times as long as it took


class Scheduler:
    """`changed` is told the id of a job whose reason for waiting changed."""

    def __init__(self, jobs: Jobs, inventory: Inventory, binder: Binder, changed: Callable[[str], None]) -> None:
        self._jobs = jobs
        self._inventory = inventory
        self._binder = binder
        self._changed = changed
        self.claims = Claims(DeviceBook(), inventory)  # the agent's, where the cluster has devices to claim
        self._surveyor = Surveyor(inventory.levels)  # remembers every node that did not change
        self._noted: dict[str, None] = {}
        self._dirty: set[str] = set()
        self._waiting: set[str] = set()
        self._room = -1  # the inventory's, when those that wait were last tried
        self._try_again_at = 0.0  # the loop's time: those that wait are tried for a small part of the time only
        self._wake = asyncio.Event()

    # ---- for the agent ----

    def hold(self, ref: JobRef, workload: Workload, claims: Mapping[str, tuple[ClaimSpec, ...]] = _NO_CLAIMS) -> str:
        """Holds places for all pods of a job to come. Answers why it cannot, or "".

        `claims` is by role what its pods will claim, as far as that is known before they exist.
        """
        self._note(ref.job, workload)
        if claims:
            slots = self.claims.hold(workload, gangs.described(workload), claims)
            if isinstance(slots, Shortfall):
                return slots.reason.message
            self._inventory.hold(ref, slots)
            return ""
        outcome = self._find_room(workload, gangs.described(workload), ())
        if not isinstance(outcome, Assignment):
            return outcome.reason.message
        self._inventory.hold(ref, _slots(workload, outcome))
        return ""

    def hold_more(self, ref: JobRef, added: Workload) -> str:
        """Holds places for pods that are to join those of a job. Answers why it cannot, or ""."""
        outcome = self._find_room(added, gangs.described(added), ())
        if not isinstance(outcome, Assignment):
            return outcome.reason.message
        self._inventory.hold(ref, _slots(added, outcome), beside=True)
        return ""

    def poke(self, job: str) -> None:
        """Its pods or its orders changed."""
        self._dirty.add(job)
        self._wake.set()

    def room_may_have_grown(self) -> None:
        if self._waiting and self._inventory.room != self._room:
            self._wake.set()

    def resume(self, job: Job, places: Sequence[PodPlace]) -> None:
        """After a restart: completes a gang of which some pods were bound before it. Before any other decision."""
        by_name = {pod.name: pod for pod in job.pods.values()}
        if not any(pod.alive for pod in by_name.values()):
            return  # none is bound: what is decided anew is as good
        placings = []
        for place in places:
            pod, node = by_name.get(place.pod), self._inventory.node(place.node)
            if pod is not None and pod.unbound and node is not None and node.ready:
                placings.append(Placing(pod, NodeAssignment(place.pod, place.role, place.node, place.gpus)))
        served = self.claims.serve([(placing.pod, placing.assignment.node) for placing in placings])
        if served is not None:  # otherwise it is decided anew
            self._begin(job, _with_claims(placings, served), together=True)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = loop.time()
            retry = began >= self._try_again_at
            self.decide(retry=retry)
            if retry:
                took_s = loop.time() - began
                self._try_again_at = loop.time() + _RETRY_SHARE * took_s
            elif self._waiting:
                loop.call_at(self._try_again_at, self.room_may_have_grown)

    # ---- deciding ----

    def decide(self, *, retry: bool = True) -> None:
        """One round: every job that changed, and (with `retry`) those that wait where room was made."""
        names, self._dirty = self._dirty, set()
        retry = retry and self._inventory.room != self._room
        if retry:
            names = names | self._waiting
        found = [job for name in names if (job := self._jobs.get(name)) is not None]
        if len(found) < len(names):
            self._waiting -= names - {job.ref.job for job in found}
        unfit: set[Hashable] = set()
        for job in sorted(found, key=_order):
            try:
                self._decide(job, unfit)
            except Exception:  # one job that cannot be decided must not stop the others
                log.exception("deciding on %s failed", job.ref)
        if retry:
            # Held places that were given up on the way count as seen: all that wait had their chance after them.
            self._room = self._inventory.room

    def _decide(self, job: Job, unfit: set[Hashable]) -> None:
        """`unfit` are demands that found no room in this round: whoever asks for the same need not try."""
        self._waiting.discard(job.ref.job)
        if job.workload is not None:
            self._note(job.ref.job, job.workload)
        if not job.runs or job.bound():
            self._inventory.release(job.ref)
        shortfall = ""
        together = False
        if not self._binder.is_resting(job.ref):
            for batch in gangs.batches(job, self._inventory.is_assumed):
                left = self._take_held(job, batch)
                if left and (lacking := self._assign(job, batch, left, unfit)):
                    shortfall = shortfall or lacking
                    together |= batch.together
        if shortfall:
            self._waiting.add(job.ref.job)
            if together and (partial := gangs.partial(job)):
                self._binder.roll_back(job, f"the rest of the gang does not fit: {shortfall}", partial)
        if job.shortfall != shortfall:
            job.shortfall = shortfall
            self._changed(job.ref.job)

    def _take_held(self, job: Job, batch: Batch) -> Sequence[PodFacts]:
        """Pods take the places held for them. Answers the pods that are still without one."""
        slots = self._inventory.slots(job.ref)
        if not slots:
            return batch.pods
        matched = _matched(job, batch.pods, slots)
        served = self._served(job, matched, slots)
        is_short = batch.together and len(matched) < len(batch.pods)
        if is_short or served is None or not self._inventory.is_sound(job.ref):
            self._inventory.release(job.ref)
            return batch.pods
        placings = []
        for uid, (pod, index) in matched.items():
            slot = self._inventory.redeem(job.ref, index, uid)
            placings.append(Placing(pod, NodeAssignment(pod.name, slot.role, slot.node, slot.usage.gpus)))
        placings = self._with_claims_assumed(placings, served)
        self._binder.bind(job, placings, together=batch.together)
        return [pod for pod in batch.pods if pod.uid not in matched]

    def _served(
        self, job: Job, matched: Mapping[str, tuple[PodFacts, int]], slots: Mapping[int, Slot]
    ) -> Mapping[str, tuple[ClaimGrant, ...]] | None:
        """Devices for the claims of pods, on the nodes that are held for them."""
        if not any(pod.claims for pod, _ in matched.values()):
            return {}
        redeeming = {(job.ref, index) for _, index in matched.values()}
        return self.claims.serve([(pod, slots[index].node) for pod, index in matched.values()], redeeming)

    def _assign(self, job: Job, batch: Batch, pods: Sequence[PodFacts], unfit: set[Hashable]) -> str:
        """Answers why not, or ""."""
        shortfall = self._try(job, pods, batch.together, unfit)
        if not shortfall:
            return ""
        if not batch.together:
            return self._one_by_one(job, pods, unfit) if len(pods) > 1 else shortfall
        if len(batch.needed) < len(pods) and not self._try(job, batch.needed, True, unfit):
            self.poke(job.ref.job)  # the others, each for itself
            return ""
        return shortfall

    def _one_by_one(self, job: Job, pods: Iterable[PodFacts], unfit: set[Hashable]) -> str:
        full: dict[str, str] = {}
        for pod in pods:
            if pod.role not in full and (shortfall := self._try(job, [pod], False, unfit)):
                full[pod.role] = shortfall
        return next(iter(full.values()), "")

    def _try(self, job: Job, pods: Sequence[PodFacts], together: bool, unfit: set[Hashable]) -> str:
        assert job.workload is not None  # noqa: S101  a job without one has no batch
        workload = gangs.as_they_are(job, job.workload, pods)
        asked = [(_numbered(job, pod), role.name) for pod in pods if (role := job.role_of(pod)) is not None]
        placed = self._placed(job)
        if any(pod.claims for pod in pods):
            return self._try_with_claims(job, workload, asked, placed, together)
        if unfit and _demand(workload, job, pods, placed) in unfit:
            return job.shortfall or "no room: an equal demand found none"
        outcome = self._find_room(workload, [PodToPlace(pod.name, role, pod.index) for pod, role in asked], placed)
        if isinstance(outcome, Shortfall):
            unfit.add(_demand(workload, job, pods, placed))
            return outcome.reason.message
        by_name = {pod.name: pod for pod in pods}
        self._begin(job, [Placing(by_name[a.pod], a) for a in outcome.pods], together)
        return ""

    def _try_with_claims(
        self,
        job: Job,
        workload: Workload,
        asked: Sequence[tuple[PodFacts, str]],
        placed: Sequence[NodeAssignment],
        together: bool,
    ) -> str:
        outcome = self.claims.place(workload, asked, placed)
        if isinstance(outcome, Shortfall):
            return outcome.reason.message
        by_name = {pod.name: pod for pod, _ in asked}
        placings = [Placing(by_name[a.pod], a) for a in outcome.assignment.pods]
        self._begin(job, _with_claims(placings, outcome.grants), together)
        return ""

    def _find_room(
        self,
        workload: Workload,
        pods: Sequence[PodToPlace],
        placed: Sequence[NodeAssignment],
    ) -> Assignment | Shortfall:
        if not placed and _is_single(workload, pods):
            [role] = workload.roles
            seat = self._inventory.singles.seat(role)
            if seat is None:
                return Shortfall(self._inventory.singles.shortage(role, "the cluster"))
            return Assignment((NodeAssignment(pods[0].name, role.name, seat.node, seat.gpus),))
        nodes, levels = self._inventory.nodes(), self._inventory.levels
        return topology.assign(nodes, pods, workload, levels, placed=placed, surveyor=self._surveyor)

    def _note(self, job: str, workload: Workload) -> None:
        """What a job asks for is seen once, however often it is tried."""
        if job in self._noted:
            return
        self._noted[job] = None
        if len(self._noted) > _NOTED:
            del self._noted[next(iter(self._noted))]
        self._inventory.singles.note(workload)

    def _placed(self, job: Job) -> list[NodeAssignment]:
        """Where the job's other pods are: those that come must be near them."""
        found = []
        for pod in job.pods.values():
            role, taken = job.role_of(pod), self._inventory.usage_of(pod.uid)
            if role is not None and taken is not None:
                found.append(NodeAssignment(pod.name, role.name, taken[0], taken[1].gpus, job.index_of(pod)))
        return found

    def _begin(self, job: Job, placings: Sequence[Placing], together: bool) -> None:
        for placing in placings:
            usage = Usage(placing.pod.requests, placing.assignment.gpus)
            self._inventory.assume(placing.pod.uid, placing.assignment.node, usage)
            self.claims.assume(placing.assignment.node, placing.claims)
        self._binder.bind(job, placings, together=together)

    def _with_claims_assumed(
        self, placings: Sequence[Placing], grants: Mapping[str, tuple[ClaimGrant, ...]]
    ) -> list[Placing]:
        found = _with_claims(placings, grants)
        for placing in found:
            self.claims.assume(placing.assignment.node, placing.claims)
        return found


def _slots(workload: Workload, found: Assignment) -> Iterator[Slot]:
    requests = {role.name: role.requests for role in workload.roles}
    return (Slot(p.role, p.node, Usage(requests[p.role], p.gpus)) for p in found.pods)


def _with_claims(placings: Sequence[Placing], grants: Mapping[str, tuple[ClaimGrant, ...]]) -> list[Placing]:
    if not grants:
        return list(placings)
    return [replace(placing, claims=grants.get(placing.pod.name, ())) for placing in placings]


def _order(job: Job) -> tuple[int, int]:
    return -(job.workload.hints.priority if job.workload is not None else 0), job.arrival


def _is_single(workload: Workload, pods: Sequence[PodToPlace]) -> bool:
    """A pod by itself, which any node may have. Pods that ask for several kinds of devices are packed as gangs are."""
    if len(pods) != 1 or workload.topology is not None or workload.pods != 1:
        return False
    role = workload.roles[0]
    return role.topology is None and role.slices is None and len(role.devices) <= 1


def _matched(job: Job, pods: Iterable[PodFacts], slots: Mapping[int, Slot]) -> dict[str, tuple[PodFacts, int]]:
    """Pods and the slots (by index) of their role that hold just what they ask for.

    In a role of slices a pod that has a number takes the slot of that number: the slot lies where its slice does.
    """
    free: dict[str, list[int]] = {}
    for index, slot in slots.items():
        free.setdefault(slot.role, []).append(index)
    first = _first_slots(job)
    matched = {}
    for pod in pods:
        role = job.role_of(pod)
        if role is None or not (indices := free.get(role.name)):
            continue
        number = job.index_of(pod) if role.slices is not None else None
        index = first[role.name] + number if number is not None else indices[0]
        if index in indices and without_claimed(slots[index].usage.requests) == pod.requests:
            matched[pod.uid] = (pod, index)
            indices.remove(index)
    return matched


def _numbered(job: Job, pod: PodFacts) -> PodFacts:
    return pod if pod.group is None else replace(pod, index=job.index_of(pod))


def _first_slots(job: Job) -> dict[str, int]:
    """The number of each role's first slot: they follow one another as `gangs.described` has the pods."""
    found, number = {}, 0
    for role in job.workload.roles if job.workload is not None else ():
        found[role.name] = number
        number += role.replicas
    return found


def _demand(workload: Workload, job: Job, pods: Iterable[PodFacts], placed: Sequence[NodeAssignment]) -> Hashable:
    """Of a role in slices it matters which pods are at hand, and not only how many."""
    counts = tuple(sorted(counts_by_role(job, pods).items()))
    own = bool(placed) or any(role.slices is not None for role in workload.roles)
    return workload.roles, workload.topology, counts, job.ref if own else None
