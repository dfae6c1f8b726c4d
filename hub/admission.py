"""What the hub does not let into a cluster, whoever's manifest it is and however well it reads.

Nothing goes into the namespaces that a cluster itself lives in, and nothing into another namespace than its workload's.
What a tenant's submitters may have besides is its policy's to say (docs/tenancy.md): which namespaces, which kinds, and
what its pods may ask of the machine under them. Admins are held to none of it here. Every cluster's spoke judges anew,
by a policy that the hub cannot change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hub.records import Actor, Object, UserRole
from placement.kinds.catalogue import Catalogue
from placement.kinds.problems import Problem
from placement.safety import policy, reading
from placement.safety.borders import SCHEDULERS
from placement.safety.footprint import Footprint
from placement.safety.patterns import any_matches
from placement.safety.policy import is_reserved
from placement.safety.reading import Reading
from placement.safety.tenants import Tenant, Tenants
from placement.workload import Workload

# Its own scheduler is what Muster's takes the place of.
_OWN_SCHEDULERS = {"batch.volcano.sh": "volcano"}


class Submission(Protocol):
    """A workload as read from a file, with the objects it consists of."""

    @property
    def workload(self) -> Workload: ...
    @property
    def manifest(self) -> Object: ...
    @property
    def dependencies(self) -> Sequence[Object]: ...


@dataclass(frozen=True, slots=True)
class Admitted:
    """`problems`: why the actor may not submit it; none where they may. They name the object, not its document."""

    problems: tuple[Problem, ...]
    footprint: Footprint = Footprint()


def admit(submission: Submission, actor: Actor, tenants: Tenants, catalogue: Catalogue) -> Admitted:
    found = footprint_of(submission, catalogue)
    problems = list(_namespaces(submission))
    if actor.role is not UserRole.ADMIN:
        problems += _of_tenant(submission.workload, tenants.of(actor.tenant), found)
    return Admitted(tuple(problems), found)


def footprint_of(submission: Submission, catalogue: Catalogue) -> Footprint:
    workload = submission.workload
    own = _OWN_SCHEDULERS.get(workload.api_version.rpartition("/")[0])
    schedulers = SCHEDULERS | {own} if own else SCHEDULERS
    objects = (*submission.dependencies, submission.manifest)
    return reading.footprint(objects, catalogue, Reading(workload.namespace, schedulers=schedulers))


def home_of(actor: Actor, tenants: Tenants) -> str:
    """For manifests that name no namespace; "" where the tenant has none."""
    home = tenants.of(actor.tenant).home
    return home or ("default" if actor.role is UserRole.ADMIN else "")


def _namespaces(submission: Submission) -> Iterator[Problem]:
    workload = submission.workload
    if is_reserved(workload.namespace):
        yield _reserved(_called(workload.kind, workload.name), workload.namespace)
    for one in submission.dependencies:
        metadata = _mapping(one.get("metadata"))
        namespace = metadata.get("namespace") or workload.namespace
        what = _called(one.get("kind"), metadata.get("name"))
        if namespace == workload.namespace:
            continue  # said of the workload already, where it is a reserved one
        if is_reserved(str(namespace)):
            yield _reserved(what, str(namespace))
        else:
            message = f"{what} is in the namespace {namespace}, its workload {workload.name} in {workload.namespace}"
            yield Problem(0, "metadata.namespace", message, f"say {workload.namespace}, or submit it by other means")


def _reserved(what: str, namespace: str) -> Problem:
    message = f"{what} is in the namespace {namespace}, which belongs to the cluster itself"
    return Problem(0, "metadata.namespace", message, "choose a namespace of your own")


def _of_tenant(workload: Workload, tenant: Tenant, found: Footprint) -> Iterator[Problem]:
    what, where = _called(workload.kind, workload.name), workload.namespace
    if not is_reserved(where) and not any_matches(tenant.namespaces, where):
        own = f"its own: {', '.join(tenant.namespaces)}" if tenant.namespaces else "it has none"
        mend = f"{own}; an admin gives it others (muster tenant set {tenant.name} --namespace {where})"
        yield Problem(0, "metadata.namespace", f"{what} is in the namespace {where}, not tenant {tenant.name}'s", mend)
    for one in policy.refusals(tenant.policy, found):
        if one.path == "metadata.namespace":
            continue  # said above, of the workload and of what travels along
        mend = one.mend if one.path == "kind" else f"{one.mend}, or ask an admin for an exemption"
        yield Problem(0, one.path, f"{one.message} (tenant {tenant.name})", mend)


def _called(kind: object, name: object) -> str:
    return f"{kind} {name}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
