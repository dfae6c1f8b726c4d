"""Devices that a workload's pods ask for by claim (Dynamic Resource Allocation), as far as its file tells.

A pod names a ResourceClaimTemplate, of which its cluster makes a claim for each pod, or a ResourceClaim, which pods
share. What a template of the same file asks is counted like any device, `dra/CLASS`, so that the hub places by it. Not
counted, and said so: a template that is only in the cluster, a request that takes one of several classes, and what
selectors narrow down. The spoke, which sees the devices, has the last word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from placement.dra import names, requests
from placement.dra.requests import ClaimRefused, ClaimSpec, Request
from placement.dra.selectors import shown, unreadable
from placement.kinds import devices, fields, roles
from placement.kinds.catalogue import Catalogue
from placement.kinds.fields import Object, join
from placement.kinds.problems import Findings
from placement.resources import Resources
from placement.workload import DeviceNeed, Role, Workload

TEMPLATE, CLAIM = "ResourceClaimTemplate", "ResourceClaim"
_FIELDS = (("resourceClaimTemplateName", TEMPLATE), ("resourceClaimName", CLAIM))


@dataclass(frozen=True, slots=True)
class ClaimUse:
    """One entry of a pod's `resourceClaims`."""

    name: str
    kind: str  # TEMPLATE | CLAIM
    object: str


def uses(template: Object) -> tuple[ClaimUse, ...]:
    """Of a pod template. Wrong entries are passed over."""
    spec = template.get("spec")
    return of_pod(spec) if isinstance(spec, dict) and "resourceClaims" in spec else ()


def of_pod(spec: Object) -> tuple[ClaimUse, ...]:
    return tuple(
        ClaimUse(str(entry.get("name", "")), kind, entry[key])
        for entry in fields.dicts(spec.get("resourceClaims"))
        for key, kind in _FIELDS
        if isinstance(entry.get(key), str) and entry[key]
    )


def check_pod(found: Findings, spec: Object, path: str) -> None:
    for at, entry in fields.items(found, spec, path, "resourceClaims"):
        named = [key for key, _ in _FIELDS if entry.get(key)]
        if len(named) != 1:
            found.error(at, f"names {len(named)} claims", "give resourceClaimTemplateName or resourceClaimName")


def check_object(found: Findings, kind: str, obj: Object) -> None:
    """A claim or a template that travels along: what Muster could not allocate is refused before anything runs."""
    spec, at = (obj.get("spec") or {}), "spec"
    if kind == TEMPLATE and isinstance(spec, dict):
        spec, at = (spec.get("spec") or {}), "spec.spec"
    try:
        asked = requests.read(spec)
    except ClaimRefused as error:
        message, _, mend = str(error).rpartition("; ")
        found.error(join(at, "devices"), message or str(error), mend or "change the request")
        return
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found.error(join(at, "devices"), f"is no claim of devices ({error})", "see kubectl explain resourceclaim.spec")
        return
    for alternative in (each for request in asked.requests for each in request.alternatives):
        for selector in alternative.selectors:
            if why := unreadable(selector):
                message = f"request {alternative.name}: the selector {shown(selector)} cannot be evaluated: {why}"
                found.error(join(at, "devices"), message, "write it with the functions listed in docs/devices.md")


def by_role(objects: Sequence[Object], catalogue: Catalogue) -> Mapping[str, tuple[ClaimSpec, ...]]:
    """What each pod of a role will claim, from rendered objects (the workload last): templates that travel along."""
    workload, others = objects[-1], [obj for obj in objects[:-1] if obj["kind"] == TEMPLATE]
    kind = catalogue.find(workload["apiVersion"], workload["kind"])
    if kind is None or not others:
        return {}
    namespace = workload["metadata"].get("namespace", "")
    found = {}
    for role in roles.shape(kind, workload, beside=objects[:-1]).roles:
        specs = [spec for use in uses(role.template) if (spec := _spec(use, others, namespace)) is not None]
        if specs:
            found[role.name] = tuple(specs)
    return found


def counted(workload: Workload, used: Sequence[Sequence[ClaimUse]], objects: Sequence[Object]) -> Workload:
    """The workload with the devices that its claims ask; `used` by role, in their order."""
    if not any(used):
        return workload
    placed, warnings = [], dict.fromkeys(workload.warnings)
    for role, each in zip(workload.roles, used, strict=True):
        amounts: dict[str, int] = {}
        for use in each:
            warnings.update(dict.fromkeys(_count(use, _spec(use, objects, workload.namespace), amounts)))
        placed.append(_with(role, amounts))
    return replace(workload, roles=tuple(placed), warnings=tuple(warnings))


def any_named(workload: Workload) -> bool:
    """Whether its pods name claims or templates that do not travel along."""
    return any(each.kind in (TEMPLATE, CLAIM) for each in workload.references)


def _spec(use: ClaimUse, objects: Sequence[Object], namespace: str) -> ClaimSpec | None:
    for obj in objects:
        metadata = obj["metadata"]
        if (obj["kind"], metadata["name"], metadata.get("namespace", namespace)) == (use.kind, use.object, namespace):
            return requests.read(obj["spec"]["spec"] if use.kind == TEMPLATE else obj["spec"])
    return None


def _count(use: ClaimUse, spec: ClaimSpec | None, amounts: dict[str, int]) -> Iterator[str]:
    """Adds to `amounts`; answers what the hub does not know."""
    if spec is None:
        yield f"{use.kind} {use.object} is not in the file: the hub places without knowing what devices it asks for"
        return
    if use.kind == CLAIM:
        return  # one for all pods: it would be counted once for each of them
    for request in spec.requests:
        classes = {alternative.device_class for alternative in request.alternatives}
        if len(classes) > 1:
            one_of = " or ".join(sorted(classes))
            yield f"request {request.name} of {use.object} takes {one_of}: the hub does not count it, the spoke does"
            continue
        name = names.resource_of(classes.pop())
        amounts[name] = amounts.get(name, 0) + _least(request)


def _least(request: Request) -> int:
    return min(alternative.count for alternative in request.alternatives)


def _with(role: Role, amounts: Mapping[str, int]) -> Role:
    if not amounts:
        return role
    known = ((devices.classify(name), amount) for name, amount in sorted(amounts.items()))
    needs = tuple(DeviceNeed(device.resource, amount) for device, amount in known if device is not None)
    return replace(role, requests=role.requests + Resources(amounts), devices=role.devices + needs)
