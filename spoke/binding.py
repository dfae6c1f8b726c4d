"""Does what `schedule` decided: writes a gang's places to the ledger, then binds all its pods at the same time.

Claims of devices are allocated first, for all pods of the gang or for none (`claim_writing`).

A binding that fails for now is tried again. If one fails for good, the pods of the gang that were bound are deleted:
their controller makes new ones, and the gang starts over whole, after a rest that grows with each failure.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random

from placement.assignment import NodeAssignment
from spoke import gangs
from spoke.claim_writing import ClaimWriter, Writing
from spoke.claims import ClaimGrant
from spoke.cluster.backoff import Backoff
from spoke.cluster.port import ClusterError, ClusterPort, ObjectKey, PodBinding, Unavailable
from spoke.crew import Crew
from spoke.device_book import DeviceBook
from spoke.inventory import Inventory
from spoke.jobs import Job
from spoke.ledger import Ledger, LedgerUnusable
from spoke.pods import GPUS_ANNOTATION, NICS_ANNOTATION, SHARED_CARD_ANNOTATION, PodFacts
from wire.orders import JobRef, PodPlace

log = logging.getLogger(__name__)

_REST_S = (1.0, 60.0)  # after a gang that could not be bound: at first, at most


@dataclass(frozen=True, slots=True)
class Placing:
    """`claims` are to be allocated, or joined, before the pod is bound."""

    pod: PodFacts
    assignment: NodeAssignment
    claims: tuple[ClaimGrant, ...] = ()


class Binder:
    """`poke` wakes the scheduler for a job, `changed` tells that there is something to report of it."""

    def __init__(
        self,
        port: ClusterPort,
        ledger: Ledger,
        inventory: Inventory,
        crew: Crew,
        rng: Random,
        clock: Callable[[], datetime],
    ) -> None:
        self._port = port
        self._ledger = ledger
        self._inventory = inventory
        self._crew = crew
        self._rng = rng
        self._clock = clock
        self.claims = ClaimWriter(port, DeviceBook(), rng)  # the agent's, where the cluster has devices to claim
        self._resting: dict[JobRef, tuple[Backoff, bool]] = {}
        self.poke: Callable[[str], None] = lambda job: None
        self.changed: Callable[[str], None] = lambda job: None

    def bind(self, job: Job, placings: Sequence[Placing], *, together: bool) -> None:
        """The pods are assumed in the inventory already; they are taken out of it again where they are not bound."""
        if placings:
            self._crew.spawn(self._bind(job, placings, together and len(placings) > 1), f"binding {job.ref}")

    def roll_back(self, job: Job, reason: str, bound: Sequence[PodFacts]) -> None:
        """Deletes the pods of a gang that cannot become whole, so that it may start over whole."""
        self._rest(job.ref)
        self._crew.spawn(self._roll_back(job, bound, reason), f"rolling back {job.ref}")

    def is_resting(self, ref: JobRef) -> bool:
        return ref in self._resting and self._resting[ref][1]

    def forget(self, ref: JobRef) -> None:
        self._resting.pop(ref, None)

    async def _bind(self, job: Job, placings: Sequence[Placing], gang: bool) -> None:
        try:
            await self._allocate_and_bind(job, placings, gang)
        except LedgerUnusable:
            raise
        except Exception:  # of a kind that nobody foresaw: pods and devices must not count as being given for ever
            try:
                await asyncio.gather(*(self.claims.take_back(each.pod, each.claims) for each in placings))
            finally:
                if job.runs:
                    self._rest(job.ref)
                self._give_up(job, placings)
            raise

    async def _allocate_and_bind(self, job: Job, placings: Sequence[Placing], gang: bool) -> None:
        if gang and not await self._ledger.save_assignment(job.ref, [_place(p.assignment) for p in placings]):
            self._give_up(job, placings)
            return
        if not gang:
            await self._ledger.mark_created(job.ref)  # as an assignment says too: what runs from now on was made
        if problem := await self._allocate(job, placings):
            await self._failed(job, placings, {placing.pod.uid: problem for placing in placings})
            return
        answers = await asyncio.gather(*(self._bind_pod(job, placing) for placing in placings))
        failures = {placing.pod.uid: answer for placing, answer in zip(placings, answers, strict=True) if answer}
        if failures:
            failed = [placing for placing in placings if placing.pod.uid in failures]
            await asyncio.gather(*(self.claims.take_back(each.pod, each.claims) for each in failed))
            await self._failed(job, placings, failures)
            return
        if gang:
            await self._ledger.mark_bound(job.ref)
        job.whole = True
        job.whole_parts |= {gangs.part_of(job, placing.pod) for placing in placings}
        self._resting.pop(job.ref, None)
        if job.problem:
            job.problem = ""
            self.changed(job.ref.job)

    async def _allocate(self, job: Job, placings: Sequence[Placing]) -> str:
        """Answers what made it fail for good, or ""; then no claim is allocated."""

        def asked(placing: Placing) -> Writing:
            wanted = lambda: job.runs and placing.pod.uid in job.pods  # noqa: E731
            return Writing(placing.pod, placing.assignment.node, placing.claims, wanted)

        return await self.claims.all_or_none([asked(placing) for placing in placings if placing.claims])

    async def _bind_pod(self, job: Job, placing: Placing) -> str:
        """Answers what made it fail for good, or ""."""
        pod, assignment = placing.pod, placing.assignment
        known = self._inventory.usage_of(pod.uid)
        nics = known[1].nics if known is not None else ()
        annotations = _annotations(pod, assignment.gpus, nics, self._clock())
        binding = PodBinding(pod.namespace, pod.name, pod.uid, assignment.node, annotations)
        backoff = Backoff(self._rng)
        while True:
            if not job.runs or pod.uid not in job.pods:
                return "it is not to run any more"
            try:
                await self._port.bind(binding)
            except Unavailable as error:
                self._say(job, f"binding pod {pod.name}: {error}")
                await backoff.wait()
            except ClusterError as error:
                return str(error)
            else:
                return ""

    async def _failed(self, job: Job, placings: Sequence[Placing], failures: Mapping[str, str]) -> None:
        failed = [placing for placing in placings if placing.pod.uid in failures]
        reason = f"pod {failed[0].pod.name}: {failures[failed[0].pod.uid]}"
        log.warning("%s could not be bound: %s", job.ref, reason)
        if job.runs:
            self._rest(job.ref)
        self._give_up(job, failed)
        if not job.runs:
            return  # what was bound goes with the job
        bound = {placing.pod.uid: placing.pod for placing in placings if placing.pod.uid not in failures}
        bound |= {pod.uid: pod for pod in job.pods.values() if pod.alive}
        if partial := gangs.partial(job, bound.values()):
            await self._roll_back(job, partial, reason)
        else:
            self._say(job, f"could not be bound: {reason}")

    async def _roll_back(self, job: Job, bound: Sequence[PodFacts], reason: str) -> None:
        self._say(job, f"binding the gang failed and is begun anew: {reason}")
        await asyncio.gather(*(self._delete(pod) for pod in bound))

    async def _delete(self, pod: PodFacts) -> None:
        backoff = Backoff(self._rng)
        while True:
            try:
                await self._port.delete(ObjectKey("v1", "Pod", pod.namespace, pod.name), uid=pod.uid, grace_s=1)
            except Unavailable:
                await backoff.wait()
            else:
                return

    def _give_up(self, job: Job, placings: Sequence[Placing]) -> None:
        for placing in placings:
            self._inventory.unassume(placing.pod.uid)
        self.poke(job.ref.job)

    def _rest(self, ref: JobRef) -> None:
        backoff, _ = self._resting.get(ref, (Backoff(self._rng, first_s=_REST_S[0], most_s=_REST_S[1]), False))
        self._resting[ref] = (backoff, True)
        self._crew.spawn(self._wake_later(ref, backoff), f"the rest of {ref}")

    async def _wake_later(self, ref: JobRef, backoff: Backoff) -> None:
        await backoff.wait()
        if ref in self._resting:
            self._resting[ref] = (backoff, False)
            self.poke(ref.job)

    def _say(self, job: Job, problem: str) -> None:
        if job.problem != problem:
            job.problem = problem
            self.changed(job.ref.job)


def _place(assignment: NodeAssignment) -> PodPlace:
    return PodPlace(assignment.pod, assignment.role, assignment.node, assignment.gpus)


def _annotations(
    pod: PodFacts, gpus: tuple[int, ...], nics: tuple[tuple[str, int], ...], now: datetime
) -> Mapping[str, str]:
    beside = {NICS_ANNOTATION: ",".join(f"{resource}={index}" for resource, index in nics)} if nics else {}
    if not gpus:
        return beside
    annotations = beside | {GPUS_ANNOTATION: ",".join(map(str, gpus))}
    for device in pod.devices:
        if device.is_share and device.resource == "aliyun.com/gpu-mem":
            # What the gpushare device plugin wants to find, to hand out this card and not any.
            annotations[SHARED_CARD_ANNOTATION] = str(gpus[0])
            annotations["ALIYUN_COM_GPU_MEM_POD"] = str(device.amount)
            annotations["ALIYUN_COM_GPU_MEM_ASSIGNED"] = "false"
            annotations["ALIYUN_COM_GPU_MEM_ASSUME_TIME"] = str(int(now.timestamp() * 1e9))
    return annotations
