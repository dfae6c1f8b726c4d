"""One role of a workload from its pod template: requests, devices, constraint, and the checks that need the pod."""

from __future__ import annotations

from collections.abc import Mapping

from placement.kinds import claims, constraints, fields, requests
from placement.kinds.fields import Object, join
from placement.kinds.kind import Roles
from placement.kinds.problems import Findings
from placement.kinds.roles import RoleEntry
from placement.resources import Resources
from placement.workload import DeviceNeed, NodeConstraint, Role, SliceRequest, TopologyRequest

_DEFAULT_RESTART_POLICY = "Always"
_NOTHING = Resources()
_ANYWHERE = NodeConstraint()


def role(
    found: Findings,
    entry: RoleEntry,
    topology: TopologyRequest | None = None,
    slices: SliceRequest | None = None,
) -> Role:
    """The role; where its pod has problems, what could be read of it."""
    at = join(entry.template_path, "spec")
    spec = entry.template.get("spec")
    need, constraint = _NOTHING, _ANYWHERE
    devices: tuple[DeviceNeed, ...] = ()
    products: tuple[str, ...] = ()
    if isinstance(spec, dict):
        _check(found, entry.rules, spec, at)
        need, devices = requests.of_pod(found, spec, at)
        constraint, products = constraints.of_pod(found, spec, at)
    elif entry.template or spec is not None:  # a template that is wholly missing has been said already
        found.error(join(at, "containers"), "a pod has at least one container", "add the container")
    return Role(
        name=entry.name,
        replicas=entry.replicas,
        minimum=entry.minimum,
        requests=need,
        devices=devices,
        constraint=constraint,
        products=products,
        maximum=entry.maximum,
        topology=topology,
        slices=slices,
        late=entry.late,
        stage=entry.stage,
        sizes=entry.sizes,
    )


def labels(template: Object) -> Mapping[str, str]:
    metadata = template.get("metadata")
    given = metadata.get("labels") if isinstance(metadata, dict) else None
    return given if isinstance(given, dict) else {}


def _check(found: Findings, rules: Roles, spec: Object, at: str) -> None:
    if spec.get("nodeName"):
        mend = "remove it; to pin the pod, select the label kubernetes.io/hostname"
        found.error(join(at, "nodeName"), "Muster chooses the node", mend)
    claims.check_pod(found, spec, at)
    policy = fields.text(found, spec, at, "restartPolicy", _DEFAULT_RESTART_POLICY)
    if rules.restart_policies and policy not in rules.restart_policies:
        wanted = " or ".join(rules.restart_policies)
        said = "is not set, which means Always" if "restartPolicy" not in spec else f"is {policy}"
        found.error(join(at, "restartPolicy"), f"{said}; the kind allows {wanted}", f"set restartPolicy: {wanted}")
    _check_container_names(found, rules, spec, at)


def _check_container_names(found: Findings, rules: Roles, spec: Object, at: str) -> None:
    containers = spec.get("containers")
    if not isinstance(containers, list) or not containers:
        return
    names = [each.get("name") for each in containers if isinstance(each, dict)]
    seen: set[str] = set()
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name:
            found.error(f"{at}.containers[{index}].name", "the container has no name", "give it one")
        elif name in seen:
            found.error(f"{at}.containers[{index}].name", f"two containers are called {name}", "rename one")
        else:
            seen.add(name)
    if rules.container and rules.container not in names:
        known = ", ".join(str(name) for name in names[:5])
        message = f"no container is called {rules.container}, which the kind's operator looks for (there is {known})"
        found.error(join(at, "containers"), message, f"name the main container {rules.container}")
