"""What a session's member clusters are to the scenarios, wherever they come from.

A provider makes clusters of named shapes, each with a client for assertions. Scenarios see these types and nothing
else, so the same scenario runs on bare control planes (`planes`, the default) and on real nodes (`kind`); which of them
a session uses is `e2e.bed`'s to say.
"""

from __future__ import annotations

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


class OutsideCluster(MemberCluster, Protocol):
    """One whose spoke runs outside it, as a process of this machine."""

    @property
    def kubeconfig(self) -> Path:
        """The spoke's: the ServiceAccount of deploy/spoke and its RBAC."""

    def restart_api_server(self) -> None:
        """As after a crash: every connection and watch breaks. Returns when it is ready again."""


class Provider(Protocol):
    def make(self, shapes: Sequence[ClusterShape]) -> Mapping[str, MemberCluster]:
        """All of them at once, ready: nodes, CRDs and operators included."""

    def close(self) -> None:
        """Ends everything it started."""
