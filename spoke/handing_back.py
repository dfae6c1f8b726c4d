"""Hands a job back to the hub when the cluster has taken its pods (see `interruption`) or its room (see `stuck`).

In this order: the ledger, so that it is done to its end whatever happens to this spoke; a word to the hub, so that the
job never just stays "starting"; then `apply` removes what is left of it and says so. Nothing here waits for the hub.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from placement.lifecycle import Event
from spoke import interruption
from spoke.cluster.port import ClusterError, ClusterPort, ObjectKey
from spoke.crew import Crew
from spoke.entry import Desired
from spoke.interruption import Interruption, WhyLost, WhySick
from spoke.jobs import Assessment, Job, Jobs
from spoke.ledger import Ledger
from spoke.pods import PodFacts
from spoke.stalls import Stall
from spoke.status import Reporter

log = logging.getLogger(__name__)


class HandingBack:
    """`handed_back` is told the id of a job that is to go."""

    def __init__(
        self, port: ClusterPort, ledger: Ledger, jobs: Jobs, reporter: Reporter, crew: Crew, why_lost: WhyLost
    ) -> None:
        self._port = port
        self._ledger = ledger
        self._jobs = jobs
        self._reporter = reporter
        self._crew = crew
        self._why_lost = why_lost
        self.why_sick: WhySick = lambda pod: ""
        self._replacing: set[str] = set()  # uids of pods
        self.handed_back: Callable[[str], None] = lambda job: None

    def look(self, job: Job) -> None:
        """Its pods changed. From here on the job does not run, and what its status says of failing counts no more."""
        if found := interruption.of(job, self._why_lost, self.why_sick):
            self._begin(job, found)

    def without_room(self, job: Job) -> None:
        """It was accepted, and others were quicker: the hub asks again once it hears of room here."""
        if job.runs:
            self._begin(job, Interruption(Event.REFUSE, f"its room was taken: {job.shortfall}", None))

    def without_data(self, job: Job, why: str) -> None:
        """What it reads cannot be brought here, or what it needs is not here: the hub looks for another place."""
        if job.runs:
            self._begin(job, Interruption(Event.REFUSE, why, None))

    def stalled(self, job: Job, stall: Stall) -> None:
        """It stands still, and asks to be started anew then."""
        if job.runs:
            self._begin(job, Interruption(Event.INTERRUPTED, f"{stall.words}; the job is restarted whole", None))

    def _begin(self, job: Job, found: Interruption) -> None:
        job.hand_back, job.hand_back_reason = found.event, found.reason
        self._crew.spawn(self._hand_back(job, found), f"handing back {job.ref}")

    def look_at_all(self) -> None:
        """Nodes changed."""
        for job in list(self._jobs):
            self.look(job)
            for pod in interruption.to_replace(job, self._why_lost, self.why_sick):
                if pod.uid not in self._replacing:
                    self._replacing.add(pod.uid)
                    self._crew.spawn(self._replace(job, pod), f"replacing pod {pod.name}")

    async def _hand_back(self, job: Job, found: Interruption) -> None:
        if not await self._ledger.hand_back(job.ref, found.event, found.reason, found.grace_s):
            job.hand_back, job.hand_back_reason = None, ""  # told to stop meanwhile: then that is what it does
            self.handed_back(job.ref.job)
            return
        log.warning("%s is handed back: %s", job.ref, found.reason)
        job.desired = Desired.STOP
        await self._reporter.tell(job, Assessment(Event.STARTING, found.reason, job.role_counts(), job.places()))
        self.handed_back(job.ref.job)

    async def _replace(self, job: Job, pod: PodFacts) -> None:
        """Its kubelet ends nothing; the object stays until the node is back or gone, and nobody waits for it."""
        why = self._why_lost(pod.node)
        why = f"node {pod.node} is lost ({why})" if why else self.why_sick(pod)
        log.warning("%s: pod %s is replaced: %s", job.ref, pod.name, why)
        try:
            await self._port.delete(ObjectKey("v1", "Pod", pod.namespace, pod.name), uid=pod.uid)
        except ClusterError as error:
            log.warning("%s: pod %s could not be deleted: %s", job.ref, pod.name, error)  # the next look tries again
        finally:
            self._replacing.discard(pod.uid)
