"""Which devices the claims of a job's pods get, and so which nodes: the spoke's side of `placement.dra`.

A pod waits until all its claims are made and seen. A claim that is allocated already keeps its pod to the nodes from
which it can be used, unless it was allocated for this very pod and the pod was never bound (an earlier attempt that
failed, or a crash): then it is decided anew. A claim that several unbound pods share is not allocated by Muster, since
nothing says which of their nodes it should suit; once allocated, pods may share it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from placement.assignment import Assignment, NodeAssignment, PodToPlace, Shortfall
from placement.dra import gangs
from placement.dra.allocate import Grants, devices_in
from placement.dra.devices import DeviceId
from placement.dra.memory import Memory
from placement.dra.reasons import ClaimUnusable
from placement.dra.requests import ClaimSpec
from placement.dra.stock import Devices, PodClaims, Stock
from placement.workload import Workload
from spoke.claim_facts import MOST_USERS, ClaimFacts
from spoke.device_book import DeviceBook
from spoke.inventory import Inventory, Slot, Usage
from spoke.pods import PodFacts
from wire.orders import JobRef

UNREAD = "the cluster's devices cannot be read: it does not serve resource.k8s.io/v1, or the spoke may not read it"


@dataclass(frozen=True, slots=True)
class ClaimGrant:
    """What a pod gets of one claim; `grants` None where it is allocated already, and the pod only joins its users."""

    namespace: str
    name: str
    uid: str
    grants: Grants | None


@dataclass(frozen=True, slots=True)
class Decided:
    assignment: Assignment
    grants: Mapping[str, tuple[ClaimGrant, ...]]  # by pod name


@dataclass(slots=True)
class _Asked:
    """The claims of the pods that are decided on together."""

    by_pod: dict[str, PodClaims]
    open: dict[str, list[ClaimFacts]]  # by pod, to be allocated, in the order of `by_pod`'s
    joined: dict[str, list[ClaimFacts]]  # by pod, allocated already
    freed: set[DeviceId]


class _Unusable(Exception):
    def __init__(self, claim: str, why: str) -> None:
        super().__init__(why)
        self.reason = ClaimUnusable(claim, why)


class Claims:
    def __init__(self, book: DeviceBook, inventory: Inventory) -> None:
        self._book = book
        self._inventory = inventory
        self._memory = Memory(inventory.levels)

    def hold(
        self, workload: Workload, pods: Sequence[PodToPlace], claims: Mapping[str, tuple[ClaimSpec, ...]]
    ) -> Sequence[Slot] | Shortfall:
        """Places with devices for pods that do not exist yet; `claims` by role, from templates that travel along."""
        if not self._book.is_read:
            return Shortfall(ClaimUnusable("of " + workload.name, UNREAD))
        asked = {pod.name: PodClaims(claims[pod.role]) for pod in pods if pod.role in claims}
        found = self._assign(workload, pods, asked, (), self._inventory.stocks())
        if isinstance(found, Shortfall):
            return found
        requests = {role.name: role.requests for role in workload.roles}
        return [
            Slot(p.role, p.node, Usage(requests[p.role], p.gpus, devices=_held(found, p.pod)))
            for p in found.assignment.pods
        ]

    def place(
        self, workload: Workload, pods: Sequence[tuple[PodFacts, str]], placed: Sequence[NodeAssignment]
    ) -> Decided | Shortfall:
        """Nodes and devices for all of these pods (each with its role), or none."""
        asked = self._asked([pod for pod, _ in pods])
        if isinstance(asked, ClaimUnusable):
            return Shortfall(asked)
        stocks = _without(self._inventory.stocks(), asked.freed)
        wanted = [PodToPlace(pod.name, role, pod.index) for pod, role in pods]
        found = self._assign(workload, wanted, asked.by_pod, placed, stocks)
        if isinstance(found, Shortfall):
            return found
        return Decided(found.assignment, {pod.name: _grants(pod, asked, found.devices) for pod, _ in pods})

    def serve(
        self, pods: Sequence[tuple[PodFacts, str]], redeeming: Collection[tuple[JobRef, int]] = ()
    ) -> Mapping[str, tuple[ClaimGrant, ...]] | None:
        """Devices on nodes that are chosen already, by pod name; None where they do not have them."""
        if not any(pod.claims for pod, _ in pods):
            return {}
        asked = self._asked([pod for pod, _ in pods], {pod.name: node for pod, node in pods})
        if isinstance(asked, ClaimUnusable):
            return None
        stocks = _without(self._inventory.stocks(redeeming), asked.freed)
        devices: dict[str, tuple[Grants, ...]] = {}
        for node in {node for _, node in pods}:
            here = [pod for pod, at in pods if at == node]
            if any((nodes := asked.by_pod[pod.name].nodes) is not None and node not in nodes for pod in here):
                return None
            wanted = [asked.by_pod[pod.name].asked for pod in here]
            if not any(wanted):
                continue
            given = gangs.serve(stocks[node], wanted, self._book.classes) if node in stocks else None
            if given is None:
                return None
            devices |= {pod.name: grants for pod, grants in zip(here, given, strict=True)}
        return {pod.name: _grants(pod, asked, devices) for pod, _ in pods}

    def assume(self, node: str, grants: Sequence[ClaimGrant]) -> None:
        """They are about to be written."""
        for grant in grants:
            if grant.grants is not None:
                self._book.assume(grant.uid, node, devices_in([grant.grants]))

    # ---- inside ----

    def _assign(
        self,
        workload: Workload,
        pods: Sequence[PodToPlace],
        asked: Mapping[str, PodClaims],
        placed: Sequence[NodeAssignment],
        stocks: Mapping[str, Stock],
    ) -> gangs.Granted | Shortfall:
        devices = Devices(stocks, self._book.classes)
        nodes, levels = self._inventory.nodes(), self._inventory.levels
        return gangs.assign(nodes, pods, workload, asked, devices, levels, placed=placed, memory=self._memory)

    def _asked(self, pods: Sequence[PodFacts], at: Mapping[str, str] | None = None) -> _Asked | ClaimUnusable:
        """`at`: nodes that are chosen. What is allocated on them for the pod stays as it is."""
        if not self._book.is_read:
            return ClaimUnusable(pods[0].claims[0] if pods[0].claims else "of " + pods[0].name, UNREAD)
        asked = _Asked({}, {}, {}, set())
        try:
            found = {pod.name: [self._usable(pod, name) for name in pod.claims] for pod in pods}
            shared = Counter(facts.uid for claims in found.values() for facts in claims)
            for pod in pods:
                self._sort(asked, pod, found[pod.name], shared, (at or {}).get(pod.name, ""))
        except _Unusable as error:
            return error.reason
        return asked

    def _usable(self, pod: PodFacts, name: str) -> ClaimFacts:
        facts = self._book.claim(pod.namespace, name)
        if facts is None:
            raise _Unusable(name, "it is not there yet")
        if facts.deleting:
            raise _Unusable(name, "it is being deleted")
        if len(facts.users) >= MOST_USERS and pod.uid not in facts.users:
            raise _Unusable(name, f"{len(facts.users)} pods use it, and no more may")
        return facts

    def _sort(
        self, asked: _Asked, pod: PodFacts, claims: Sequence[ClaimFacts], shared: Mapping[str, int], at: str
    ) -> None:
        opened, joined, nodes = [], [], None
        for facts in claims:
            reachable = self._reachable_from(facts)
            is_mine = facts.allocated and facts.maker == pod.uid and facts.users <= {pod.uid}
            if reachable is not _NOWHERE and not (is_mine and not (at and (reachable is None or at in reachable))):
                joined.append(facts)
                nodes = reachable if nodes is None else nodes if reachable is None else nodes & reachable
                continue
            if facts.refused:
                raise _Unusable(facts.name, facts.refused)
            if shared[facts.uid] > 1:
                why = f"{shared[facts.uid]} pods share it and it is not allocated; let each have one of a template"
                raise _Unusable(facts.name, why)
            asked.freed |= facts.devices
            opened.append(facts)
        asked.by_pod[pod.name] = PodClaims(tuple(facts.spec for facts in opened), nodes)
        asked.open[pod.name], asked.joined[pod.name] = opened, joined

    def _reachable_from(self, facts: ClaimFacts) -> frozenset[str] | None:
        """Nodes; None for all, `_NOWHERE` where it is not allocated."""
        assumed = self._book.assumed(facts.uid)
        if assumed is not None:
            return frozenset({assumed.node})
        return facts.nodes if facts.allocated else _NOWHERE


_NOWHERE: frozenset[str] = frozenset({""})


def _grants(pod: PodFacts, asked: _Asked, devices: Mapping[str, tuple[Grants, ...]]) -> tuple[ClaimGrant, ...]:
    opened = zip(asked.open[pod.name], devices.get(pod.name, ()), strict=True)
    return (
        *(ClaimGrant(facts.namespace, facts.name, facts.uid, grants) for facts, grants in opened),
        *(ClaimGrant(facts.namespace, facts.name, facts.uid, None) for facts in asked.joined[pod.name]),
    )


def _held(found: gangs.Granted, pod: str) -> frozenset[DeviceId]:
    return frozenset(devices_in(found.devices.get(pod, ())))


def _without(stocks: Mapping[str, Stock], freed: Collection[DeviceId]) -> Mapping[str, Stock]:
    if not freed:
        return stocks
    return {node: replace(stock, taken=stock.taken.difference(freed)) for node, stock in stocks.items()}
