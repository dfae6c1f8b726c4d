"""Where a session's member clusters come from: the only place that knows is chosen by the PROVIDER variable.

A provider makes clusters of named shapes, each with a kubeconfig for the spoke and a client for assertions. Scenarios
see these two types and nothing else, so the same scenario runs on bare control planes (`planes`, the default) and on
whatever else learns to answer the same questions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from e2e.objects import ObjectClient
from e2e.shapes import ClusterShape


class MemberCluster(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> ClusterShape: ...

    @property
    def client(self) -> ObjectClient:
        """An admin's, for assertions and for playing other people."""

    @property
    def kubeconfig(self) -> Path:
        """The spoke's: the ServiceAccount of deploy/spoke and its RBAC."""

    def restart_api_server(self) -> None:
        """As after a crash: every connection and watch breaks. Returns when it is ready again."""

    def logs(self) -> Mapping[str, str]:
        """The ends of the programs' logs, for the report of a failed test."""


class Provider(Protocol):
    def make(self, shapes: Sequence[ClusterShape]) -> Mapping[str, MemberCluster]:
        """All of them at once, ready: nodes, CRDs and operators included."""

    def close(self) -> None:
        """Ends everything it started."""


def from_environment(directory: Path) -> Provider:
    """The provider that PROVIDER names. Raises ValueError for one that does not exist."""
    name = os.environ.get("PROVIDER", "planes")
    if name == "planes":
        from e2e.planes.provider import PlanesProvider

        return PlanesProvider(directory)
    raise ValueError(f"PROVIDER={name}: no such provider; there is: planes")
