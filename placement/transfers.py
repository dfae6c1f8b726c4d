"""What moving data from one region to another costs and how long it takes.

Routes are declared by the administrator; what nobody declared falls to the defaults, which are what public clouds ask
for a gigabyte that leaves them and a rate that one copy reaches without tuning. Nothing here knows how busy a line is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ANY_REGION = "*"

_BYTES_PER_GB = 1e9  # as clouds bill egress: decimal
_BITS_PER_GBIT = 1e9
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Route:
    usd_per_gb: float  # >= 0; a gigabyte is 10^9 bytes
    gbit_per_s: float  # > 0; what one move gets


@dataclass(frozen=True, slots=True)
class Move:
    """The cost and the time of one move."""

    usd: float
    hours: float


NO_MOVE = Move(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Transfers:
    """Keyed by (source region, target region); `*` in either stands for every region that has no entry of its own.

    The more exact source wins over the more exact target. A region named "" is an unknown one: it is like no other,
    not even like another unknown one.
    """

    routes: Mapping[tuple[str, str], Route] = field(default_factory=dict)
    within: Route = Route(usd_per_gb=0.0, gbit_per_s=10.0)  # between two clusters of one region
    default: Route = Route(usd_per_gb=0.09, gbit_per_s=1.0)

    def route(self, source: str, target: str) -> Route:
        same = bool(source) and source == target
        keys = ((source, target),) if same else _keys(source, target)
        for key in keys:
            if key in self.routes:
                return self.routes[key]
        return self.within if same else self.default

    def move(self, size_bytes: int, source: str, target: str) -> Move:
        """What `size_bytes` cost from a cluster of one region to a cluster of another, or of the same."""
        route = self.route(source, target)
        return Move(
            usd=size_bytes / _BYTES_PER_GB * route.usd_per_gb,
            hours=size_bytes * 8 / _BITS_PER_GBIT / route.gbit_per_s / _SECONDS_PER_HOUR,
        )


def _keys(source: str, target: str) -> tuple[tuple[str, str], ...]:
    return ((source, target), (source, ANY_REGION), (ANY_REGION, target), (ANY_REGION, ANY_REGION))
