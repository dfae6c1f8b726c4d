"""A gang on named nodes and GPUs: what `topology.assign` is asked and answers, and what the invariants check."""

from __future__ import annotations

from dataclasses import dataclass

from placement.verdict import Reason


@dataclass(frozen=True, slots=True)
class PodToPlace:
    """`index` is its number within the role, where its controller says it: it tells which slice the pod is in."""

    name: str
    role: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class NodeAssignment:
    """`gpus` are the indices of the node's cards; empty where the node does not tell its cards, or for slices.

    A pod that shares one card's memory has the index of that card.
    """

    pod: str
    role: str
    node: str
    gpus: tuple[int, ...] = ()
    index: int | None = None  # as the pod's


@dataclass(frozen=True, slots=True)
class Assignment:
    pods: tuple[NodeAssignment, ...]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Nothing was assigned: the gang goes whole or not at all."""

    reason: Reason
