"""Which object of a cluster is meant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    api_version: str  # "apps/v1"
    kind: str  # "Deployment"
    namespace: str  # "" for cluster-wide kinds
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"
