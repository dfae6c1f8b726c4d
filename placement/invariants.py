"""What must never happen, checked from the values alone: neither planner, topology nor packing is asked.

Both functions answer sentences, one for each violation; none is what every test that plans expects, and what the hub
and the spoke may assert before they act.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from placement.assignment import Assignment, NodeAssignment, PodToPlace
from placement.fleet import Cluster, Fleet, Health, Reservation
from placement.inventory import DEFAULT_LEVELS, HOST_LEVEL, RARE_LEVELS, TIER, DeviceForm, Node, Summary
from placement.matching import admits
from placement.queues import invariants as queue_rules
from placement.queues.reasons import GaveUp
from placement.resources import PODS
from placement.verdict import Decision, Placed, Plan, Rejected, Waiting
from placement.workload import Role, TopologyMode, TopologyRequest, Workload

_SAME_USD = 1e-6


def check(plan: Plan, fleet: Fleet) -> tuple[str, ...]:
    """Of one cycle's decisions over the fleet that they were made for."""
    found: list[str] = []
    for job, times in Counter(decision.job for decision in plan.decisions).items():
        if times > 1:
            found.append(f"job {job} is decided {times} times")
    live = {reservation.job: reservation.cluster for reservation in fleet.reservations}
    for decision in plan.decisions:
        found.extend(f"job {decision.job}: {problem}" for problem in _of_decision(decision, fleet))
        if isinstance(decision.verdict, Placed) and decision.job in live:
            found.append(f"job {decision.job} is placed again while it holds capacity on {live[decision.job]}")
    made = [d.verdict.reservation for d in plan.decisions if isinstance(d.verdict, Placed)]
    for name, cluster in fleet.clusters.items():
        if cluster.summary is not None:
            here = [reservation for reservation in made if reservation.cluster == name]
            found.extend(f"{name}: {problem}" for problem in _overbooked(cluster.summary, here, fleet, name))
    found.extend(queue_rules.check(plan, fleet))
    return tuple(found)


def check_assignment(
    assignment: Assignment,
    nodes: Iterable[Node],
    workload: Workload,
    levels: Sequence[tuple[str, str]] = DEFAULT_LEVELS,
    *,
    pods: Sequence[PodToPlace] | None = None,
    placed: Sequence[NodeAssignment] = (),
) -> tuple[str, ...]:
    """Against the nodes as they were before. `pods` are those asked for; without them the gang's count is checked."""
    by_name = {node.name: node for node in nodes}
    found = list(_of_gang(assignment, workload, pods, placed))
    found += [f"{pod.pod} is on {pod.node}, which does not exist" for pod in assignment.pods if pod.node not in by_name]
    roles = {role.name: role for role in workload.roles}
    known = [pod for pod in assignment.pods if pod.node in by_name and pod.role in roles]
    for name in sorted({pod.node for pod in known}):
        here = [(pod, roles[pod.role]) for pod in known if pod.node == name]
        found += [f"{name}: {problem}" for problem in _of_node(by_name[name], here)]
    found += _of_domains([*known, *placed], by_name, workload, levels)
    return tuple(found)


# ---- a plan ----


def _of_decision(decision: Decision, fleet: Fleet) -> Iterator[str]:
    names = [candidate.cluster for candidate in decision.candidates]
    if sorted(names) != sorted(fleet.clusters):
        yield f"its candidates are {sorted(names)}, the clusters {sorted(fleet.clusters)}"
    for candidate in decision.candidates:
        if candidate.feasible != (candidate.score is not None):
            yield f"candidate {candidate.cluster} has {'no score' if candidate.feasible else 'reasons and a score'}"
        if candidate.at_least and not candidate.feasible:
            yield f"candidate {candidate.cluster} is refused though nobody looked for room there"
    verdict = decision.verdict
    if isinstance(verdict, Placed):
        yield from _of_placed(decision, verdict, fleet)
        return
    if any(candidate.feasible for candidate in decision.candidates):
        yield "it is not placed though a candidate is feasible"
    if isinstance(verdict, Waiting | Rejected) and not verdict.reasons:
        yield "it is refused without a reason"
    told = {reason for candidate in decision.candidates for reason in candidate.reasons}
    own = {reason for reason in verdict.reasons if isinstance(reason, GaveUp)}
    if own and isinstance(verdict, Waiting):
        yield "it waits though it was given up"
    if decision.candidates and set(verdict.reasons) - own != told:
        yield "its reasons are not those of its candidates"


def _of_placed(decision: Decision, verdict: Placed, fleet: Fleet) -> Iterator[str]:
    reservation = verdict.reservation
    if (reservation.job, reservation.epoch) != (decision.job, decision.epoch):
        yield f"its reservation is for {reservation.job} epoch {reservation.epoch}"
    cluster = fleet.clusters.get(reservation.cluster)
    if cluster is None:
        yield f"it is placed on {reservation.cluster}, which does not exist"
        return
    yield from _may_not_run(reservation, cluster)
    yield from _data_out_of_place(verdict, cluster, fleet)
    totals = {c.cluster: c.score.total_usd for c in decision.candidates if c.feasible and c.score is not None}
    if cluster.name not in totals:
        yield f"it is placed on {cluster.name}, which is no feasible candidate"
        return
    if any(c.cluster == cluster.name and c.at_least for c in decision.candidates):
        yield f"it is placed on {cluster.name}, where nobody looked for room"
    if abs(totals[cluster.name] - verdict.score.total_usd) > _SAME_USD:
        yield f"its score is {verdict.score.total_usd}, that of its candidate {totals[cluster.name]}"
    if totals[cluster.name] > min(totals.values()) + _SAME_USD:
        yield f"{cluster.name} costs {totals[cluster.name]}, the cheapest {min(totals.values())}"


def _may_not_run(reservation: Reservation, cluster: Cluster) -> Iterator[str]:
    workload, hints = reservation.workload, reservation.workload.hints
    variant = workload.variants.get(cluster.name)
    if variant is not None and variant.refusal is not None:
        yield f"override {variant.refusal.override} cannot be applied on {cluster.name}"
    if cluster.health is not Health.READY:
        yield f"{cluster.name} is {cluster.health.value}"
    if cluster.cordoned:
        yield f"{cluster.name} is cordoned"
    if (hints.clusters and cluster.name not in hints.clusters) or cluster.name in hints.excluded_clusters:
        yield f"{cluster.name} is not among the clusters it allows"
    if hints.regions and cluster.region not in hints.regions:
        yield f"{cluster.name} is in {cluster.region}, it allows {', '.join(hints.regions)}"
    if cluster.summary is None:
        yield f"{cluster.name} has not reported"
    elif workload.resource_kind not in cluster.summary.kinds:
        yield f"{cluster.name} does not serve {workload.resource_kind}"
    else:
        missing = {one.kind for one in workload.brings if one.needed} - cluster.summary.kinds
        yield from (f"{cluster.name} does not serve {kind}" for kind in sorted(missing))
    if reservation.spot and not workload.may_use_spot:
        yield "it is on spot, which it does not tolerate"


def _data_out_of_place(verdict: Placed, cluster: Cluster, fleet: Fleet) -> Iterator[str]:
    """A dataset read where it must not be, or read there though nobody brings it."""
    brought = {move.dataset for move in verdict.moves if move.target == cluster.name}
    namespace = verdict.reservation.workload.namespace
    for move in verdict.moves:
        if move.place and move.place.split("/")[2] != namespace:
            yield f"dataset {move.dataset} would be copied into {move.place}, beyond the namespace {namespace}"
    for use in verdict.reservation.workload.at(cluster.name).data:
        dataset = fleet.data.find(use)
        if dataset is None or (dataset.learned and cluster.name not in fleet.data.told):
            continue
        if dataset.tenant not in ("", use.tenant):
            yield f"dataset {dataset.name} is {dataset.tenant}'s, not {use.tenant}'s"
        if dataset.residency and cluster.region not in dataset.residency:
            yield f"dataset {dataset.name} must stay in {', '.join(dataset.residency)}, not go to {cluster.region}"
        # A claim is there for those who mount it, or are beside it; a store for everybody in its region.
        mounts = use.name.startswith("pvc://")
        if mounts and use.name.split("/")[2] != namespace:
            continue
        claims = [one.uri for one in dataset.replicas if one.cluster == cluster.name and one.uri.startswith("pvc://")]
        beside = [uri for uri in claims if uri.split("/")[2] == namespace]
        stores = [(one.cluster, one.region) for one in dataset.replicas if not one.uri.startswith("pvc://")]
        there = any(on == cluster.name or (not on and near and near == cluster.region) for on, near in stores)
        holding = [uri for uri in claims if (use.name.rstrip("/") + "/").startswith(uri.rstrip("/") + "/")]
        if not (holding if mounts else beside or there) and dataset.key not in brought and not use.checkpoint:
            yield f"dataset {dataset.name} is not on {cluster.name} and is not brought there"


def _overbooked(summary: Summary, made: Sequence[Reservation], fleet: Fleet, cluster: str) -> Iterator[str]:
    """More promised in this cycle than is free, less what is promised already and not counted in it."""
    earlier = [
        reservation
        for reservation in fleet.reservations
        if reservation.cluster == cluster and (reservation.job, reservation.epoch) not in summary.counted
    ]
    offered: Counter[tuple[str, str]] = Counter()
    for shape in summary.shapes:
        node_class = summary.node_classes[shape.node_class]
        products = {device.resource: device.product for device in node_class.devices}
        for name, amount in shape.free.items():
            offered[name, ""] += amount * shape.nodes
            if products.get(name):
                offered[name, products[name]] += amount * shape.nodes
    before, now = _demanded(earlier), _demanded(made)
    limited = all(PODS in node_class.capacity for node_class in summary.node_classes)
    for (name, product), amount in sorted(now.items()):
        if name == PODS and not limited:
            continue
        room = max(0, offered[name, product] - before[name, product])
        if amount > room:
            yield f"{amount} of {name} {product} promised, {room} were there".replace("  ", " ")


def _demanded(reservations: Iterable[Reservation]) -> Counter[tuple[str, str]]:
    """By (resource, product); a product only of what may be on no other, "" for everything."""
    total: Counter[tuple[str, str]] = Counter()
    for reservation in reservations:
        for role in reservation.workload.at(reservation.cluster).roles:
            for name, amount in _needs(role).items():
                total[name, ""] += amount * role.replicas
                if len(role.products) == 1 and name in {device.resource for device in role.devices}:
                    total[name, role.products[0]] += amount * role.replicas
    return total


def _needs(role: Role) -> Mapping[str, int]:
    needs = dict(role.requests)
    for device in role.devices:
        needs[device.resource] = max(needs.get(device.resource, 0), device.amount)
    needs[PODS] = max(needs.get(PODS, 0), 1)
    return needs


# ---- an assignment ----


def _of_gang(
    assignment: Assignment, workload: Workload, pods: Sequence[PodToPlace] | None, placed: Sequence[NodeAssignment]
) -> Iterator[str]:
    names = Counter(pod.pod for pod in [*assignment.pods, *placed])
    yield from (f"pod {name} is assigned {times} times" for name, times in names.items() if times > 1)
    roles = {role.name: role for role in workload.roles}
    for pod in assignment.pods:
        if pod.role not in roles:
            yield f"pod {pod.pod} has role {pod.role}, which the workload has not"
    if pods is None:
        total = len(assignment.pods) + len(placed)
        if total < workload.min_pods:
            yield f"{total} pods are assigned, the gang starts with {workload.min_pods}"
        return
    asked = {pod.name: pod.role for pod in pods}
    given = {pod.pod: pod.role for pod in assignment.pods}
    if asked != given:
        yield f"asked for {asked}, assigned {given}"


def _of_node(node: Node, pods: Sequence[tuple[NodeAssignment, Role]]) -> Iterator[str]:
    if not node.ready:
        yield "it is not ready"
    used: Counter[str] = Counter()
    for pod, role in pods:
        if not admits(role.constraint, node.labels, node.taints):
            yield f"it does not admit {pod.pod}"
        used.update(_needs(role))
    for name, amount in sorted(used.items()):
        if amount > node.free[name] and not (name == PODS and PODS not in node.capacity):
            yield f"{amount} of {name} given, {node.free[name]} are free"
    yield from _of_cards(node, pods)


def _of_cards(node: Node, pods: Sequence[tuple[NodeAssignment, Role]]) -> Iterator[str]:
    whole = {device.resource for device in node.devices if device.form is DeviceForm.WHOLE}
    cards = {gpu.index: gpu for gpu in node.gpus}
    taken_whole: Counter[int] = Counter()
    taken_share: Counter[int] = Counter()
    for pod, role in pods:
        wanted = sum(need.amount for need in role.devices if need.resource in whole and not need.is_share)
        share = sum(need.amount for need in role.devices if need.is_share)
        expected = (wanted if len(whole) == 1 else 0) + (1 if share else 0)
        if cards and len(pod.gpus) != expected:
            yield f"{pod.pod} has cards {pod.gpus}, it asks for {expected}"
        # A pod's own cards come first, the one it shares last.
        taken_whole.update(pod.gpus[:-1] if share else pod.gpus)
        if share and pod.gpus:
            taken_share[pod.gpus[-1]] += share
    for index in sorted({*taken_whole, *taken_share}):
        if index not in cards or not cards[index].healthy:
            yield f"card {index} does not exist or is not healthy"
            continue
        if taken_whole[index] and not cards[index].free:
            yield f"card {index} is given and not free"
        if taken_whole[index] > 1 or (taken_whole[index] and taken_share[index]):
            yield f"card {index} is given twice"
        if taken_share[index] > cards[index].free_share:
            yield f"{taken_share[index]} of card {index}'s memory given, {cards[index].free_share} are free"


def _of_domains(
    pods: Sequence[NodeAssignment], nodes: Mapping[str, Node], workload: Workload, levels: Sequence[tuple[str, str]]
) -> Iterator[str]:
    levels = _present(levels, nodes.values())
    yield from _of_domain("it", pods, nodes, workload.topology, levels)
    for role in workload.roles:
        mine = [pod for pod in pods if pod.role == role.name]
        yield from _of_domain(f"role {role.name}", mine, nodes, role.topology, levels)
        if role.slices is None:
            continue
        request = TopologyRequest(role.slices.level, TopologyMode.REQUIRED)
        slices = _slices(role, mine)
        if slices is None:
            yield from _of_nameless_slices(role, mine, nodes, levels)
            continue
        for number, those in sorted(slices.items()):
            yield from _of_domain(f"slice {number} of role {role.name}", those, nodes, request, levels)


def _of_domain(
    what: str,
    pods: Sequence[NodeAssignment],
    nodes: Mapping[str, Node],
    request: TopologyRequest | None,
    levels: Sequence[tuple[str, str]],
) -> Iterator[str]:
    if request is None or request.mode is not TopologyMode.REQUIRED:
        return
    depth = _depth(request.level, levels)
    if depth is None:
        if pods:
            yield f"{what} requires level {request.level}, which there is not"
        return
    if depth < 0:
        return
    level = levels[depth][0]
    seen: set[tuple[str, ...]] = set()
    for pod in pods:
        node = nodes.get(pod.node)
        if node is None:
            continue  # a pod placed earlier, whose node is gone
        domain = _domain(node, levels, depth)
        if not domain[-1]:
            yield f"{pod.pod} is on {pod.node}, which is in no {level}"
        seen.add(domain)
    if len(seen) > 1:
        yield f"{what} requires one {level} and is in {len(seen)}"


def _of_nameless_slices(
    role: Role, pods: Sequence[NodeAssignment], nodes: Mapping[str, Node], levels: Sequence[tuple[str, str]]
) -> Iterator[str]:
    """Of pods that are all alike no more slices may be incomplete than their number leaves incomplete."""
    assert role.slices is not None  # noqa: S101  the caller saw it
    depth = _depth(role.slices.level, levels)
    if depth is None:
        yield f"role {role.name} requires level {role.slices.level}, which there is not"
        return
    if depth < 0:
        return
    counts = Counter(_domain(nodes[pod.node], levels, depth) for pod in pods if pod.node in nodes)
    size, level = role.slices.size, levels[depth][0]
    if any(not domain[-1] for domain in counts):
        yield f"role {role.name} has pods on nodes that are in no {level}"
    needed = sum(-(-count // size) for count in counts.values())
    if needed > -(-sum(counts.values()) // size):
        yield f"role {role.name} is in slices of {size} in one {level} each, of which {needed} would be needed"


def _slices(role: Role, pods: Sequence[NodeAssignment]) -> dict[int, list[NodeAssignment]] | None:
    """By number; None where some pod does not tell which one it is in."""
    assert role.slices is not None  # noqa: S101  the caller saw it
    found: dict[int, list[NodeAssignment]] = {}
    for pod in pods:
        tail = pod.pod[len(pod.pod.rstrip("0123456789")) :]
        number = pod.index if pod.index is not None else int(tail) if tail else -1
        if number < 0 or (pod.index is None and number >= max(role.replicas, role.maximum or 0)):
            return None
        found.setdefault(number // role.slices.size, []).append(pod)
    return found


def _depth(level: str, levels: Sequence[tuple[str, str]]) -> int | None:
    """Where it is among the levels, coarse to fine; -1: it is the whole cluster. None where there is no such level."""
    found = next((depth for depth, names in enumerate(levels) if level in names), None)
    if found is None and level.startswith(TIER) and level[len(TIER) :].isdecimal():
        above = [depth for depth, (name, _) in enumerate(levels) if name != HOST_LEVEL]
        tier = int(level[len(TIER) :])
        found = None if tier < 1 else above[-tier] if tier <= len(above) else -1
    return found


def _present(levels: Sequence[tuple[str, str]], nodes: Iterable[Node]) -> Sequence[tuple[str, str]]:
    """A rare level is one of the cluster only where some node is in such a domain."""
    known = {name for node in nodes for name, domain in node.domains.items() if domain}
    return [level for level in levels if level[0] not in RARE_LEVELS or level[0] in known]


def _domain(node: Node, levels: Sequence[tuple[str, str]], depth: int) -> tuple[str, ...]:
    """A rack is itself only within its zone."""
    name = levels[depth][0]
    own = node.name if name == HOST_LEVEL else node.domains.get(name, "")
    return (*(node.domains.get(outer, "") for outer, _ in levels[:depth]), own)
