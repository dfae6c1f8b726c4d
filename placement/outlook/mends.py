"""What would let a waiting job start now: small changes of the job, of its queue or of a cluster, each tried out.

Every mend that is told was put to the same judgement as the job itself, on the clusters as they are. Those about quota
and budget are sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from placement import bursting
from placement.capacity import Capacity, Fit
from placement.feasibility import judge
from placement.fleet import Cluster, Fleet, PendingJob
from placement.queues.reasons import BudgetShort, QuotaShort
from placement.resources import Resources
from placement.verdict import Candidate, Cordoned, NotAllowed
from placement.workload import NodeConstraint, Role, TopologyMode, Workload


@dataclass(frozen=True, slots=True)
class _Ground:
    job: PendingJob
    fleet: Fleet
    capacities: Mapping[str, Capacity]
    now: datetime

    def holds(self, workload: Workload) -> str:
        """The first cluster that has room for it now; "" for none."""
        for name in sorted(self.capacities):
            if self.is_held_by(workload, self.fleet.clusters[name]):
                return name
        return ""

    def is_held_by(self, workload: Workload, cluster: Cluster) -> bool:
        fleet, capacity = self.fleet, self.capacities.get(cluster.name)
        if self.job.is_kept_out_of(cluster.name):
            return False
        if workload is not self.job.workload and any(name == cluster.name for name, _ in workload.differing):
            return False  # what overrides would make of the changed job there, nobody has worked out
        if bursting.refusal(self.job, cluster.name, fleet.prices, fleet.queues, self.now) is not None:
            return False
        return isinstance(judge(workload, cluster, capacity, fleet.data), Fit)


def mends(
    job: PendingJob,
    asked: Workload,
    candidates: Sequence[Candidate],
    fleet: Fleet,
    capacities: Mapping[str, Capacity],
    now: datetime,
) -> tuple[str, ...]:
    """For people, one sentence each; those first that change the job least. `job` as it is decided now, `asked` as its
    manifest has it."""
    ground, workload = _Ground(job, fleet, capacities, now), job.workload
    found = [
        *_of_its_queue(candidates),
        *_looser_topology(workload, asked, ground),
        *_other_clusters(workload, candidates, ground),
        *_other_shape(workload, ground),
        *_any_product(workload, ground),
        *_fewer_pods(workload, ground),
    ]
    return tuple(dict.fromkeys(found))


def _of_its_queue(candidates: Sequence[Candidate]) -> Iterator[str]:
    for reason in (reason for each in candidates for reason in each.reasons):
        if isinstance(reason, QuotaShort):
            short = reason.asks - max(0.0, reason.left)
            yield f"{short:g} more {reason.device} for queue {reason.queue}: by quota, or when others give back as many"
        elif isinstance(reason, BudgetShort):
            short = reason.spent + reason.committed + reason.asks - reason.limit
            amount = f"${short:,.2f}" if reason.unit == "$" else f"{short:,.1f} {reason.unit}"
            yield f"a budget of queue {reason.queue} that is {amount} larger for the {reason.period}"


def _looser_topology(workload: Workload, asked: Workload, ground: _Ground) -> Iterator[str]:
    if workload is not asked and (cluster := ground.holds(asked)):
        yield f"without wait-for-locality-hours it would start on {cluster}"
    request = asked.topology
    if request is not None and request.mode is TopologyMode.REQUIRED:
        cluster = ground.holds(replace(workload, topology=replace(request, mode=TopologyMode.PREFERRED)))
        if cluster:
            yield f"topology-preferred: {request.level} instead of topology-required: it would start on {cluster}"


def _other_clusters(workload: Workload, candidates: Sequence[Candidate], ground: _Ground) -> Iterator[str]:
    for each in candidates:
        if any(isinstance(reason, Cordoned) for reason in each.reasons):
            opened = replace(ground.fleet.clusters[each.cluster], cordoned=False)
            if ground.is_held_by(workload, opened):
                yield f"muster cluster cordon --off {each.cluster}: it has room for it"
    if any(isinstance(reason, NotAllowed) for each in candidates for reason in each.reasons):
        cluster = ground.holds(
            replace(workload, hints=replace(workload.hints, clusters=(), excluded_clusters=(), regions=()))
        )
        if cluster:
            yield f"without its own lists of clusters and regions it would start on {cluster}"


def _other_shape(workload: Workload, ground: _Ground) -> Iterator[str]:
    """As many GPUs, on more and smaller pods."""
    if len(workload.roles) != 1:
        return
    (role,) = workload.roles
    parts = 2
    while parts <= role.gpus_per_pod and role.gpus_per_pod % parts == 0:
        smaller = _divided(role, parts)
        cluster = ground.holds(_with_role(workload, smaller))
        if cluster:
            pods = f"{smaller.replicas} pods of {smaller.gpus_per_pod} GPU{'' if smaller.gpus_per_pod == 1 else 's'}"
            yield f"{pods} instead of {role.replicas} of {role.gpus_per_pod}: it would start on {cluster}"
            return
        parts *= 2


def _any_product(workload: Workload, ground: _Ground) -> Iterator[str]:
    if not any(role.products for role in workload.roles):
        return
    cluster = ground.holds(replace(workload, roles=tuple(_of_any_product(role) for role in workload.roles)))
    if cluster:
        yield f"any GPU instead of {' or '.join(workload.roles[0].products)}: it would start on {cluster}"


def _fewer_pods(workload: Workload, ground: _Ground) -> Iterator[str]:
    """The most pods of its largest role with which it fits somewhere."""
    role = max(workload.roles, key=lambda each: each.replicas)
    low, high, where = 0, role.replicas, ""
    while high - low > 1:
        middle = (low + high) // 2
        cluster = ground.holds(_with_role(workload, replace(role, replicas=middle, minimum=min(role.minimum, middle))))
        if cluster:
            low, where = middle, cluster
        else:
            high = middle
    if where:
        gpus = workload.total_gpus - (role.replicas - low) * role.gpus_per_pod
        total = f" ({gpus} GPUs in all)" if gpus else ""
        yield f"{low} instead of {role.replicas} pods of {role.name}{total}: it would start on {where}"


def _divided(role: Role, parts: int) -> Role:
    return replace(
        role,
        replicas=role.replicas * parts,
        minimum=role.minimum * parts,
        requests=Resources({name: -(-amount // parts) for name, amount in role.requests.items()}),
        devices=tuple(replace(need, amount=need.amount // parts) for need in role.devices),
    )


def _of_any_product(role: Role) -> Role:
    wanted = set(role.products)
    terms = tuple(tuple(one for one in term if not wanted.intersection(one.values)) for term in role.constraint.terms)
    # A term that asks for nothing else admits every node, and so do they all.
    return replace(
        role, products=(), constraint=NodeConstraint(terms if all(terms) else (), role.constraint.tolerations)
    )


def _with_role(workload: Workload, changed: Role) -> Workload:
    roles = tuple(changed if role.name == changed.name else role for role in workload.roles)
    return replace(workload, roles=roles, min_pods=sum(role.minimum for role in roles))
