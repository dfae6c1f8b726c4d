"""Where named data lies, where it may go, and what has to be copied before a job can start in a cluster.

A replica lies in a cluster's own storage (a claim, that only pods of its namespace there can mount), or in an object
store of a region, which every cluster of that region reads in place. What a cluster cannot read is copied into a claim
of it, from the replica that costs least to copy from; claims themselves can be copied from by nobody outside. A store
that the manifest names itself (`s3://…` in its arguments) is read where it lies, from afar too: that costs as much and
takes as long as copying it. Residency is a filter that no score can outbid: a dataset that must stay in some regions is
never read from a cluster elsewhere, not even in part.

A tenant's dataset is known to that tenant alone, and comes before everybody's of the same name.

Not promised: that a replica is what it was declared to be; nothing here looks at bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from placement.transfers import NO_MOVE, Move, Transfers
from placement.workload import DataUse, Workload

# What a checkpoint is worth that lies in another cluster's claim: its job begins again, and does so much once more.
# A guess: nobody tells how far it was. It decides between places of about the same price.
BEGIN_AGAIN_H = 1.0
CLAIM = "pvc://"  # pvc://namespace/claim, and perhaps a directory in it


@dataclass(frozen=True, slots=True)
class Replica:
    """A copy. `cluster` is "" where it lies in an object store; `uri` says where, "" where only the cluster knows."""

    region: str  # "" where nobody knows it: it is near nothing then
    cluster: str = ""
    uri: str = ""
    copied: bool = False  # by Muster, before a job: declared by nobody

    @property
    def in_claim(self) -> bool:
        return self.uri.startswith(CLAIM)


@dataclass(frozen=True, slots=True)
class Dataset:
    """`residency`: the regions that it must not leave; () where it may go anywhere."""

    name: str
    size_bytes: int
    replicas: tuple[Replica, ...]
    residency: tuple[str, ...] = ()
    tenant: str = ""  # "" for everybody's
    learned: bool = False  # read off what clusters have, not declared by a person
    secret: str = ""  # the name of a Secret beside the job, which holds what reading the stores takes

    @property
    def key(self) -> str:
        """Its name among all datasets: tenants may use one name each."""
        return f"{self.tenant}/{self.name}" if self.tenant else self.name


@dataclass(frozen=True, slots=True)
class DataMove:
    """One dataset copied into a cluster before a job starts there, or (`place` is "") read by it from afar, or, of a
    checkpoint in a claim, left behind."""

    dataset: str  # key
    size_bytes: int
    source: Replica
    target: str  # cluster
    usd: float
    hours: float
    place: str = ""  # pvc://namespace/claim: where it is copied to
    secret: str = ""

    @property
    def name(self) -> str:
        """As people call it."""
        return self.dataset if "://" in self.dataset else self.dataset.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class DataPlace:
    """Where a workload finds a dataset that it names."""

    name: str
    uri: str
    writes: bool  # its checkpoints


@dataclass(frozen=True, slots=True)
class DataCatalog:
    """Datasets by key. A URI is found by the longest dataset whose replica it lies in."""

    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    told: frozenset[str] = (
        frozenset()
    )  # clusters that have said what they hold: what was learned is known of them alone
    _places: Mapping[str, tuple[Dataset, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places: dict[str, tuple[Dataset, ...]] = {}
        for dataset in self.datasets.values():
            _add_places(places, dataset)
        object.__setattr__(self, "_places", places)

    def after(self, changed: Iterable[Dataset], gone: Iterable[str], told: frozenset[str]) -> DataCatalog:
        """With new or changed datasets in the place of those of the same keys. Costs little for each that stays."""
        datasets, places = dict(self.datasets), dict(self._places)
        changed = tuple(changed)
        for key in (*gone, *(one.key for one in changed)):
            if (before := datasets.pop(key, None)) is not None:
                _remove_places(places, before)
        for one in changed:
            datasets[one.key] = one
            _add_places(places, one)
        made = DataCatalog()
        for name, value in (("datasets", datasets), ("told", told), ("_places", places)):
            object.__setattr__(made, name, value)
        return made

    def find(self, use: DataUse) -> Dataset | None:
        """None where nothing is known of it to the tenant that uses it."""
        if not use.is_place:
            own = self.datasets.get(f"{use.tenant}/{use.name}") if use.tenant else None
            return own or self.datasets.get(use.name)
        for place in _holders(use.name):
            for dataset in self._places.get(place, ()):
                if dataset.tenant in ("", use.tenant):
                    return dataset
        return None

    def used_by(self, workload: Workload) -> tuple[Dataset, ...]:
        """Each known dataset once, in the workload's order."""
        found = (self.find(use) for use in workload.data)
        return tuple(dict.fromkeys(dataset for dataset in found if dataset is not None))

    def matters(self, workload: Workload) -> object:
        """Equal for workloads whose data is the same to every decision: places that nobody knows are no data at all."""
        found = [(use, self.find(use)) for use in workload.data]
        known = tuple((use, dataset) for use, dataset in found if dataset is not None or not use.is_place)
        if not known:
            return None
        learned = any(dataset is not None and dataset.learned for _, dataset in known)
        return (workload.namespace, known, self.told if learned else None)


def is_local(use: DataUse, dataset: Dataset, cluster: str, region: str, namespace: str) -> bool:
    """Whether pods of that namespace of the cluster can read it as it is."""
    return readable(use, dataset, cluster, region, namespace) is not None


def readable(use: DataUse, dataset: Dataset, cluster: str, region: str, namespace: str) -> Replica | None:
    """The replica that they read: the cluster's own before a store's."""
    fitting = [one for one in dataset.replicas if _reads(use, one, cluster, region, namespace)]
    return min(fitting, key=lambda one: (not one.cluster, one.uri), default=None)


def may_be_in(dataset: Dataset, region: str) -> bool:
    return not dataset.residency or region in dataset.residency


def out_of_reach(catalog: DataCatalog, workload: Workload, cluster: str, region: str) -> Iterator[Dataset]:
    """What that cluster neither has nor can get: it lies in claims of others alone.

    A checkpoint is not among them: a job rather begins again than waits for the cluster that it ran on.
    """
    for use, dataset in _needed(catalog, workload, cluster, region):
        if dataset.replicas and not use.checkpoint and all(one.in_claim for one in dataset.replicas):
            yield dataset


def needed_moves(
    catalog: DataCatalog, workload: Workload, cluster: str, region: str, transfers: Transfers
) -> tuple[DataMove, ...]:
    """What must be copied into the cluster, or read from afar; each dataset once. `hours` are each move's own."""
    if not workload.data:
        return ()
    found: dict[str, DataMove] = {}
    for use, dataset in _needed(catalog, workload, cluster, region):
        place = place_of(use, dataset, workload.namespace)
        known = found.get(dataset.key)
        if known is not None and (known.place or not place):
            continue
        sources = [one for one in dataset.replicas if not one.in_claim]
        if use.checkpoint and not sources and dataset.replicas:
            lost = min(dataset.replicas, key=lambda one: (one.cluster, one.uri))
            found[dataset.key] = DataMove(dataset.key, 0, lost, cluster, 0.0, BEGIN_AGAIN_H)
        elif sources:
            source, move = _cheapest(dataset.size_bytes, sources, region, transfers)
            found[dataset.key] = DataMove(
                dataset.key, dataset.size_bytes, source, cluster, move.usd, move.hours, place, dataset.secret
            )
    return tuple(found.values())


def place_of(use: DataUse, dataset: Dataset, namespace: str) -> str:
    """Where in a cluster it is copied to for that use; "" where the workload reads a store itself.

    The claim that the manifest mounts, where it mounts one; otherwise one that is named after the dataset.
    """
    if use.name.startswith(CLAIM):
        return claim_of(use)
    if use.checkpoint:
        return ""  # a copy would be written to, and what lies in the store would be an older one
    return "" if use.is_place else f"{CLAIM}{namespace}/dataset-{dataset.key.replace('/', '.').replace('_', '-')}"


def places(
    catalog: DataCatalog, workload: Workload, cluster: str, region: str, moves: Iterable[DataMove]
) -> tuple[DataPlace, ...]:
    """Of each dataset that the workload calls by its name. What only the cluster knows the place of is not told."""
    moves = tuple(moves)
    brought = {move.dataset: move.place for move in moves if move.place}
    read = {move.dataset: move.source.uri for move in moves}  # from afar
    found = []
    for use in workload.data:
        dataset = None if use.is_place else catalog.find(use)
        if dataset is not None:
            replica = readable(use, dataset, cluster, region, workload.namespace)
            uri = brought.get(dataset.key, "")
            if use.checkpoint or not uri:
                uri = replica.uri if replica is not None else read.get(dataset.key, "")
            if uri:
                found.append(DataPlace(use.name, uri, use.checkpoint))
    return tuple(found)


def claim_of(use: DataUse) -> str:
    """The whole claim, where the use is of a directory in one."""
    return "/".join(use.name.split("/")[:4])


def total(moves: Iterable[DataMove]) -> Move:
    """One after the other: they share the way into the cluster."""
    usd = hours = 0.0
    for move in moves:
        usd += move.usd
        hours += move.hours
    return Move(usd, hours) if usd or hours else NO_MOVE


def _needed(catalog: DataCatalog, workload: Workload, cluster: str, region: str) -> Iterator[tuple[DataUse, Dataset]]:
    """Claims that it mounts come first, then what it names: either makes a copy that serves the rest."""
    for use in sorted(workload.data, key=lambda one: (not one.name.startswith(CLAIM), one.is_place)):
        dataset = catalog.find(use)
        if dataset is None or (dataset.learned and not use.checkpoint and cluster not in catalog.told):
            continue
        if use.name.startswith(CLAIM) and not use.name.startswith(f"{CLAIM}{workload.namespace}/"):
            continue  # none that its pods could mount, and none of its to be filled
        if not is_local(use, dataset, cluster, region, workload.namespace):
            yield use, dataset


def _reads(use: DataUse, replica: Replica, cluster: str, region: str, namespace: str) -> bool:
    if use.checkpoint and replica.copied:
        return False
    if replica.in_claim:
        if use.name.startswith(CLAIM):
            return replica.cluster == cluster and lies_in(use.name, replica.uri)
        return replica.cluster == cluster and replica.uri.startswith(f"{CLAIM}{namespace}/")
    if use.name.startswith(CLAIM):
        return False  # it reads the claim that it mounts, and nothing else
    return replica.cluster == cluster if replica.cluster else bool(region) and replica.region == region


def _cheapest(size_bytes: int, sources: Iterable[Replica], region: str, transfers: Transfers) -> tuple[Replica, Move]:
    priced = [(replica, transfers.move(size_bytes, replica.region, region)) for replica in sources]
    return min(priced, key=lambda each: (each[1].usd, each[1].hours, each[0].region, each[0].cluster, each[0].uri))


def lies_in(place: str, holder: str) -> bool:
    """`s3://bucket/a/b` lies in `s3://bucket/a`, and `s3://bucket/ab` does not."""
    inner, outer = place.rstrip("/"), holder.rstrip("/")
    return inner == outer or inner.startswith(outer + "/")


def _holders(place: str) -> Iterator[str]:
    """The place and all that it lies in, from the longest to the shortest."""
    scheme, _, path = place.rstrip("/").partition("://")
    while path:
        yield f"{scheme}://{path}"
        path = path.rpartition("/")[0]


def _uris(dataset: Dataset) -> set[str]:
    return {replica.uri.rstrip("/") for replica in dataset.replicas if replica.uri}


def _add_places(places: dict[str, tuple[Dataset, ...]], dataset: Dataset) -> None:
    """What somebody declared is truer than what was learned, and a tenant's own comes first."""
    for uri in _uris(dataset):
        places[uri] = tuple(sorted((*places.get(uri, ()), dataset), key=_preference))


def _remove_places(places: dict[str, tuple[Dataset, ...]], dataset: Dataset) -> None:
    for uri in _uris(dataset):
        left = tuple(one for one in places[uri] if one.key != dataset.key)
        if left:
            places[uri] = left
        else:
            del places[uri]


def _preference(dataset: Dataset) -> tuple[bool, bool, str]:
    return (dataset.learned, not dataset.tenant, dataset.name)
