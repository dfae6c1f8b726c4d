"""Which objects of a file travel with which of its workloads.

With one workload, all of them. With several, each goes with every workload that uses it: names it in a pod, is
selected by it, or is scaled by it; what a ServiceAccount names goes with the account, and what serves a Dataset with
the Dataset. What nobody uses stays behind, and every workload says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from placement.kinds import fields, paths, places, references
from placement.kinds.catalogue import Catalogue
from placement.kinds.constraints import label_selector_matches
from placement.kinds.identity import Identity
from placement.workload import Brought, Reference, Workload

DATASET = "Dataset"  # Fluid's
_FLUID = "data.fluid.io/"


@dataclass(frozen=True, slots=True)
class Dependency:
    identity: Identity
    obj: dict[str, Any]


@dataclass(frozen=True, slots=True)
class User:
    workload: Workload
    manifest: Mapping[str, Any]
    labels: Sequence[Mapping[str, str]]  # of each role's pods


@dataclass(frozen=True, slots=True)
class Share:
    workload: Workload  # its references without what travels along
    objects: tuple[dict[str, Any], ...]  # in the file's order


def shared_out(users: Sequence[User], others: Sequence[Dependency], catalogue: Catalogue) -> tuple[Share, ...]:
    """One share per user, in order."""
    if len(users) == 1:
        return (_share(users[0], others, (), catalogue),)
    used = [_used_by(user, others) for user in users]
    everywhere = {id(each) for share in used for each in share}
    idle = [each for each in others if id(each) not in everywhere]
    return tuple(_share(user, mine, idle, catalogue) for user, mine in zip(users, used, strict=True))


def _share(user: User, mine: Sequence[Dependency], idle: Iterable[Dependency], catalogue: Catalogue) -> Share:
    home = user.workload.namespace
    held = {(each.identity.kind, each.identity.name) for each in mine if each.identity.namespace == home}
    # Fluid makes a claim of a Dataset's name.
    held |= {(places.CLAIM_KIND, name) for kind, name in held if kind == DATASET}
    left = tuple(
        each
        for each in user.workload.references
        if each.namespace not in ("", home) or (each.kind, each.name) not in held
    )
    warnings = user.workload.warnings + tuple(
        f"{each.identity.kind} {each.identity.namespace}/{each.identity.name} is used by no workload of the file"
        " and is not applied; what configures clusters goes by muster distribute"
        for each in idle
    )
    claims = (name for kind, name in held if kind == places.CLAIM_KIND)
    data = places.without_claims(user.workload.data, user.workload.namespace, claims)
    brings = tuple(one for each in mine if (one := _brought(each.identity, catalogue)) is not None)
    workload = replace(user.workload, references=left, data=data, warnings=warnings, brings=brings)
    return Share(workload, tuple(each.obj for each in mine))


def _brought(who: Identity, catalogue: Catalogue) -> Brought | None:
    """Of what every cluster serves nothing need be said."""
    known = catalogue.dependency(who.api_version, who.kind)
    if known is None or not known.installed:
        return None
    return Brought(f"{who.api_version}/{who.kind}", who.name, known.installed == "needed")


def _used_by(user: User, others: Sequence[Dependency]) -> list[Dependency]:
    named = set(user.workload.references)
    for each in others:
        if each.identity.kind == "ServiceAccount" and Reference("ServiceAccount", each.identity.name) in named:
            named.update(references.of_service_account(each.obj))
    home = user.workload.namespace
    near = [each for each in others if each.identity.namespace == home]
    meant = {id(each) for each in near if _is_named(each.identity, named, home) or _reaches(each, user, others)}
    used = [each for each in near if id(each) in meant]
    datasets = {each.identity.name for each in used if each.identity.kind == DATASET}
    services = [each.obj for each in used if each.identity.kind == "Service"]
    meant |= {id(each) for each in near if _serves(each, datasets) or _watches(each, services)}
    return [each for each in near if id(each) in meant]


def _is_named(who: Identity, named: set[Reference], home: str) -> bool:
    kind = places.CLAIM_KIND if who.kind == DATASET else who.kind
    return bool({Reference(kind, who.name), Reference(kind, who.name, home)} & named)


def _serves(dependency: Dependency, datasets: set[str]) -> bool:
    """Fluid's runtimes have the name of the Dataset that they serve."""
    who = dependency.identity
    return who.api_version.startswith(_FLUID) and who.kind.endswith("Runtime") and who.name in datasets


def _watches(dependency: Dependency, services: Sequence[Mapping[str, Any]]) -> bool:
    if dependency.identity.kind != "ServiceMonitor":
        return False
    selector = paths.find(dependency.obj, ("spec", "selector"))
    labels = (paths.find(service, ("metadata", "labels")) for service in services)
    return isinstance(selector, dict) and any(
        label_selector_matches(selector, each if isinstance(each, dict) else {}) for each in labels
    )


def _reaches(dependency: Dependency, user: User, others: Sequence[Dependency]) -> bool:
    """Whether an object that names its workload, and not the other way round, means this one."""
    obj = dependency.obj
    match dependency.identity.kind:
        case "Service":
            selector = paths.find(obj, ("spec", "selector"))
            by_name = paths.find(user.manifest, ("spec", "serviceName")) == dependency.identity.name
            return by_name or (bool(selector) and _selects({"matchLabels": selector}, user))
        case "Ingress":
            behind = set(_services_of(obj))
            return any(
                one.identity.kind == "Service" and one.identity.name in behind and _reaches(one, user, others)
                for one in others
                if one.identity.namespace == dependency.identity.namespace
            )
        case "PodDisruptionBudget" | "PodMonitor":
            return _selects(paths.find(obj, ("spec", "selector")), user)
        case "NetworkPolicy":
            return _selects(paths.find(obj, ("spec", "podSelector")), user)
        case "HorizontalPodAutoscaler":
            target = paths.find(obj, ("spec", "scaleTargetRef"))
            wanted = (user.workload.kind, user.workload.name)
            return isinstance(target, dict) and (target.get("kind"), target.get("name")) == wanted
        case _:
            return False


def _services_of(ingress: Mapping[str, Any]) -> Iterator[str]:
    """Those that an Ingress leads to."""
    spec = ingress.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    rules = fields.dicts(spec.get("rules"))
    found = [path for rule in rules for path in fields.dicts(paths.find(rule, ("http", "paths")))]
    backends = [spec.get("defaultBackend"), *(path.get("backend") for path in found)]
    names = (paths.find(one, ("service", "name")) for one in backends)
    yield from (name for name in names if isinstance(name, str))


def _selects(selector: Any, user: User) -> bool:
    return isinstance(selector, dict) and any(label_selector_matches(selector, labels) for labels in user.labels)
