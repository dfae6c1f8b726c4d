"""What a decision answers. A refusal is a value with its numbers in it, never a bare None.

Every reason has a stable `code` for programs and a `message` for people; the dataclass fields are the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from placement.data import DataMove
from placement.fleet import Reservation
from placement.resources import amount_in_words


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one cluster was left out, or why a job waits. Subclasses carry numbers and word the message."""

    code: ClassVar[str] = "reason"

    @property
    def message(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class ClusterNotReady(Reason):
    code: ClassVar[str] = "cluster-not-ready"
    cluster: str
    health: str

    @property
    def message(self) -> str:
        return f"{self.cluster} is {self.health}"


@dataclass(frozen=True, slots=True)
class Cordoned(Reason):
    code: ClassVar[str] = "cordoned"
    cluster: str

    @property
    def message(self) -> str:
        return f"{self.cluster} is cordoned: it takes no new jobs (muster cluster cordon --off {self.cluster})"


@dataclass(frozen=True, slots=True)
class NotAllowed(Reason):
    """The job's own allow or deny list, or its regions, leave the cluster out."""

    code: ClassVar[str] = "not-allowed"
    cluster: str
    rule: str

    @property
    def message(self) -> str:
        return f"{self.cluster} is left out by the job's {self.rule}"


@dataclass(frozen=True, slots=True)
class PolicyForbids(Reason):
    """The owner of the cluster does not let such a job in, and no room there would help."""

    code: ClassVar[str] = "policy-forbids"
    cluster: str
    path: str  # of the field
    detail: str
    more: int = 0  # other things that it forbids of this job

    @property
    def message(self) -> str:
        more = f" (and {self.more} more)" if self.more else ""
        where = f"{self.path}: " if self.path else ""
        return f"the policy of {self.cluster}'s owner: {where}{self.detail}{more}"


@dataclass(frozen=True, slots=True)
class OverrideRefused(Reason):
    """What admins override on that cluster cannot be applied to this job, or would make another job of it."""

    code: ClassVar[str] = "override-refused"
    cluster: str
    override: str
    field: str
    detail: str
    mend: str

    @property
    def message(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return f"override {self.override} cannot be applied on {self.cluster}: {where}{self.detail} ({self.mend})"


@dataclass(frozen=True, slots=True)
class KindNotServed(Reason):
    code: ClassVar[str] = "kind-not-served"
    cluster: str
    kind: str

    @property
    def message(self) -> str:
        return f"{self.cluster} does not serve {self.kind} (its CRD is not installed there)"


@dataclass(frozen=True, slots=True)
class DeviceMissing(Reason):
    """No node offers the device at all. `known` are the products that the cluster does have."""

    code: ClassVar[str] = "device-missing"
    cluster: str
    resource: str
    products: tuple[str, ...]
    known: tuple[str, ...]

    @property
    def message(self) -> str:
        wanted = f"{self.resource} {' or '.join(self.products)}".strip()
        return f"{self.cluster} has no {wanted}; it has {', '.join(self.known) or 'no devices'}"


@dataclass(frozen=True, slots=True)
class ConstraintUnmet(Reason):
    """No node meets the role's selectors, affinity and tolerations. `detail` names what stopped most nodes."""

    code: ClassVar[str] = "constraint-unmet"
    cluster: str
    role: str
    detail: str

    @property
    def message(self) -> str:
        return f"no node of {self.cluster} may run role {self.role}: {self.detail}"


@dataclass(frozen=True, slots=True)
class ResourcesShort(Reason):
    """Free capacity does not hold the gang. Amounts in the resource's unit."""

    code: ClassVar[str] = "resources-short"
    cluster: str
    resource: str
    need: int
    free: int  # on nodes that the gang may use
    pods_fit: int
    pods_need: int
    ever: bool  # whether it would fit on the cluster when empty

    @property
    def message(self) -> str:
        tail = "" if self.ever else f"; even empty, {self.cluster} could not hold it"
        return (
            f"{self.cluster} has room for {self.pods_fit} of {self.pods_need} pods "
            f"({self.resource}: needs {amount_in_words(self.resource, self.need)}, "
            f"{amount_in_words(self.resource, self.free)} free on matching nodes){tail}"
        )


@dataclass(frozen=True, slots=True)
class TopologyShort(Reason):
    """Enough in sum, not in one domain of the required level.

    `role` is the one that finds no place where only some of several roles are meant. With `slice_size`, slices are
    counted and not pods: groups of so many pods, each in one domain of `slice_level`. `wanted_until`: the level is only
    preferred, and until then it is waited for.
    """

    code: ClassVar[str] = "topology-short"
    cluster: str
    level: str
    pods_need: int
    pods_fit_largest: int
    free_gpus: int  # on matching nodes of the whole cluster
    need_gpus: int
    ever: bool
    role: str = ""
    slice_size: int = 0
    slice_level: str = ""
    wanted_until: str = ""  # "2026-01-01 14:05 UTC"

    @property
    def message(self) -> str:
        wanted = f"{self.level} wanted until {self.wanted_until}: " if self.wanted_until else ""
        where = f"largest {self.level} of {self.cluster} fits" if self.level != "cluster" else f"{self.cluster} fits"
        tail = "" if self.ever else f"; even empty, no {self.level} could hold it"
        return (
            f"{wanted}{where} {self.pods_fit_largest} of {self.pods_need} {self._counted} "
            f"({self.free_gpus} GPUs free in all, {self.need_gpus} needed){tail}"
        )

    @property
    def _counted(self) -> str:
        of_role = f" of role {self.role}" if self.role else ""
        if not self.slice_size:
            return f"pods{of_role}"
        pods = "1 pod" if self.slice_size == 1 else f"{self.slice_size} pods"
        return f"slices of {pods}{of_role} in one {self.slice_level} domain each"


@dataclass(frozen=True, slots=True)
class LevelUnknown(Reason):
    code: ClassVar[str] = "level-unknown"
    cluster: str
    level: str
    known: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"{self.cluster} has no topology level {self.level!r}; it has {', '.join(self.known)}"


@dataclass(frozen=True, slots=True)
class MustNotLeave(Reason):
    """Residency: no score outbids it."""

    code: ClassVar[str] = "must-not-leave"
    cluster: str
    dataset: str
    residency: tuple[str, ...]
    region: str  # the cluster's

    @property
    def message(self) -> str:
        return (
            f"{self.cluster} is in {self.region or 'no region'}, and dataset {self.dataset} "
            f"must not leave {' or '.join(self.residency)}"
        )


@dataclass(frozen=True, slots=True)
class DatasetUnknown(Reason):
    code: ClassVar[str] = "dataset-unknown"
    dataset: str

    @property
    def message(self) -> str:
        return f"nobody declared a dataset {self.dataset!r} (muster dataset list shows them)"


@dataclass(frozen=True, slots=True)
class DatasetNowhere(Reason):
    code: ClassVar[str] = "dataset-nowhere"
    dataset: str

    @property
    def message(self) -> str:
        return f"dataset {self.dataset} has no replica to read or to copy from (muster dataset show {self.dataset})"


@dataclass(frozen=True, slots=True)
class DatasetOutOfReach(Reason):
    """It lies in claims alone: only pods beside them can read it, and nobody can copy it from there."""

    code: ClassVar[str] = "dataset-out-of-reach"
    cluster: str
    dataset: str
    holders: tuple[str, ...]  # clusters

    @property
    def message(self) -> str:
        return (
            f"dataset {self.dataset} lies in a claim of {' and of '.join(self.holders)} alone, "
            f"which pods of this job on {self.cluster} cannot mount (a replica in an object store could be copied)"
        )


@dataclass(frozen=True, slots=True)
class RefusedBySpoke(Reason):
    code: ClassVar[str] = "refused-by-spoke"
    cluster: str
    detail: str

    @property
    def message(self) -> str:
        return f"the spoke of {self.cluster} refused it: {self.detail}"


@dataclass(frozen=True, slots=True)
class ObjectsMissing(Reason):
    """What the job names and does not bring is not there: its pods would wait for it."""

    code: ClassVar[str] = "no-such-object"
    cluster: str
    objects: tuple[str, ...]  # "Secret team-a/token"

    @property
    def message(self) -> str:
        more = f" and {len(self.objects) - _NAMED} more" if len(self.objects) > _NAMED else ""
        return (
            f"{self.cluster} has no {', '.join(self.objects[:_NAMED])}{more}, which the job names: make it there, "
            f"put it into the job's file, or write optional: true"
        )


@dataclass(frozen=True, slots=True)
class NoClusters(Reason):
    code: ClassVar[str] = "no-clusters"

    @property
    def message(self) -> str:
        return "no cluster has joined this hub yet (muster cluster token NAME)"


@dataclass(frozen=True, slots=True)
class Score:
    """What running the job there is worth in one currency; lower is better. Each term is named."""

    terms: Mapping[str, float]  # USD

    @property
    def total_usd(self) -> float:
        return sum(self.terms.values())


@dataclass(frozen=True, slots=True)
class Candidate:
    """One cluster's part of a decision: feasible with a score, or not with reasons.

    `at_least`: nobody looked for room there, because the least that it costs there (`score`) is more than what was
    chosen costs.
    """

    cluster: str
    reasons: tuple[Reason, ...] = ()
    score: Score | None = None
    domain: str = ""  # "rack r1": where the gang would go, as far as the summary tells
    at_least: bool = False
    moves: tuple[DataMove, ...] = ()  # data that would have to be copied there first
    without: tuple[str, ...] = ()  # what travels along elsewhere, and is of a kind that this cluster does not serve

    @property
    def feasible(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Placed:
    reservation: Reservation
    score: Score
    moves: tuple[DataMove, ...] = ()  # before it starts

    @property
    def cluster(self) -> str:
        return self.reservation.cluster


@dataclass(frozen=True, slots=True)
class ExpectedStart:
    """A reserved start: room on that cluster is kept for the job from then on."""

    cluster: str
    at: datetime
    after: tuple[str, ...]  # the last jobs that are expected to end until then

    @property
    def message(self) -> str:
        return (
            f"expected to start on {self.cluster} at {self.at:%F %H:%M} UTC, "
            f"when {', '.join(self.after)} {'has' if len(self.after) == 1 else 'have'} ended"
        )


@dataclass(frozen=True, slots=True)
class RoomMade:
    """Room that is being emptied for the job on one cluster, and kept for it until it is placed."""

    cluster: str
    at: datetime  # when the last of them has had its grace
    victims: tuple[str, ...] = ()  # jobs that still have to leave; none: they left, and the cluster will say so
    lost_gpu_hours: float = 0.0  # of those that are evicted by this decision
    usd: float = 0.0
    shrinking: tuple[str, ...] = ()  # jobs that are being made smaller

    @property
    def message(self) -> str:
        if not self.victims and not self.shrinking:
            return f"room was made on {self.cluster}; waits for its next report"
        parts = []
        if self.victims:
            parts.append(f"{_jobs(self.victims)} to be evicted from {self.cluster} ({_names(self.victims)})")
        if self.shrinking:
            parts.append(f"{_jobs(self.shrinking)} to become smaller on {self.cluster} ({_names(self.shrinking)})")
        return "waits for " + " and ".join(parts)


def _jobs(names: tuple[str, ...]) -> str:
    return f"{len(names)} job{'' if len(names) == 1 else 's'}"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")


_NAMED = 8


@dataclass(frozen=True, slots=True)
class Waiting:
    reasons: tuple[Reason, ...]
    start: ExpectedStart | None = None  # only where room is kept for it
    room: RoomMade | None = None  # only where room is being made for it
    look_again: datetime | None = None  # when time alone may let it have others evicted


@dataclass(frozen=True, slots=True)
class Rejected:
    reasons: tuple[Reason, ...]


Verdict = Placed | Waiting | Rejected


@dataclass(frozen=True, slots=True)
class Decision:
    job: str
    epoch: int
    verdict: Verdict
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Eviction:
    """A running attempt that is to stop, so that `for_job` can start there. It is queued again with its next epoch."""

    job: str
    epoch: int
    cluster: str
    for_job: str
    grace_s: float
    lost_gpu_hours: float  # since its last checkpoint, or since it began
    usd: float  # that work again, and its restart
    reason: str  # for people: by which right, and what is lost


@dataclass(frozen=True, slots=True)
class Shrink:
    """A running attempt that is to go on with fewer pods, so that `for_job` can start there."""

    job: str
    epoch: int
    cluster: str
    for_job: str
    pods: Mapping[str, int]  # of each role, then
    reason: str  # for people


@dataclass(frozen=True, slots=True)
class Plan:
    decisions: tuple[Decision, ...]
    evictions: tuple[Eviction, ...] = ()
    shrinks: tuple[Shrink, ...] = ()
