"""What a ResourceClaim asks for, read from its spec: requests with their alternatives in order, and constraints.

Not allocated, and refused with the reason: `adminAccess` (it takes devices that others have), `distinctAttribute`, and
whatever a newer API may add that this reader does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from placement.dra.cel_syntax import CelError
from placement.dra.cel_values import quantity
from placement.dra.devices import DeviceToleration

Object = Mapping[str, Any]
MOST_DEVICES = 32  # of one claim, as the API server allows it

_KNOWN = frozenset(
    {"name", "deviceClassName", "selectors", "allocationMode", "count", "tolerations", "capacity", "adminAccess"}
)


class ClaimRefused(ValueError):
    """Muster does not allocate such a claim; the message names the field, its value and the mend."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to meet a request. `name` is that of the request, or `request/alternative` in a prioritised list."""

    name: str
    device_class: str
    selectors: tuple[str, ...] = ()
    count: int = 1  # with `all` the least
    all: bool = False
    tolerations: tuple[DeviceToleration, ...] = ()
    capacity: tuple[tuple[str, Fraction], ...] = ()  # the least of each that a device must have


@dataclass(frozen=True, slots=True)
class Request:
    name: str
    alternatives: tuple[Alternative, ...]  # the most wanted first


@dataclass(frozen=True, slots=True)
class SameAttribute:
    """All devices of these requests (of all, where it names none) have one value of the attribute."""

    attribute: str  # domain/name
    requests: frozenset[str] = frozenset()

    def binds(self, alternative: str) -> bool:
        return not self.requests or alternative in self.requests or alternative.split("/")[0] in self.requests


@dataclass(frozen=True, slots=True)
class ClaimSpec:
    requests: tuple[Request, ...] = ()
    constraints: tuple[SameAttribute, ...] = ()

    @property
    def widest(self) -> int:
        """The index of the last alternative of any request."""
        return max((len(request.alternatives) - 1 for request in self.requests), default=0)


@dataclass(frozen=True, slots=True)
class ClassSpec:
    """A DeviceClass."""

    name: str
    selectors: tuple[str, ...]


def read(spec: Object) -> ClaimSpec:
    """The spec of a ResourceClaim, or of a template's claims. Raises ClaimRefused."""
    devices = spec.get("devices") or {}
    requests = tuple(_request(request) for request in devices.get("requests") or ())
    return ClaimSpec(requests, tuple(_constraint(each) for each in devices.get("constraints") or ()))


def read_class(obj: Object) -> ClassSpec:
    return ClassSpec(obj["metadata"]["name"], _selectors(obj.get("spec") or {}, "the class"))


def _request(request: Object) -> Request:
    name = str(request["name"])
    if "exactly" in request:
        return Request(name, (_alternative(request["exactly"], name, name),))
    if "firstAvailable" in request:
        given = [_alternative(each, name, f"{name}/{each['name']}") for each in request["firstAvailable"]]
        return Request(name, tuple(given))
    raise ClaimRefused(f"request {name}: it has neither exactly nor firstAvailable; Muster knows no other kind")


def _alternative(given: Object, request: str, name: str) -> Alternative:
    if given.get("adminAccess"):
        raise ClaimRefused(
            f"request {request}: adminAccess takes devices that others have, and Muster gives none such;"
            " remove adminAccess, or schedule the pod with kube-scheduler"
        )
    if unknown := sorted(given.keys() - _KNOWN):
        raise ClaimRefused(f"request {request}: Muster does not know {unknown[0]}; remove it")
    mode = given.get("allocationMode", "ExactCount")
    if mode not in ("ExactCount", "All"):
        raise ClaimRefused(f"request {request}: allocationMode {mode} is not known; use ExactCount or All")
    count = int(given.get("count", 1) or 1)
    if count > MOST_DEVICES:
        raise ClaimRefused(f"request {request}: count {count} is more than the {MOST_DEVICES} devices of one claim")
    return Alternative(
        name=name,
        device_class=str(given["deviceClassName"]),
        selectors=_selectors(given, f"request {request}"),
        count=1 if mode == "All" else count,
        all=mode == "All",
        tolerations=tuple(_toleration(each) for each in given.get("tolerations") or ()),
        capacity=_capacity(given, request),
    )


def _selectors(given: Object, where: str) -> tuple[str, ...]:
    found = []
    for selector in given.get("selectors") or ():
        if "cel" not in selector:
            raise ClaimRefused(f"{where}: a selector is not in CEL; Muster knows no other kind")
        found.append(str(selector["cel"]["expression"]))
    return tuple(found)


def _toleration(given: Object) -> DeviceToleration:
    operator = given.get("operator") or "Equal"
    return DeviceToleration(given.get("key") or "", operator, given.get("value") or "", given.get("effect") or "")


def _capacity(given: Object, request: str) -> tuple[tuple[str, Fraction], ...]:
    asked = (given.get("capacity") or {}).get("requests") or {}
    try:
        return tuple(sorted((name, quantity(str(value)).amount) for name, value in asked.items()))
    except CelError as error:
        raise ClaimRefused(f"request {request}: capacity: {error}") from error


def _constraint(given: Object) -> SameAttribute:
    if "matchAttribute" not in given:
        kinds = ", ".join(sorted(given.keys() - {"requests"})) or "nothing"
        raise ClaimRefused(f"constraints: Muster knows matchAttribute, not {kinds}; remove it")
    return SameAttribute(str(given["matchAttribute"]), frozenset(given.get("requests") or ()))
