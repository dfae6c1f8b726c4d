"""What people do with datasets: look, declare, change, delete. Those of one file are saved together or not at all.

A declaration is refused where it names what nobody knows (a cluster, a region), or says what cannot be (a residency
that no cluster meets, a replica outside it), unless forced: a region may be known before its first cluster joins.
Everybody's datasets are the admins' to declare; a tenant's own are its submitters' too, and nobody else sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace

from sqlalchemy.orm import Session

from hub.errors import ConflictError, Forbidden, Invalid, NotFound
from hub.federation import Federation
from hub.records import Actor, UserRole
from hub.roles import no_viewers
from hub.store import datasets
from hub.store.store import Store
from placement.data import Dataset, Replica
from placement.kinds.problems import Problem, did_you_mean

MAX_DATASETS = 100_000


class Datasets:
    def __init__(self, store: Store, federation: Federation) -> None:
        self._store = store
        self._federation = federation

    async def list(self, actor: Actor, *, learned: bool = False) -> Sequence[Dataset]:
        """What the actor may use, by name; of what was learned only where asked."""
        found = await self._store.read(lambda session: datasets.visible(session, actor, learned=learned))
        return sorted((self._now(one) for one in found), key=lambda one: (one.learned, one.name, one.tenant))

    async def show(self, actor: Actor, name: str, *, tenant: str | None = None) -> Dataset:
        """The actor's own comes before everybody's. Raises NotFound."""
        found = [one for one in await self.list(actor, learned=True) if one.name == name]
        wanted = (actor.tenant, "") if tenant is None else (tenant,)
        for owner in wanted:
            for one in found:
                if one.tenant == owner:
                    return one
        if tenant is None and len(found) == 1:
            return found[0]  # another tenant's, which an admin sees
        close = did_you_mean(name, [one.name for one in await self.list(actor)])
        raise NotFound(
            f"there is no dataset {name!r}",
            code="no-such-dataset",
            mend=f"did you mean {close!r}?" if close else "muster dataset list shows them",
        )

    async def create(self, actor: Actor, dataset: Dataset, *, force: bool = False) -> Dataset:
        """Raises Forbidden, ConflictError, Invalid."""
        if dataset.key in self._federation.data.datasets:
            self.check(actor, [dataset], force=True)  # whose it is comes before whether it is there
            raise ConflictError(
                f"there is a dataset {dataset.name} already",
                code="dataset-exists",
                mend=f"muster dataset edit {dataset.name} changes it",
            )
        return (await self.put(actor, [dataset], force=force))[0]

    async def put(
        self,
        actor: Actor,
        changed: Sequence[Dataset],
        *,
        force: bool = False,
        forget_copies: bool = False,
        regions: Set[str] = frozenset(),
    ) -> Sequence[Dataset]:
        """Makes them, or puts them in the place of those of the same names and tenants. What was copied stays known.
        `regions`: more than the hub knows yet.

        Raises Forbidden, Invalid; then none of them counts.
        """
        self.check(actor, changed, force=force, regions=regions)

        def write(session: Session) -> None:
            known = {} if forget_copies else datasets.some(session, [one.key for one in changed])
            datasets.save(session, [_with_copies(one, known.get(one.key)) for one in changed])

        await self._store.write(write)
        return [self._now(one) for one in changed]

    def check(
        self,
        actor: Actor,
        changed: Sequence[Dataset],
        *,
        force: bool = False,
        regions: Set[str] = frozenset(),
    ) -> None:
        """Raises Forbidden, Invalid."""
        for one in changed:
            _may_change(actor, one)
        known = self._federation.regions.union(regions, *(one.residency for one in changed))
        problems = [problem for one in changed for problem in self._problems(actor, one, known, force=force)]
        if len(self._federation.data.datasets) + len(changed) > MAX_DATASETS:
            problems.append(Problem(0, "", f"there would be more than {MAX_DATASETS} datasets", "delete some first"))
        if problems:
            first = problems[0]
            raise Invalid(f"{first.path}: {first.message}", code="invalid-dataset", mend=first.mend, problems=problems)

    async def delete(self, actor: Actor, name: str, *, tenant: str | None = None) -> None:
        """Nothing that was copied is deleted. Raises Forbidden, NotFound."""
        known = await self.show(actor, name, tenant=tenant)
        _may_change(actor, known)
        await self._store.write(lambda session: datasets.forget(session, [known.key]))

    def _now(self, dataset: Dataset) -> Dataset:
        """With the regions of the clusters that its replicas lie in."""
        return self._federation.data.datasets.get(dataset.key, dataset)

    def _problems(self, actor: Actor, one: Dataset, regions: Set[str], *, force: bool) -> Iterator[Problem]:
        if one.size_bytes < 0:
            yield _problem(one, "size", f"it is {one.size_bytes}", "give 0 bytes or more")
        if not one.replicas:
            yield _problem(one, "replicas", "there is none", "name a place that it can be read from")
        for number, replica in enumerate(one.replicas):
            path = f"replicas[{number}]"
            yield from _malformed(one, replica, path, one.replicas[:number])
            if replica.uri.startswith("file:") and actor.role is not UserRole.ADMIN:
                message = f"{replica.uri!r} is a file of a machine, which only an admin may declare"
                yield _problem(one, f"{path}.uri", message, "name an object store or a claim, or ask an admin")
            if not force:
                yield from self._unknown(one, replica, path, regions)
        if not force and one.residency:
            yield from self._residency(one)

    def _unknown(self, one: Dataset, replica: Replica, path: str, regions: Set[str]) -> Iterator[Problem]:
        members = self._federation.members
        region = members.get(replica.cluster, "") if replica.cluster else replica.region
        if replica.cluster and replica.cluster not in members:
            yield _problem(
                one, f"{path}.cluster", f"there is no cluster {replica.cluster!r}", _known(replica.cluster, members)
            )
        elif not replica.cluster and replica.region and replica.region not in regions:
            yield _problem(
                one, f"{path}.region", f"nobody knows a region {replica.region!r}", _known(replica.region, regions)
            )
        elif one.residency and region not in one.residency:
            message = f"it lies in {region or 'no region'}, and the residency is {', '.join(one.residency)}"
            yield _problem(one, f"{path}", message, "take the replica out, or add its region to the residency")

    def _residency(self, one: Dataset) -> Iterator[Problem]:
        members = self._federation.members
        if not any(region in one.residency for region in members.values()):
            where = ", ".join(sorted({region for region in members.values() if region})) or "nowhere"
            message = f"no cluster is in {' or '.join(one.residency)}: no job could read it"
            yield _problem(one, "residency", message, f"the clusters are in: {where}; --force declares it all the same")


def _with_copies(declared: Dataset, known: Dataset | None) -> Dataset:
    """What Muster copied stays known, while the size says that it is the same data."""
    if known is None or known.size_bytes != declared.size_bytes:
        return declared
    there = {(one.cluster, one.uri) for one in declared.replicas}
    copies = tuple(one for one in known.replicas if one.copied and (one.cluster, one.uri) not in there)
    return replace(declared, replicas=(*declared.replicas, *copies))


def _malformed(one: Dataset, replica: Replica, path: str, earlier: Sequence[Replica]) -> Iterator[Problem]:
    if bool(replica.cluster) == bool(replica.region):
        said = "both cluster and region" if replica.cluster else "neither cluster nor region"
        yield _problem(one, path, f"it has {said}", "give the cluster whose storage it lies in, or the store's region")
    elif replica in earlier:
        yield _problem(one, path, "it is there twice", "leave one of them out")
    scheme, separator, rest = replica.uri.partition("://")
    if replica.in_claim:
        if not replica.cluster or len([part for part in rest.split("/") if part]) < 2:
            yield _problem(
                one,
                f"{path}.uri",
                f"{replica.uri!r} is no claim of a cluster",
                "write pvc://namespace/claim, with the cluster",
            )
    elif replica.uri and not (separator and scheme.isascii() and scheme[:1].isalpha() and rest):
        yield _problem(one, f"{path}.uri", f"{replica.uri!r} is no URI", "write s3://bucket/prefix, for instance")
    elif not replica.uri and not replica.cluster:
        yield _problem(one, f"{path}.uri", "it is missing", "say where in the region: s3://bucket/prefix, for instance")


def _problem(one: Dataset, field: str, message: str, mend: str) -> Problem:
    return Problem(0, f"{one.name}.{field}", message, mend)


def _known(given: str, known: Iterable[str]) -> str:
    names = sorted(name for name in known if name)
    close = did_you_mean(given, names)
    listed = f"known: {', '.join(names[:20])}" if names else "there is none yet"
    return (f"did you mean {close!r}? " if close else "") + f"{listed}; --force takes it all the same"


def _may_change(actor: Actor, dataset: Dataset) -> None:
    if actor.role is UserRole.ADMIN:
        return
    no_viewers(actor, "change datasets")
    if dataset.tenant != actor.tenant:
        owner = f"tenant {dataset.tenant}'s" if dataset.tenant else "everybody's"
        raise Forbidden(
            f"dataset {dataset.name} would be {owner}, and {actor.user} is of tenant {actor.tenant}",
            code="not-your-tenant",
            mend="leave the tenant out, or ask an admin",
        )
