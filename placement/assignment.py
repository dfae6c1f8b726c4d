"""A gang on named nodes and GPUs: what `topology.assign` is asked and answers, and what the invariants check."""

from __future__ import annotations

from dataclasses import dataclass

from placement.verdict import Reason


@dataclass(frozen=True, slots=True)
class PodToPlace:
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class NodeAssignment:
    """`gpus` are the indices of the node's cards; empty where the node does not tell its cards, or for slices.

    A pod that shares one card's memory has the index of that card.
    """

    pod: str
    role: str
    node: str
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    pods: tuple[NodeAssignment, ...]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Nothing was assigned: the gang goes whole or not at all."""

    reason: Reason
