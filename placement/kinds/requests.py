"""What one pod asks of a node, counted as Kubernetes' scheduler counts it.

Containers and sidecars (init containers that restart always) run together and add up; an ordinary init container runs
alone beside the sidecars started before it, so the pod needs the larger of the two. A limit without a request is a
request. CPU and memory given for the whole pod stand instead of the containers' sum. Overhead is added last. Every
pod also takes one of the node's `pods`. Devices that are asked by claim are counted in `claims`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.dra.names import is_counted_by_claim
from placement.kinds import devices, fields, quantity, shared
from placement.kinds.fields import Object, join
from placement.kinds.problems import Findings, did_you_mean
from placement.resources import PODS, Resources
from placement.workload import DeviceNeed

_NATIVE = frozenset({"cpu", "memory", "ephemeral-storage"})
_POD_LEVEL = frozenset({"cpu", "memory"})
_EXTENDED = "extended resources are never overcommitted"


def of_pod(found: Findings, spec: Object, path: str) -> tuple[Resources, tuple[DeviceNeed, ...]]:
    """All that one pod of `spec` asks for, and the devices among it, by name."""
    running: dict[str, int] = {PODS: 1}
    containers = fields.items(found, spec, path, "containers")
    if not containers and not spec.get("containers"):
        found.error(join(path, "containers"), "a pod has at least one container", "add the container")
    for at, container in containers:
        _add(running, _of_container(found, container, at))
    if "initContainers" in spec:
        starting = _init_containers(found, spec, path, running)
        for name, peak in starting.items():
            running[name] = max(running.get(name, 0), peak)
    if "resources" in spec:
        whole_pod = _of_container(found, spec, path)
        running.update({name: value for name, value in whole_pod.items() if name in _POD_LEVEL})
    if "overhead" in spec:
        _add(running, _amounts(found, fields.mapping(found, spec, path, "overhead"), join(path, "overhead")))
    return Resources(running), _devices(running)


def _init_containers(found: Findings, spec: Object, path: str, running: dict[str, int]) -> dict[str, int]:
    """The peak while starting; sidecars are added to `running` on the way."""
    sidecars: dict[str, int] = {PODS: 1}
    peak: dict[str, int] = {}
    for at, container in fields.items(found, spec, path, "initContainers"):
        need = _of_container(found, container, at)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, need)
            _add(running, need)
            at_once: Mapping[str, int] = sidecars
        else:
            at_once = {name: need.get(name, 0) + sidecars.get(name, 0) for name in {*need, *sidecars}}
        for name, value in at_once.items():
            peak[name] = max(peak.get(name, 0), value)
    return peak


def _of_container(found: Findings, container: Object, path: str) -> dict[str, int]:
    given = container.get("resources")
    if given is None:
        return {}
    resources = fields.mapping(found, container, path, "resources")
    at = f"{path}.resources"
    limits = fields.mapping(found, resources, at, "limits")
    asked = fields.mapping(found, resources, at, "requests")
    ceiling = _amounts(found, limits, f"{at}.limits")
    if asked == limits and len(ceiling) == len(limits) and not any(isinstance(value, bool) for value in asked.values()):
        return {**ceiling}  # all of it was read, and asking for it again adds nothing
    need = _amounts(found, asked, f"{at}.requests")
    for name, value in need.items():
        _check_limit(found, name, value, ceiling.get(name), name in limits, at)
    return {**ceiling, **need}


def _check_limit(found: Findings, name: str, asked: int, limit: int | None, has_limit: bool, path: str) -> None:
    if limit is None:
        if quantity.is_extended(name) and not has_limit:
            at = join(join(path, "requests"), name)
            found.error(at, f"{name} has a request and no limit; {_EXTENDED}", f"set limits too: {name}: {asked}")
    elif quantity.is_extended(name) and asked != limit:
        at = join(join(path, "limits"), name)
        found.error(at, f"{name}: limit {limit} is not the request {asked}; {_EXTENDED}", "make them equal")
    elif asked > limit:
        at = join(join(path, "requests"), name)
        found.error(at, f"{name}: the request is more than the limit", "raise the limit or lower the request")


def _amounts(found: Findings, given: Mapping[str, Any], path: str) -> Mapping[str, int]:
    amounts: dict[str, int] = {}
    if not given:
        return amounts
    for name, value in given.items():
        if not _known_name(found, name, path):
            continue
        try:
            amounts[name] = quantity.amount(name, value)
        except ValueError as error:
            found.error(join(path, name), f"{name}: {error}", _mend_quantity(name))
    return amounts


def _known_name(found: Findings, name: str, path: str) -> bool:
    if name in _NATIVE or name.startswith("hugepages-"):
        return True
    if is_counted_by_claim(name):
        found.error(join(path, name), f"{name} is had by claim", "ask for it in spec.resourceClaims")
        return False
    meant = devices.misspelling(name)
    if meant is not None:
        mend = f"did you mean {meant}?" if meant else "name a resource that a device plugin gives"
        found.error(join(path, name), f"no device is called {name}", mend)
        return False
    if "/" not in name:
        near = did_you_mean(name, _NATIVE)
        mend = f"did you mean {near}?" if near else "extended resources are named with a domain: vendor.com/name"
        found.error(join(path, name), f"Kubernetes knows no resource {name}", mend)
        return False
    if doubt := devices.doubt(name):
        found.warn(doubt)
    return True


def _mend_quantity(name: str) -> str:
    device = devices.classify(name)
    if device is not None and not device.is_share:
        return "ask for whole devices; parts of a card are had as MIG slices, time slices or aliyun.com/gpu-mem"
    return "give a whole number of 0 or more" if quantity.is_extended(name) else "give a quantity such as 2, 500m, 16Gi"


def _devices(amounts: Mapping[str, int]) -> tuple[DeviceNeed, ...]:
    named = sorted(name for name, value in amounts.items() if value and "/" in name)
    known = [(device, amounts[name]) for name in named if (device := devices.classify(name)) is not None]
    return tuple([shared.device(device.resource, amount, device.is_share) for device, amount in known])


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value
