"""The REST API's vocabulary: what goes over the wire in JSON, as strict pydantic models.

Shared by the server and `hub.client`, so that both sides read one description. What the hub takes in refuses unknown
fields; what it sends may grow, so the client passes `extra="ignore"` where it reads an answer.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel

from placement import sizes
from placement.lifecycle import Phase
from placement.workload import DivideBy, TopologyMode

API_PREFIX = "/v1"
MAX_MANIFEST_BYTES = 1 << 20
MAX_BULK_BYTES = 16 << 20
NOT_LEADING = "not-leading"  # the code of a hub's errors until it leads: to be asked again
OWN_KEY = "auto-"  # begins the idempotency keys that the client makes where none is given

Namespace = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Name = Annotated[str, Field(max_length=253)]  # what it may consist of is the services' to say
_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


def _number(value: object) -> object:
    """YAML 1.1 takes `1e-6` for a text, which JSON writes for a number."""
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


Number = Annotated[float, BeforeValidator(_number)]
Usd = Annotated[Number, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


# --- errors ---------------------------------------------------------------------------------------------------------


class ProblemOut(Wire):
    """One thing that is wrong with what was sent. `document` counts from 1 within a file; 0 is the file as a
    whole, and what is no manifest."""

    document: int = 0
    path: str
    message: str
    mend: str = ""


class ErrorOut(Wire):
    code: str
    message: str
    mend: str = ""
    problems: list[ProblemOut] = []
    id: str | None = Field(default=None, description="Of an internal error: what to look for in the hub's log.")


class ErrorBody(Wire):
    error: ErrorOut


# --- workloads and plans --------------------------------------------------------------------------------------------


class TopologyOut(Wire):
    level: str = Field(description="A level's name, the label of its nodes, or tier-1, tier-2 …")
    mode: TopologyMode


class SlicesOut(Wire):
    """Groups of `size` consecutive pods, each in one domain of `level`."""

    size: int
    level: str


class SizesOut(Wire):
    """How many pods it may have, where that may be chosen for it."""

    least: int
    most: int
    running: bool = Field(description="Also while it runs; otherwise only when it is started.")


class RoleOut(Wire):
    name: str
    replicas: int
    min: int
    gpus_per_pod: int
    device_class: str | None = Field(description="Product asked for, else the resource; null for CPU only.")
    topology: TopologyOut | None = None
    slices: SlicesOut | None = None
    sizes: SizesOut | None = None


class GangOut(Wire):
    min_pods: int = Field(description="Of all gangs together; where roles follow one another, the most at one time.")
    groups: int = Field(default=1, description="Gangs that are alike; each starts for itself.")
    awaited: int | None = Field(default=None, description="The pods that begin first, where others come later.")
    topology: TopologyOut | None = None


class WorkloadOut(Wire):
    kind: str
    name: str
    namespace: str
    roles: list[RoleOut]
    gang: GangOut
    total_gpus: int
    expected_hours: float = Field(default=1.0, description="What costs are told for.")
    long_running: bool = False


class ReasonOut(Wire):
    code: str
    message: str


class ScoreOut(Wire):
    total_usd: float
    terms: dict[str, float] = Field(description="USD by name; the smallest sum wins.")


class DataMoveOut(Wire):
    """What has to be copied there first; without a place, what the job reads from afar."""

    dataset: str
    size: int = Field(description="Bytes.")
    source: str = Field(description="The region or cluster that it comes from.")
    usd: float
    hours: float
    place: str = Field(description="pvc://namespace/claim in that cluster, or nothing.")
    left_behind: bool = Field(default=False, description="A checkpoint in a claim: there the job begins again.")


class CandidateOut(Wire):
    cluster: str
    feasible: bool
    reasons: list[ReasonOut]
    score: ScoreOut | None
    domain: str = Field(default="", description="Where in the cluster the gang would go: `rack r1`.")
    usd_per_hour: float | None = Field(default=None, description="Of the score, what is paid for GPUs and cores.")
    spot: bool = Field(default=False, description="That price is for spot capacity.")
    own: bool = Field(default=False, description="That price is computed from what own cards cost.")
    expected_hours: float | None = Field(default=None, description="With those that interruptions of spot add.")
    at_least: bool = Field(
        default=False,
        description="Nobody looked for room there: the least that it costs there is more than what was chosen costs.",
    )
    moves: list[DataMoveOut] = []
    overrides: list[str] = Field(default=[], description="Those that are applied there, in their order.")
    without: list[str] = Field(
        default=[], description="What travels along elsewhere, and is of a kind that this cluster does not serve."
    )


PlanVerdict = Literal["placed", "waiting", "rejected"]


class StartOut(Wire):
    """Room is kept for the job on that cluster from then on."""

    cluster: str
    at: datetime
    after: list[str] = Field(description="The last jobs that are expected to end until then.")
    message: str


class RoomOut(Wire):
    """Room is being emptied for the job on that cluster, and kept for it."""

    cluster: str
    at: datetime = Field(description="When the last of them has had its grace.")
    victims: list[str] = Field(description="Jobs that still have to leave.")
    lost_gpu_hours: float = 0.0
    usd: float = 0.0
    message: str


class NotForItOut(Wire):
    gpus: int
    why: str


class GpuUseOut(Wire):
    """Of one cluster's GPUs: how many are free, and how many of those pods of the job could have."""

    cluster: str
    total: int
    free: int
    usable: int
    rest: list[NotForItOut]


class EtaOut(Wire):
    at: datetime | None = Field(description="Null where only the occasion is known.")
    cluster: str
    basis: str
    reserved: bool = Field(description="Whether room is kept for it.")


class OutlookOut(Wire):
    gpus: list[GpuUseOut]
    eta: EtaOut | None
    mends: list[str] = Field(description="What would let it start now; each was tried out.")
    preemption: str = Field(description="Why nobody is evicted for it.")
    place: int = Field(description="In its queue, from 1; 0 where it does not wait.")
    ahead: list[str] = Field(description="The first of those before it.")


class ShareOut(Wire):
    """What one cluster would get of a work that is to be divided."""

    cluster: str
    region: str
    replicas: int
    room: int = Field(description="Replicas that it could hold.")
    usd_per_hour: float = Field(description="Of one replica.")
    reason: ReasonOut | None = Field(default=None, description="Why it has no more room.")


class PlannedDivisionOut(Wire):
    by: DivideBy
    wanted: int
    shares: list[ShareOut]
    reasons: list[ReasonOut]


class PlanOut(Wire):
    workload: WorkloadOut
    verdict: PlanVerdict
    chosen: str | None
    candidates: list[CandidateOut]
    reasons: list[ReasonOut] = []
    warnings: list[str] = []
    domain: str = ""
    start: StartOut | None = None
    room: RoomOut | None = None
    outlook: OutlookOut | None = None
    division: PlannedDivisionOut | None = None
    starts_with: dict[str, int] | None = Field(
        default=None, description="Pods by role, where there is room for fewer than it asks for."
    )


class ManifestOut(Wire):
    """What would be applied on a cluster if a workload went there."""

    workload: str
    kind: str
    cluster: str
    would_go_there: bool = Field(description="Now, by the plan.")
    overrides: list[str]
    objects: list[dict[str, Any]] = Field(description="In the order in which they are applied.")


class ManifestListOut(Wire):
    manifests: list[ManifestOut]


class PlanList(RootModel[list[PlanOut]]):
    """The answer for a file that holds several workloads."""


# --- jobs -----------------------------------------------------------------------------------------------------------


class BulkIn(Wire):
    manifests: list[str] = Field(min_length=1, max_length=10_000)


class TallyOut(Wire):
    done: int
    of: int | None = Field(description="Null where there is no limit, or none is known.")


class RoleCountOut(Wire):
    role: str
    ready: int
    succeeded: int
    failed: int
    total: int


class PodOut(Wire):
    pod: str
    role: str
    node: str
    gpus: list[int]


class PartOut(Wire):
    """A part of a divided work: a job of its own in one cluster."""

    job: str = Field(description="Its id: what `logs` and `explain` take.")
    cluster: str
    region: str
    replicas: int
    ready: int
    phase: Phase
    reason: str
    usd_per_hour: float | None
    away: bool = Field(description="Its cluster is lost: its replicas lie elsewhere now, and these do not count.")


class DivisionOut(Wire):
    """How a work's replicas are divided over clusters."""

    by: DivideBy
    replicas: int = Field(description="What is asked for.")
    wanted: int = Field(description="What the shares were to sum up to: more, where every cluster has all of them.")
    shares: dict[str, int]
    reasons: list[ReasonOut] = Field(description="What the wish could not have.")
    left_out: dict[str, str] = Field(description="Clusters that refused or failed a part, and why.")
    changed_at: datetime | None
    parts: list[PartOut]


class JobOut(Wire):
    id: str
    tenant: str
    owner: str
    name: str
    namespace: str
    kind: str
    queue: str
    priority: int
    phase: Phase
    reason: str
    epoch: int
    cluster: str | None
    total_gpus: int
    min_pods: int
    long_running: bool
    roles: list[RoleCountOut]
    spot: bool
    usd_per_hour: float | None
    submitted_at: datetime
    placed_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    client_key: str | None
    checkpoint_at: datetime | None = Field(default=None, description="Of the present attempt, as the job told.")
    stalled_since: datetime | None = Field(
        default=None, description="While it shows no progress for the time that it names in muster.dev/stalled-after."
    )
    whole: str | None = Field(default=None, description="Of a part: the divided work; of that work: its own id.")
    shares: dict[str, int] | None = Field(default=None, description="Of a divided work: how many replicas where.")
    progress: TallyOut | None = Field(
        default=None, description="How much of its work is done, where its kind tells it."
    )
    retries: TallyOut | None = Field(default=None, description="How many it has used, where its kind tells it.")


class JobDetailOut(JobOut):
    workload: WorkloadOut
    pods: list[PodOut]
    warnings: list[str]
    division: DivisionOut | None = None


class EndpointOut(Wire):
    """Where a job can be reached in one cluster."""

    cluster: str
    region: str
    job: str = Field(description="The job there: of a divided work, the part.")
    kind: str = Field(description="Service, Ingress, or the workload's own kind where it tells an address itself.")
    name: str
    namespace: str
    type: str = Field(default="", description="Of a Service: ClusterIP, NodePort, LoadBalancer …")
    addresses: list[str] = Field(description="From outside of the cluster; none: it is reached within it alone.")
    ports: list[str] = Field(description="`http 80/TCP`, `80:30080/TCP` with the port of every node.")


class EndpointsOut(Wire):
    endpoints: list[EndpointOut]
    notes: list[str] = Field(default=[], description="What could not be asked, and why.")


class SubmittedOut(Wire):
    job: JobOut
    created: bool = Field(description="False where the key was seen before: the job of that earlier submit.")
    warnings: list[str] = []


class CronRunOut(Wire):
    job: str
    name: str
    scheduled_at: datetime | None = Field(description="The moment of the calendar; null: started by hand.")
    started_at: datetime
    phase: Phase
    cluster: str | None
    finished_at: datetime | None


class CronOut(Wire):
    id: str
    name: str
    namespace: str
    tenant: str
    owner: str
    schedule: str
    time_zone: str
    concurrency: str
    starting_deadline_s: float | None
    suspended: bool
    next_at: datetime | None = Field(description="Null where it is suspended, or never comes.")
    note: str = Field(description="What became of a run that was not started; or empty.")
    created_at: datetime
    running: list[str] = Field(description="The jobs of runs that have not ended.")
    runs: list[CronRunOut] = Field(description="The newest first; of those that ended as many as the history keeps.")


class CronListOut(Wire):
    crons: list[CronOut]


class CronDeletedOut(Wire):
    cancelled: list[str] = Field(description="Jobs of runs that had not ended.")


class CronMadeOut(Wire):
    cron: CronOut
    created: bool = Field(description="False: one of that name was there, and is changed.")


class SubmitOut(Wire):
    jobs: list[SubmittedOut]
    crons: list[CronMadeOut] = Field(default=[], description="CronJobs: their runs are jobs as they become due.")
    plan: list[PlanOut] | None = Field(default=None, description="Of a dry run: what would become of each.")


class JobPageOut(Wire):
    jobs: list[JobOut]
    next_cursor: str | None
    total: int
    as_of: int = Field(description="The newest event when this was read: follow /v1/events after it, and miss none.")


class EventOut(Wire):
    seq: int
    job: str
    tenant: str
    epoch: int
    phase: Phase
    event: str
    message: str
    at: datetime


class DecisionOut(Wire):
    epoch: int
    verdict: PlanVerdict
    chosen: str | None
    reasons: list[ReasonOut]
    candidates: list[CandidateOut]
    start: StartOut | None = None
    room: RoomOut | None = None


class ExplanationOut(Wire):
    job: JobDetailOut
    decision: DecisionOut | None
    history: list[EventOut]
    outlook: OutlookOut | None = None


class LogLineOut(Wire):
    pod: str
    data: str
    position: str = Field(default="", description="Of the pod's log after these lines: what `after` takes.")
    end: bool = Field(default=False, description="The log has ended here, and was not cut off. Only where resumable.")


class HappeningOut(Wire):
    at: datetime = Field(description="When it was last seen.")
    first_at: datetime
    count: int
    source: str = Field(description='"muster", or the component of the cluster that says it.')
    warning: bool
    reason: str
    message: str
    object: str = Field(description='"Pod train-0"; of Muster\'s own the phase that the job is in then.')
    id: str = Field(description="The same for what is said again with another count.")


class AccessOut(Wire):
    seq: int
    at: datetime
    user: str
    tenant: str
    action: str
    job: str
    cluster: str
    detail: str


class AuditOut(Wire):
    accesses: list[AccessOut]


# --- clusters -------------------------------------------------------------------------------------------------------


class ClusterOut(Wire):
    name: str
    region: str
    labels: dict[str, str]
    health: str
    cordoned: bool
    last_seen: datetime | None
    agent_version: str
    gpus_total: int
    gpus_free: int
    nodes: int
    products: dict[str, int]
    jobs: int
    gpus_unusable: int = Field(default=0, description="Unfit or missing GPUs: neither in gpus_total nor in gpus_free.")
    why_unusable: list[str] = Field(default=[], description="Node by node, for people.")
    certificate_expires_at: datetime | None


class ClusterListOut(Wire):
    clusters: list[ClusterOut]


class ClusterLabelsIn(Wire):
    labels: Annotated[dict[str, str | None], Field(min_length=1, max_length=100)]


class DrainedOut(Wire):
    cluster: str
    evicted: int


class ClusterTokenIn(Wire):
    name: Name
    region: Annotated[str, Field(max_length=63)] = ""
    labels: dict[str, str] = {}


class ClusterTokenOut(Wire):
    cluster: str
    token: str = Field(description="Shown once; for one join of this cluster.")


class JoinIn(Wire):
    token: Annotated[str, Field(min_length=1, max_length=512)]
    csr_pem: Annotated[str, Field(min_length=1, max_length=16_384)]


class JoinOut(Wire):
    cluster: str
    certificate_pem: str
    ca_pem: str
    grpc_address: str = Field(description="HOST:PORT to dial from now on.")


# --- people, prices, the hub itself ---------------------------------------------------------------------------------

RoleName = Literal["admin", "submitter", "viewer"]


class UserIn(Wire):
    name: Name
    tenant: Name = "default"
    role: RoleName = "submitter"


class UserOut(Wire):
    name: str
    tenant: str
    role: str


class UserListOut(Wire):
    users: list[UserOut]


class UserTokenOut(UserOut):
    token: str = Field(description="Shown once; the hub keeps only its hash.")


class WhoamiOut(Wire):
    user: str
    tenant: str
    role: str


Rate = Annotated[Number, Field(ge=0, le=3_600, allow_inf_nan=False)]
Watts = Annotated[Number, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Region = Annotated[str, Field(min_length=1, max_length=63)]
ClusterRef = Annotated[str, Field(min_length=1, max_length=63)]


class AmortisedDoc(Wire):
    """A card of one's own, with its share of the machine: what a used hour of it costs is computed from this."""

    usd_per_card: Annotated[Number, Field(gt=0, le=10_000_000, allow_inf_nan=False)]
    years: Annotated[Number, Field(gt=0, le=50, allow_inf_nan=False)]
    utilisation: Annotated[Number, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        description="The part of all hours in which somebody uses it."
    )
    watts: Watts = 0.0
    idle_watts: Watts = 0.0
    usd_per_kwh: Annotated[Number, Field(ge=0, le=100, allow_inf_nan=False)] = 0.0
    pue: Annotated[Number, Field(ge=1, le=10, allow_inf_nan=False)] = 1.0
    usd_per_card_year: Usd = Field(default=0.0, description="Space, support, people.")
    residual_usd: Usd = Field(default=0.0, description="What it is sold for in the end.")


class PriceEntry(Wire):
    cluster: ClusterRef
    product: Annotated[str, Field(min_length=1, max_length=253)] = "*"
    on_demand: Usd | None = Field(default=None, description="USD per GPU-hour; or amortised.")
    amortised: AmortisedDoc | None = None
    spot: Usd | None = None
    spot_interruptions_per_hour: Rate = 0.0


class DefaultPrice(Wire):
    on_demand: Usd
    spot: Usd | None = None
    spot_interruptions_per_hour: Rate = 0.0


class RouteDoc(Wire):
    usd_per_gb: Annotated[Number, Field(ge=0, le=1_000, allow_inf_nan=False)] = Field(
        description="A gigabyte is 10^9 bytes."
    )
    gbit_per_s: Annotated[Number, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = Field(
        description="What one move gets."
    )


class RouteEntry(RouteDoc):
    source: Region = Field(description="A region, or * for every region without an entry of its own.")
    target: Region


class TransfersDoc(Wire):
    """What moving data from region to region costs, and how fast it goes."""

    routes: Annotated[list[RouteEntry], Field(max_length=100_000)] = []
    within: RouteDoc | None = Field(default=None, description="Between clusters of one region.")
    default: RouteDoc | None = Field(default=None, description="Where no route is named.")


class PriceBookDoc(Wire):
    """The price book as a file (YAML or JSON) and as the API shows it."""

    prices: Annotated[list[PriceEntry], Field(max_length=100_000)] = []
    usd_per_cpu_hour: Usd = 0.04
    default: DefaultPrice | None = Field(default=None, description="For a cluster that nobody priced.")
    public: Annotated[list[ClusterRef], Field(max_length=10_000)] = Field(
        default=[], description="Clusters that queues with burst_after_hours use only after that wait."
    )
    transfers: TransfersDoc = TransfersDoc()
    regions: Annotated[list[Region], Field(max_length=10_000)] = Field(
        default=[], description="Regions that routes name and in which there is no cluster."
    )


class PricesSetOut(PriceBookDoc):
    warnings: list[str] = []


# --- queues ---------------------------------------------------------------------------------------------------------

Amount = Annotated[Number, Field(ge=0, le=1e9, allow_inf_nan=False)]
QueueName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Device = Annotated[str, Field(min_length=1, max_length=253)]


class QuotaDoc(Wire):
    nominal: Amount = Field(default=0.0, description="Cards of its own; cores for cpu.")
    borrowing_limit: Amount | None = Field(default=None, description="What it may borrow; null: all there is.")
    lending_limit: Amount | None = Field(default=None, description="What it lends; null: all of its own.")


class BudgetDoc(Wire):
    gpu_hours_per_day: Amount | None = None
    usd_per_day: Amount | None = None
    gpu_hours_per_month: Amount | None = None
    usd_per_month: Amount | None = None


ReachWord = Literal["never", "lower-priority", "any"]


class PreemptionDoc(Wire):
    """Whose jobs may be evicted for one that waits in the queue."""

    within_queue: ReachWord = Field(default="lower-priority", description="Of the same queue; `any` is not possible.")
    reclaim: ReachWord = Field(default="any", description="Those that use what this queue lent.")
    fair_share: ReachWord = Field(
        default="lower-priority", description="Of queues with more than their share, while this one has less."
    )


class QueueSpec(Wire):
    """A queue as people declare it, without its name."""

    cohort: Annotated[str, Field(max_length=63)] = Field(default="", description="The queue that it is a part of.")
    weight: Amount = 1.0
    quotas: Annotated[dict[Device, QuotaDoc], Field(max_length=1000)] = Field(
        default={}, description="By product; * is every GPU that nobody in the tree names, cpu the cores of CPU pods."
    )
    budget: BudgetDoc = BudgetDoc()
    burst_after_hours: Annotated[Number, Field(ge=0, le=8_760, allow_inf_nan=False)] | None = Field(
        default=None, description="How long a job waits before it may go to a public cluster; null: as its cohort says."
    )
    preemption: PreemptionDoc = PreemptionDoc()


class QueueIn(QueueSpec):
    name: QueueName


class QueueUseOut(Wire):
    device: str
    used: float
    may_use: float
    left: float


class QueueOut(QueueSpec):
    name: str
    parts: list[str] = Field(description="Of a cohort, its queues; such a one takes no jobs.")
    waiting: int
    running: int
    uses: list[QueueUseOut]
    gpu_hours_day: float
    usd_day: float
    gpu_hours_month: float
    usd_month: float


class QueueListOut(Wire):
    queues: list[QueueOut]


# --- costs ----------------------------------------------------------------------------------------------------------


class CostOut(Wire):
    """USD, and hours of cards and cores. What was foreseen is told of attempts that succeeded, and what those cost."""

    gpu_hours: float
    cpu_hours: float = Field(description="Cores of pods without devices, times hours.")
    gpu_usd: float
    cpu_usd: float
    egress_usd: float = Field(description="Of data that was moved for them.")
    usd: float = Field(description="The sum of the three.")
    lost_usd: float = Field(description="Of that: in attempts that failed or were taken from where they ran.")
    foreseen_usd: float
    foreseen_real_usd: float
    attempts: int = Field(description="That ended.")
    running: int


class CostLineOut(CostOut):
    key: str
    name: str = ""


class CostReportOut(Wire):
    by: str
    since: date
    until: date = Field(description="The last day, which is in it.")
    as_of: datetime = Field(description="Running attempts are counted up to then.")
    lines: list[CostLineOut]
    more: int = Field(description="How many lines were left out.")
    more_cost: CostOut
    forgotten: CostOut = Field(description="By job: of jobs that are no longer known one by one.")
    total: CostOut


# --- datasets -------------------------------------------------------------------------------------------------------

DatasetName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$")]
Size = Annotated[int, BeforeValidator(sizes.parse)]


class ReplicaDoc(Wire):
    """In a cluster's own storage, or in an object store of a region: one of the two."""

    cluster: Annotated[str, Field(max_length=253)] = ""
    region: Annotated[str, Field(max_length=63)] = ""
    uri: Annotated[str, Field(max_length=2048)] = Field(
        default="", description="s3://bucket/prefix, gs://…, az://…, https://…, file:///…; pvc://namespace/claim."
    )


class DatasetSpec(Wire):
    """A dataset as people declare it, without its name."""

    size: Size = Field(description="Bytes, or text as 1.2TB or 500GiB.")
    replicas: Annotated[list[ReplicaDoc], Field(min_length=1, max_length=1000)]
    residency: Annotated[list[Region], Field(max_length=100)] = Field(
        default=[], description="The regions that it must not leave; none: it may go anywhere."
    )
    secret: Annotated[str, Field(max_length=253, pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")] = Field(
        default="", description="The name of a Secret in the jobs' namespace, with what reading the stores takes."
    )
    tenant: Annotated[str | None, Field(max_length=253)] = Field(
        default=None, description="Whose it is; \"\": everybody's. Without it: an admin's is everybody's."
    )


class DatasetIn(DatasetSpec):
    name: DatasetName


class ReplicaOut(ReplicaDoc):
    copied: bool = Field(default=False, description="By Muster, before a job; declared by nobody.")


class DatasetOut(Wire):
    name: str
    tenant: str = Field(description='"": everybody\'s.')
    size: int = Field(description="Bytes.")
    replicas: list[ReplicaOut]
    residency: list[str]
    secret: str
    learned: bool = Field(description="Read off what a cluster has, and declared by nobody.")


class DatasetListOut(Wire):
    datasets: list[DatasetOut]


class AppliedOut(Wire):
    """What a file declared, in its order: kind and name."""

    applied: list[tuple[str, str]]
    warnings: list[str] = []


class StepOut(Wire):
    """One job stopped, and started again."""

    job: str
    epoch: int
    source: str
    target: str = Field(description="A cluster; the same: on other nodes of it.")
    gpus: float
    lost_gpu_hours: float
    usd: float = Field(description="Lost work, restart, copying its data, and what it costs more there.")


class ProposalOut(Wire):
    id: str
    aim: Literal["make-room", "save-cost", "whole-nodes"]
    steps: list[StepOut]
    lost_gpu_hours: float
    usd: float
    gain_usd: float
    net_usd: float
    gain: str
    job: str = Field(description="make-room: the one that could start.")
    cluster: str
    earlier_hours: float
    saved_usd_per_hour: float
    whole_nodes: int
    whole_domains: int


class ProposalListOut(Wire):
    proposals: list[ProposalOut]


class HealthOut(Wire):
    status: Literal["ok", "not-ready"]
    version: str
    detail: str = ""
