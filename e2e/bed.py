"""Which test bed a session uses: the only place that knows is chosen by the PROVIDER variable.

`planes`: bare control planes whose nodes are played, hub and spokes as processes of this machine that can be killed.
`kind`: real nodes and containers, hub and spokes installed by their charts. A scenario runs on every bed that can show
what it asks for; what a bed cannot is said by the markers below, and such scenarios are deselected, with their count.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e import shapes
from e2e.federation import Federation
from e2e.provider import MemberCluster, Provider
from e2e.shapes import ClusterShape

# What a failed scenario leaves to be read, until the next session.
KEPT = Path(__file__).resolve().parent.parent / "build" / "e2e" / os.environ.get("PROVIDER", "planes")

MARKERS = {
    "processes": "hub and spokes must be processes of this machine, to be killed, paused and cut off",
    "standard_shapes": "counts on the nodes of e2e.shapes.STANDARD, and nothing smaller",
    "pods": "pods must be real ones, with containers, logs and a network",
}


@dataclass(frozen=True, slots=True)
class Bed:
    shapes: Sequence[ClusterShape]
    provider: Callable[[Path], Provider]
    # Any: each bed's federation takes the clusters of its own provider, and conftest passes no others.
    federation: Callable[[Path, Mapping[str, Any]], Federation]
    lacks: frozenset[str]  # of MARKERS
    timeout_s: int  # of one scenario; the first of a session also waits for the clusters

    def new_federation(self, directory: Path, clusters: Mapping[str, MemberCluster]) -> Federation:
        return self.federation(directory, clusters)


def chosen() -> Bed:
    """The bed that PROVIDER names. Raises ValueError for one that does not exist."""
    name = provider_name()
    if name == "planes":
        from e2e.planes.provider import PlanesProvider
        from e2e.processes import ProcessFederation

        return Bed(shapes.STANDARD, PlanesProvider, ProcessFederation, frozenset({"pods"}), timeout_s=300)
    if name == "kind":
        from e2e.kind.installed import InstalledFederation
        from e2e.kind.provider import KindProvider
        from e2e.kind.shapes import STANDARD as KIND_SHAPES

        lacks = frozenset({"processes", "standard_shapes"})
        return Bed(KIND_SHAPES, KindProvider, InstalledFederation, lacks, timeout_s=1200)
    raise ValueError(f"PROVIDER={name}: no such provider; there are: planes, kind")


def provider_name() -> str:
    return os.environ.get("PROVIDER", "planes")
