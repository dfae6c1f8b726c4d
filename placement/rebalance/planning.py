"""Looks for moves that win more than they cost: for gangs that wait, for money, for whole nodes and racks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from placement import locality
from placement.bins import Bin, Unit
from placement.capacity import Capacity, Fit
from placement.fleet import Fleet, PendingJob, Reservation
from placement.inventory import DeviceForm
from placement.preemption import victims
from placement.preemption.losses import cards
from placement.preemption.planning import where_short
from placement.preemption.victims import Victim
from placement.queues.forecast import earliest_start
from placement.queues.reasons import QuotaShort
from placement.queues.spending import hours_between
from placement.queues.usage import of_reservation
from placement.rebalance.movers import HORIZON_H, Movers
from placement.rebalance.proposals import Aim, Proposal
from placement.scoring import BROKEN_NODE_SHARE, offer
from placement.spot import RESTART_HOURS
from placement.verdict import Decision, Waiting

MOST_GANGS = 8  # of those that wait, from the head
MOST_MOVERS = 48  # of one cluster, the cheapest to move
_SAME = 0.005  # dollars: less is no gain


def propose(fleet: Fleet, waiting: Sequence[tuple[PendingJob, Decision]], now: datetime) -> tuple[Proposal, ...]:
    """`waiting` in the order in which they are to start, each with its last decision."""
    promised = [
        (locality.for_now(job, now), decision.verdict.room.cluster)
        for job, decision in waiting
        if isinstance(decision.verdict, Waiting) and decision.verdict.room is not None
    ]
    movers = Movers(fleet, now, promised)
    found = [
        *_rooms(movers, waiting),
        *(one for held in movers.movable if (one := _cheaper(movers, held)) is not None),
        *(one for cluster in sorted(movers.capacities) if (one := _wholes(movers, cluster)) is not None),
    ]
    worth = [one for one in found if one.net_usd > _SAME]
    return tuple(sorted(worth, key=lambda one: (-round(one.net_usd, 6), one.id)))


# ---- room for a gang that waits ----


def _rooms(movers: Movers, waiting: Sequence[tuple[PendingJob, Decision]]) -> Iterator[Proposal]:
    for pending, decision in waiting[:MOST_GANGS]:
        job = locality.for_now(pending, movers.now)
        if not isinstance(decision.verdict, Waiting) or decision.verdict.room is not None:
            continue
        places = _short_of_room(movers, job, decision)
        wait_h = _wait_h(movers, job, decision, places)
        found = [one for name in places if (one := _room(movers, job, name, wait_h)) is not None]
        if found:
            yield min(found, key=lambda one: (-one.net_usd, one.cluster))


def _short_of_room(movers: Movers, job: PendingJob, decision: Decision) -> list[str]:
    places, _ = where_short(job, decision.candidates, movers.fleet, movers.now)
    beyond = {
        one.cluster for one in decision.candidates if any(isinstance(reason, QuotaShort) for reason in one.reasons)
    }
    return [name for name in places if name not in beyond and name in movers.capacities]


def _room(movers: Movers, job: PendingJob, cluster: str, wait_h: float) -> Proposal | None:
    """The cheapest jobs of one cluster that can all start again elsewhere, or beside the gang, once it is in."""
    capacity = movers.capacities[cluster]
    candidates = [
        Victim(held, movers.loss(held), sum(amount for _, amount in of_reservation(held)))
        for held in movers.on(cluster)
    ]
    candidates = sorted(candidates, key=lambda one: one.key)[:MOST_MOVERS]

    def trial(gone: Sequence[Victim]) -> Fit | None:
        held = [one.held for one in gone]
        emptied = movers.emptied(cluster, held)
        fit = emptied[cluster].fit(job.workload)
        if not isinstance(fit, Fit) or movers.replaced(held, {**emptied, cluster: fit.left}) is None:
            return None
        return fit

    found = victims.cheapest(candidates, 0.0, trial, lambda some: True) if candidates else None
    if found is None or isinstance(capacity.fit(job.workload), Fit):
        return None
    gone = [one.held for one in found.victims]
    steps = movers.replaced(gone, {**movers.emptied(cluster, gone), cluster: found.fit.left})
    assert steps is not None  # noqa: S101  else the trial had failed
    earlier_h = max(0.0, wait_h - RESTART_HOURS)
    terms = offer(job.workload, cluster, found.fit, movers.fleet.prices).score.terms
    hourly = (terms.get("gpu", 0.0) + terms.get("cpu", 0.0)) / job.workload.hints.expected_hours
    at_least = "at least " if wait_h >= HORIZON_H else ""
    gain = f"{job.job} starts on {cluster} {at_least}{earlier_h:.1f} h earlier"
    return Proposal(Aim.MAKE_ROOM, steps, hourly * earlier_h, gain, job.job, cluster, earlier_h)


def _wait_h(movers: Movers, job: PendingJob, decision: Decision, places: Sequence[str]) -> float:
    """Until it starts without anybody's moving, at most the horizon: what it could use stands idle so long."""
    verdict = decision.verdict
    start = verdict.start.at if isinstance(verdict, Waiting) and verdict.start is not None else None
    for name in places if start is None else ():
        held = [one for one in movers.fleet.reservations if one.cluster == name]
        inventory = movers.capacities[name].inventory
        found = earliest_start(job.workload, inventory, held, movers.now, start, movers.emptying.without)
        start = found.start.at if found is not None else start
    return HORIZON_H if start is None else min(HORIZON_H, max(0.0, hours_between(movers.now, start)))


# ---- the same work for less ----


def _cheaper(movers: Movers, held: Reservation) -> Proposal | None:
    elsewhere = {name: capacity for name, capacity in movers.capacities.items() if name != held.cluster}
    hours, best = movers.remaining_hours(held), None
    for place in movers.places(held, elsewhere):
        saved = movers.hourly_usd(held) - movers.hourly_usd_at(held, place)
        if saved <= 0:
            continue
        gain = f"{held.job} costs ${saved:,.2f} an hour less on {place.cluster}, for {hours:.1f} h"
        one = Proposal(
            Aim.SAVE_COST,
            (movers.step(held, place),),
            saved * hours,
            gain,
            cluster=place.cluster,
            saved_usd_per_hour=saved,
        )
        if best is None or one.net_usd > best.net_usd:
            best = one
    return best


# ---- whole nodes and racks ----


def _wholes(movers: Movers, cluster: str) -> Proposal | None:
    """One job started again in the same cluster, where it leaves most whole. The best of them for each cluster."""
    capacity, best = movers.capacities[cluster], None
    before = _count_wholes(capacity)
    for held in sorted(movers.on(cluster), key=lambda one: (movers.loss(one).usd, one.job))[:MOST_MOVERS]:
        places = movers.places(held, {cluster: movers.emptied(cluster, [held])[cluster]})
        if not places:
            continue
        nodes, domains, gpus = _count_wholes(places[0].fit.left)
        if nodes <= before[0]:
            continue
        hourly = (gpus - before[2]) * movers.hourly_usd(held) / max(cards(held), 1.0)
        hours = movers.remaining_hours(held)
        more, above = nodes - before[0], max(0, domains - before[1])
        gain = f"{more} more whole node{'' if more == 1 else 's'} on {cluster}" + (
            f", {above} whole at the levels above" if above else ""
        )
        one = Proposal(
            Aim.WHOLE_NODES,
            (movers.step(held, places[0]),),
            hourly * hours * BROKEN_NODE_SHARE,
            gain,
            cluster=cluster,
            whole_nodes=more,
            whole_domains=above,
        )
        if best is None or one.net_usd > best.net_usd:
            best = one
    return best


def _count_wholes(capacity: Capacity) -> tuple[int, int, int]:
    """Nodes whose cards are all free, domains above nodes all of whose nodes are such, and the cards of those nodes."""
    nodes = gpus = 0
    for node, count in capacity.root.bins().items() if not isinstance(capacity.root, Bin) else ():
        amount = _whole_cards(node, capacity)
        nodes += count if amount else 0
        gpus += amount * count
    return nodes, _whole_domains(capacity.root, capacity)[1], gpus


def _whole_domains(unit: Unit, capacity: Capacity) -> tuple[bool, int]:
    """Whether all nodes of it are whole, and how many domains in it are."""
    if isinstance(unit, Bin):
        return bool(_whole_cards(unit, capacity)), 0
    inner = [(_whole_domains(each, capacity), count) for each, count in unit.units.items()]
    is_whole = bool(inner) and all(whole for (whole, _), _ in inner)
    is_counted = is_whole and unit.rank < capacity.inventory.ladder.top
    return is_whole, sum(domains * count for (_, domains), count in inner) + int(is_counted)


def _whole_cards(node: Bin, capacity: Capacity) -> int:
    """0 where one of its cards is in use, or it has none."""
    node_class = capacity.inventory.classes[node.node_class]
    devices = [device for device in node_class.devices if device.form is not DeviceForm.SHARED_MEMORY]
    if any(node.free[device.resource] < node_class.capacity[device.resource] for device in devices):
        return 0
    return sum(node_class.capacity[device.resource] for device in devices)
