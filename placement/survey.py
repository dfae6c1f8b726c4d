"""A cluster's nodes as a tree of named domains, each knowing the nameless `bins.Domain` it looks like.

The summary is written from this tree and `topology` packs into it, so that both speak of the same thing. What a node
offers is rounded down: what is free in whole cores and GiB, a card only where it is healthy, a share of a card only
where a card has it. With `exact` nothing is rounded and every label is seen: only the spoke, which sees the nodes, can.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from placement.bins import NOTHING, UNLIMITED, Bin, Domain, Unit
from placement.demand import Demands
from placement.inventory import DEFAULT_LEVELS, RARE_LEVELS, DeviceClass, DeviceForm, Node, NodeClass, Taint
from placement.ladder import Ladder
from placement.resources import CPU, MEMORY, PODS, Resources

# Kubernetes' own topology labels name few places, and manifests select on them: they stay visible to the hub.
_SELECTED_ON = "topology.kubernetes.io/"
_NEVER_TOLD = frozenset({"kubernetes.io/hostname", "nvidia.com/gfd.timestamp"})
# A label of at most so many values always stays; one of more only if each stands on so many nodes on average.
_FEW_VALUES = 16
_NODES_PER_VALUE = 8

_CLASSES_KEPT = 100
_BINS_KEPT = 1000
_TREE_KEPT = 1000  # surveys: what its domains remember of decisions is let go with them

# (from, step): amounts of at least `from` are rounded down to a multiple of `step`; the first row that applies counts.
_ROUNDING: Mapping[str, tuple[tuple[int, int], ...]] = {
    CPU: ((1000, 1000), (0, 100)),
    MEMORY: ((1024, 1024), (0, 128)),
    "ephemeral-storage": ((10240, 10240), (0, 1024)),
}

Levels = Sequence[tuple[str, str]]


@dataclass(slots=True)
class Leaf:
    """A node, and what it looks like now."""

    node: Node
    bin: Bin
    place: Place
    order: int = 0  # along the tree: neighbours have neighbouring numbers


@dataclass(slots=True)
class Place:
    """A named domain: what is directly in it, and the value it looks like now."""

    rank: int
    name: str
    parent: Place | None
    places: dict[tuple[int, str], Place] = field(default_factory=dict)
    leaves: list[Leaf] = field(default_factory=list)
    domain: Domain = field(init=False)

    def settle(self, numbers: Iterator[int]) -> None:
        """Works out `domain` and the order of leaves, here and below."""
        for leaf in self.leaves:
            leaf.order = next(numbers)
        for place in self.places.values():
            place.settle(numbers)
        self.look()

    def look(self) -> None:
        """Works out `domain` from what is directly in here."""
        units: dict[Unit, int] = {}
        for leaf in self.leaves:
            units[leaf.bin] = units.get(leaf.bin, 0) + 1
        for place in self.places.values():
            units[place.domain] = units.get(place.domain, 0) + 1
        self.domain = Domain(self.rank, units, self.name)


@dataclass(frozen=True, slots=True)
class Survey:
    levels: tuple[tuple[str, str], ...]  # those that the cluster has, coarse to fine
    ladder: Ladder
    classes: tuple[NodeClass, ...]  # bins name them by index
    hidden: frozenset[str]
    demands: Demands  # for these classes
    top: Place  # the whole cluster
    leaves: Mapping[str, Leaf]  # by name
    gpus_total: int
    gpus_free: int
    nodes: int


@dataclass(frozen=True, slots=True)
class _Digest:
    """A node as far as its class and what it offers go."""

    node_class: NodeClass
    free: Resources
    shares: tuple[int, ...]
    path: tuple[tuple[int, str], ...]
    gpus: tuple[int, int]


def survey(nodes: Iterable[Node], levels: Levels = DEFAULT_LEVELS, *, exact: bool = False) -> Survey:
    return Surveyor(levels, exact=exact).survey(nodes)


class Surveyor:
    """Surveys again and again, at the cost of what changed since the last time. One for each cluster.

    The tree is kept: it stays true until the next survey, and nobody else may change it.
    """

    def __init__(self, levels: Levels = DEFAULT_LEVELS, *, exact: bool = False) -> None:
        self.levels = tuple(levels)
        self._exact = exact
        self._in_rare: dict[str, int] = dict.fromkeys((name for name, _ in levels if name in RARE_LEVELS), 0)  # nodes
        self._present = self._levels_present()
        self._ladder = Ladder.of(self._present)
        self._nodes: dict[str, Node] = {}
        self._digests: dict[str, _Digest] = {}
        self._values: dict[str, dict[str, int]] = {}  # of each label, how many nodes have which value
        self._hidden: frozenset[str] = frozenset()
        self._visible: tuple[str, ...] = ()
        self._classes: dict[object, NodeClass] = {}
        self._tree: _Tree | None = None

    def survey(self, nodes: Iterable[Node]) -> Survey:
        changed = self._take_in({node.name: node for node in nodes})
        if self._tree is None or not self._tree.take(changed, self._digests):
            digests = [(node, self._digest(node)) for _, node in sorted(self._nodes.items())]
            self._tree = _Tree(digests, self._ladder.top, self._hidden)
        tree = self._tree
        return Survey(
            self._present,
            self._ladder,
            tree.classes,
            self._hidden,
            tree.demands,
            tree.top,
            tree.leaves,
            *tree.gpus,
            len(tree.leaves),
        )

    def _take_in(self, nodes: dict[str, Node]) -> Sequence[Node]:
        """Learns what is new, forgets what is gone, and sees what labels that hides. Answers the nodes that changed."""
        known, self._nodes = self._nodes, nodes
        changed = [node for name, node in nodes.items() if known.get(name) is not node]
        came = sum(node.name not in known for node in changed)
        labels_changed = len(known) + came > len(nodes)  # some are gone
        for name in known.keys() - nodes.keys() if labels_changed else ():
            self._count_labels(known[name].labels, -1)
            self._count_rare(known[name].domains, -1)
            self._digests.pop(name, None)
        for node in changed:
            before = known.get(node.name)
            self._digests.pop(node.name, None)
            if before is None or (before.domains is not node.domains and before.domains != node.domains):
                self._count_rare(before.domains if before else {}, -1)
                self._count_rare(node.domains, 1)
                labels_changed = True
            if before is None or (before.labels is not node.labels and before.labels != node.labels):
                self._count_labels(before.labels if before else {}, -1)
                self._count_labels(node.labels, 1)
                labels_changed = True
        outgrown = len(self._classes) > _CLASSES_KEPT + 4 * len(nodes)  # of labels that change for ever
        if labels_changed or outgrown or self._tree is None:
            self._tree = None
            self._see_labels(outgrown)
        for node in changed:
            self._digest(node)
        return changed

    def _see_labels(self, outgrown: bool) -> None:
        hidden = frozenset() if self._exact else self._hidden_labels()
        visible = tuple(sorted(self._values.keys() - hidden))
        present = self._levels_present()
        if outgrown or (hidden, visible, present) != (self._hidden, self._visible, self._present):
            self._hidden, self._visible, self._present = hidden, visible, present
            self._ladder = Ladder.of(present)
            self._digests.clear()
            self._classes.clear()

    def _count_rare(self, domains: Mapping[str, str], times: int) -> None:
        for level in self._in_rare:
            if domains.get(level):
                self._in_rare[level] += times

    def _levels_present(self) -> tuple[tuple[str, str], ...]:
        return tuple((name, label) for name, label in self.levels if self._in_rare.get(name, 1))

    def _count_labels(self, labels: Mapping[str, str], times: int) -> None:
        for key, value in labels.items():
            counts = self._values.get(key)
            if counts is None:
                counts = self._values[key] = {}
            left = counts.get(value, 0) + times
            if left:
                counts[value] = left
                continue
            del counts[value]
            if not counts:
                del self._values[key]

    def _hidden_labels(self) -> frozenset[str]:
        """Those that name a domain or a node, or nearly so. A key may be hidden whether a node has it or not."""
        levels = {label for _, label in self.levels if not label.startswith(_SELECTED_ON)}
        return _NEVER_TOLD | levels | {key for key, counts in self._values.items() if _nearly_unique(counts)}

    def _digest(self, node: Node) -> _Digest:
        known = self._digests.get(node.name)
        if known is None:
            free, shares = offered(node)
            known = self._digests[node.name] = _Digest(
                node_class=self._class_of(node),
                free=free if self._exact else rounded(free),
                shares=shares,
                path=self._ladder.path(node.domains),
                gpus=gpus_of(node, free),
            )
        return known

    def _class_of(self, node: Node) -> NodeClass:
        """Equal classes are one object, found without sorting forty labels for each node."""
        mark = (tuple(map(node.labels.get, self._visible)), node.taints, node.devices, node.capacity)
        known = self._classes.get(mark)
        if known is None:
            labels = tuple((key, node.labels[key]) for key in self._visible if key in node.labels)
            made = NodeClass(
                labels,
                tuple(sorted(node.taints, key=_taint_order)),
                tuple(sorted(node.devices, key=_device_order)),
                node.capacity if self._exact else rounded(node.capacity),
            )
            known = self._classes[mark] = self._classes.setdefault(made, made)
        return known


class _Tree:
    """The named domains, kept while no node comes, goes, moves or becomes one of another class."""

    def __init__(self, digests: Collection[tuple[Node, _Digest]], top_rank: int, hidden: frozenset[str]) -> None:
        self.classes = tuple(sorted({digest.node_class for _, digest in digests}, key=class_order))
        self._index = {id(node_class): i for i, node_class in enumerate(self.classes)}
        self._bins: dict[tuple[int, Resources, tuple[int, ...]], Bin] = {}
        self._digests = {node.name: digest for node, digest in digests}
        self._surveys = 0
        self.demands = Demands(self.classes, hidden)
        self.top = Place(top_rank, "", None)
        self.leaves: dict[str, Leaf] = {}
        for node, digest in digests:
            place = _place_of(self.top, digest.path)
            leaf = self.leaves[node.name] = Leaf(node, self._bin(digest), place)
            place.leaves.append(leaf)
        self.top.settle(count())
        self.gpus = sum(digest.gpus[0] for _, digest in digests), sum(digest.gpus[1] for _, digest in digests)

    def take(self, changed: Iterable[Node], digests: Mapping[str, _Digest]) -> bool:
        """These nodes are not what they were. False where the tree must be made anew."""
        self._surveys += 1
        if self._surveys > _TREE_KEPT or len(self._bins) > _BINS_KEPT + 4 * len(self.leaves):
            return False
        stale: dict[int, Place] = {}
        for node in changed:
            digest, before = digests[node.name], self._digests.get(node.name)
            if before is None or digest.node_class is not before.node_class or digest.path != before.path:
                return False
            self._digests[node.name] = digest
            self.gpus = self.gpus[0] + digest.gpus[0] - before.gpus[0], self.gpus[1] + digest.gpus[1] - before.gpus[1]
            leaf = self.leaves[node.name]
            leaf.node, was = node, leaf.bin
            leaf.bin = self._bin(digest)
            place: Place | None = leaf.place if leaf.bin is not was else None
            while place is not None and id(place) not in stale:
                stale[id(place)] = place
                place = place.parent
        for place in sorted(stale.values(), key=lambda place: place.rank):
            place.look()
        return True

    def _bin(self, digest: _Digest) -> Bin:
        """Equal nodes are one bin, with all that it remembers."""
        mark = (self._index[id(digest.node_class)], digest.free, digest.shares)
        found = self._bins.get(mark)
        if found is None:
            found = self._bins[mark] = make_bin(mark[0], digest.node_class.capacity, digest.free, digest.shares)
        return found


def offered(node: Node) -> tuple[Resources, tuple[int, ...]]:
    """Exactly what pods may still take of the node, and the free units of each shared card, sorted.

    A node that is not ready offers nothing. Where a node gives out whole cards and shares of cards alike, a card that
    is free as a whole is not offered in shares, so that no card is offered twice.
    """
    if not node.ready:
        return NOTHING, ()
    free = {name: amount for name, amount in node.free.items() if amount > 0}
    whole = resource_of(node.devices, DeviceForm.WHOLE)
    if whole and node.gpus:
        free[whole] = min(free.get(whole, 0), sum(gpu.healthy and gpu.free for gpu in node.gpus))
    shares: tuple[int, ...] = ()
    for device in node.devices:
        if device.form is DeviceForm.SHARED_MEMORY:
            shares = _card_shares(node, whole)
            free[device.resource] = min(free.get(device.resource, 0), sum(shares))
    return Resources(free), shares


def gpus_of(node: Node, free: Resources) -> tuple[int, int]:
    """(all, free): cards and slices by amount; where memory is shared the cards, free while nobody has any of it.

    One device may be of several device classes: of those that are had by claim, the largest class counts.
    """
    claimed = [device.resource for device in node.devices if device.form is DeviceForm.DRA]
    total = max((node.capacity[name] for name in claimed), default=0)
    left = max((free[name] for name in claimed), default=0)
    forms = (DeviceForm.SHARED_MEMORY, DeviceForm.DRA)
    resources = {device.resource for device in node.devices if device.form not in forms}
    if not resources and len(node.devices) > len(claimed):
        left += sum(gpu.healthy and gpu.free for gpu in node.gpus) if node.ready else 0
        return total + sum(gpu.healthy for gpu in node.gpus), left
    return total + sum(node.capacity[name] for name in resources), left + sum(free[name] for name in resources)


def resource_of(devices: Iterable[DeviceClass], form: DeviceForm) -> str:
    """The resource that counts the node's cards in this form; "" where none does, or several do and none can tell."""
    found = {device.resource for device in devices if device.form is form}
    return found.pop() if len(found) == 1 else ""


def rounded(amounts: Resources) -> Resources:
    return Resources({name: _round_down(name, amount) for name, amount in amounts.items()})


def make_bin(node_class: int, capacity: Resources, free: Resources, shares: tuple[int, ...]) -> Bin:
    """A node that states no limit of pods takes any number, unless it offers nothing at all."""
    if free and PODS not in capacity:
        free = free + Resources({PODS: UNLIMITED})
    return Bin(node_class, free, shares)


def class_order(node_class: NodeClass) -> tuple[object, ...]:
    return (
        node_class.labels,
        tuple(_taint_order(taint) for taint in node_class.taints),
        tuple(_device_order(device) for device in node_class.devices),
        tuple(sorted(node_class.capacity.items())),
    )


def _nearly_unique(counts: Mapping[str, int]) -> bool:
    return len(counts) > _FEW_VALUES and len(counts) * _NODES_PER_VALUE > sum(counts.values())


def _place_of(top: Place, path: Iterable[tuple[int, str]]) -> Place:
    """A rack is itself only within its zone: two racks of one name in two zones are two."""
    place = top
    for rank, name in path:
        inner = place.places.get((rank, name))
        if inner is None:
            inner = place.places[rank, name] = Place(rank, name, place)
        place = inner
    return place


def _card_shares(node: Node, whole: str) -> tuple[int, ...]:
    if not resource_of(node.devices, DeviceForm.SHARED_MEMORY):
        return ()
    return tuple(sorted(max(gpu.free_share, 0) for gpu in node.gpus if gpu.healthy and not (whole and gpu.free)))


def _round_down(name: str, amount: int) -> int:
    for least, step in _ROUNDING.get(name, ()):
        if amount >= least:
            return amount - amount % step
    return amount


def _taint_order(taint: Taint) -> tuple[str, str, str]:
    return taint.key, taint.value, taint.effect


def _device_order(device: DeviceClass) -> tuple[object, ...]:
    return device.resource, device.vendor, device.product, device.memory_mib, device.form.value, device.share_unit_mib
