"""What running a workload on a cluster costs, in dollars, every term by name. The lowest total wins.

`gpu` and `cpu` are money that will be paid. `spot-risk` pays the hours that interruptions are expected to add; spot is
taken only where the job may use it and it is cheaper with its risk. `fragmentation` and `locality` are small: a share
of what idle GPUs beside the job, or a gang stretched over more of the network than it needs, may cost others or
itself. They decide between places of the same price and hardly ever against a cheaper one.
`data` is what copying data there costs; `data-wait` pays the job's GPUs and cores while they are held for the copy.
`unpriced` is worth nothing and says that nobody named a price and the price book's default was used; `amortised`, that
the price is computed from what was paid for one's own cards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from placement import locality
from placement.bins import Spec
from placement.capacity import Inventory, Packed
from placement.data import DataMove, total
from placement.demand import pairs
from placement.inventory import DeviceClass, DeviceForm, NodeClass
from placement.money import Price, PriceBook
from placement.resources import CPU
from placement.spot import lengthening, lost_hours
from placement.verdict import Score
from placement.workload import DeviceNeed, Workload

# The chance that somebody would have wanted a whole node that this job breaks into.
BROKEN_NODE_SHARE = 0.02
# How much longer a gang is assumed to run for each level between the one it needs and the one it gets.
SLOWER_PER_LEVEL = 0.005
SLOWER_PER_LEVEL_IF_PREFERRED = 0.02

CPU_PRODUCT = "cpu"  # a cluster may price a core-hour of CPU-only pods under this product


@dataclass(frozen=True, slots=True)
class Offer:
    """A score, and whether it is for spot capacity."""

    score: Score
    spot: bool


def offer(workload: Workload, cluster: str, fit: Packed, prices: PriceBook, moves: Sequence[DataMove] = ()) -> Offer:
    """`moves`: what has to be copied there before."""
    hours = workload.hints.expected_hours
    cards, cores = used(fit)
    priced = [(gpus, *prices.price_of(cluster, product)) for product, gpus in sorted(cards.items())]
    terms: dict[str, float] = {}
    if cards:
        terms["gpu"] = sum(gpus * price.on_demand_usd_per_gpu_hour for gpus, price, _ in priced) * hours
    spot = workload.may_use_spot and _spot_is_cheaper(terms, [(gpus, price) for gpus, price, _ in priced], workload)
    if cores:
        terms["cpu"] = cores * _usd_per_core_hour(cluster, prices) * hours
    if cards:
        hourly = _usd_per_broken_hour(fit, cluster, prices)
        terms["fragmentation"] = hourly * hours * BROKEN_NODE_SHARE
        if slower := _slowdown(workload, fit) + locality.relaxed(fit) * SLOWER_PER_LEVEL_IF_PREFERRED:
            terms["locality"] = terms["gpu"] * slower
    _add_moves(terms, moves, (terms.get("gpu", 0.0) + terms.get("cpu", 0.0)) / hours)
    if not all(known for _, _, known in priced):
        terms["unpriced"] = 0.0
    if not spot and any(price.amortised for _, price, _ in priced):
        terms["amortised"] = 0.0
    return Offer(Score(terms), spot)


def at_least(
    workload: Workload, cluster: str, inventory: Inventory, prices: PriceBook, moves: Sequence[DataMove] = ()
) -> Score:
    """What it costs there wherever in the cluster it goes: no offer of that cluster is cheaper.

    Only terms that no place can spare are in it, each by the cheapest node class that admits the pod.
    """
    hours = workload.hints.expected_hours
    gpu = held = cores = 0.0
    for spec, pods in pairs(inventory.demands.of(workload.at(cluster).roles)[-1]):
        if spec.devices:
            classes = [inventory.classes[index] for index in spec.classes]
            rates = [_least_usd_per_hour(spec, each, cluster, workload, prices) for each in classes]
            gpu += pods * min((usd for usd, _ in rates), default=0.0)
            held += pods * min((usd for _, usd in rates), default=0.0)
        else:
            cores += pods * spec.need[CPU] / 1000
    terms = {"gpu": gpu * hours} if gpu else {}
    cpu = cores * _usd_per_core_hour(cluster, prices)
    if cores:
        terms["cpu"] = cpu * hours
    _add_moves(terms, moves, held + cpu)
    return Score(terms)


def _least_usd_per_hour(
    spec: Spec, node_class: NodeClass, cluster: str, workload: Workload, prices: PriceBook
) -> tuple[float, float]:
    """Of an hour of work, with the risk of spot; and of an hour in which the cards are only held."""
    works = holds = 0.0
    for need, device in _devices(spec, node_class):
        price, _ = prices.price_of(cluster, device.product)
        usd = held = price.on_demand_usd_per_gpu_hour
        if workload.may_use_spot and price.spot_usd_per_gpu_hour is not None:
            longer = lengthening(price.spot_interruptions_per_hour, lost_hours(workload))
            usd = min(usd, price.spot_usd_per_gpu_hour * longer)
            held = min(held, price.spot_usd_per_gpu_hour)
        works += _cards_of(need, device) * usd
        holds += _cards_of(need, device) * held
    return works, holds


# ---- what is used ----


def used(fit: Packed) -> tuple[dict[str, float], float]:
    """Cards by product (a share of one counts as that part of it), and the cores of pods without devices."""
    cards: dict[str, float] = {}
    cores = 0.0
    for spec, fill, count in fit.bin_fills():
        node_class = fit.inventory.classes[fill.before.node_class]
        pods = fill.pods * count
        if not spec.devices:
            cores += pods * spec.need[CPU] / 1000
        for need, device in _devices(spec, node_class):
            cards[device.product] = cards.get(device.product, 0.0) + pods * _cards_of(need, device)
    return cards, cores


def _devices(spec: Spec, node_class: NodeClass) -> Iterator[tuple[DeviceNeed, DeviceClass]]:
    for need in spec.devices:
        for device in node_class.devices:
            if device.resource == need.resource:
                yield need, device
                break


def _cards_of(need: DeviceNeed, device: DeviceClass) -> float:
    if device.form is not DeviceForm.SHARED_MEMORY:
        return float(need.amount)
    # Where the node does not say how large a card is, the pod is charged all of it.
    return (
        need.amount * device.share_unit_mib / device.memory_mib if device.share_unit_mib and device.memory_mib else 1.0
    )


# ---- what that costs ----


def _add_moves(terms: dict[str, float], moves: Sequence[DataMove], usd_per_hour: float) -> None:
    """`usd_per_hour`: what is paid for the job's cards and cores while they are held."""
    if moves:
        move = total(moves)
        terms["data"] = move.usd
        terms["data-wait"] = usd_per_hour * move.hours


def _spot_is_cheaper(terms: dict[str, float], priced: list[tuple[float, Price]], workload: Workload) -> bool:
    """Puts the spot terms in place of the others where they are lower in sum. Who loses one card loses the gang."""
    hourly = often = 0.0
    for gpus, price in priced:
        if price.spot_usd_per_gpu_hour is None:
            return False
        hourly += gpus * price.spot_usd_per_gpu_hour
        often += price.spot_interruptions_per_hour
    longer = lengthening(often, lost_hours(workload))
    paid = hourly * workload.hints.expected_hours
    if not priced or longer == inf or paid * longer >= terms["gpu"]:
        return False
    terms["gpu"] = paid
    terms["spot-risk"] = paid * (longer - 1)
    return True


def _usd_per_core_hour(cluster: str, prices: PriceBook) -> float:
    own = prices.prices.get((cluster, CPU_PRODUCT))
    return own.on_demand_usd_per_gpu_hour if own else prices.usd_per_cpu_hour


def _usd_per_broken_hour(fit: Packed, cluster: str, prices: PriceBook) -> float:
    """GPUs left over on nodes that were whole before, at their price."""
    hourly = 0.0
    for spec, fill, count in fit.bin_fills():
        node_class = fit.inventory.classes[fill.before.node_class]
        for _, device in _devices(spec, node_class):
            if device.form is DeviceForm.SHARED_MEMORY:
                continue
            if fill.before.free[device.resource] == node_class.capacity[device.resource]:
                price, _ = prices.price_of(cluster, device.product)
                hourly += fill.after.free[device.resource] * count * price.on_demand_usd_per_gpu_hour
    return hourly


def _slowdown(workload: Workload, fit: Packed) -> float:
    if workload.pods < 2:
        return 0.0
    ladder = fit.inventory.ladder
    reached = ladder.steps(fit.rank)
    request = workload.topology
    if request is None:
        return reached * SLOWER_PER_LEVEL
    aim = ladder.rank(request.level)
    return max(0, reached - ladder.steps(aim)) * SLOWER_PER_LEVEL_IF_PREFERRED if aim is not None else 0.0
