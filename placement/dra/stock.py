"""What a cluster offers to claims, and what pods ask by them: the values that `gangs` and `shortage` decide on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from placement.dra.devices import DeviceId, NodeDevices
from placement.dra.requests import ClaimSpec, ClassSpec
from placement.workload import Role


@dataclass(frozen=True, slots=True)
class PodClaims:
    """`asked` is to be allocated; `nodes` are those that its allocated claims can be used from, None where any."""

    asked: tuple[ClaimSpec, ...] = ()
    nodes: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Stock:
    """A node's devices, and those of them that somebody has."""

    offered: NodeDevices
    taken: frozenset[DeviceId] = frozenset()
    held: dict[object, int] = field(
        default_factory=dict, compare=False
    )  # pods of a kind, devices of a class: once worked out

    def offers_free(self, devices: frozenset[DeviceId]) -> bool:
        return not devices & self.taken and devices <= {device.id for device in self.offered.devices}


@dataclass(frozen=True, slots=True)
class Devices:
    """What a cluster offers to claims."""

    stocks: Mapping[str, Stock] = field(default_factory=dict)  # by node
    classes: Mapping[str, ClassSpec] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """Pods of one role that ask the same of devices, as a role of its own."""

    role: Role
    of: str  # the role that the workload knows
    claims: PodClaims
    at_hand: int  # of these pods, at least 1

    @property
    def asked(self) -> tuple[ClaimSpec, ...]:
        return self.claims.asked
