"""Pods that a kind writes in words of its own, and not as a pod template: how each is read, and marked as Muster's.

A form answers the pod template that the kind's controller would make of an entry, as far as scheduling goes, and writes
Muster's labels and the scheduler's name into the fields of the entry that reach the pods. Kind files name forms by the
keys of `FORMS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from placement.kinds.fields import Object
from placement.kinds.pod_changes import PodChange
from placement.kinds.podforms.kserve import Component
from placement.kinds.podforms.podgroup import Members
from placement.kinds.podforms.spark import Driver, Executor
from placement.kinds.podforms.workflow import Steps
from placement.kinds.problems import Findings

Template = dict[str, Any]


class PodForm(Protocol):
    def template(self, entry: Object, obj: Object, path: str, found: Findings) -> Template:
        """The pod that is made of it, at `path` in the object; what is wrong with it is told to `found`."""

    def replicas(self, entry: Object) -> int | None:
        """How many there are, where the entry's own words come to it; None where the kind file says."""

    def mark(self, entry: dict[str, Any], labels: Mapping[str, str], scheduler: str) -> None:
        """Changes the entry, which is the caller's own copy."""

    def change(self, entry: dict[str, Any], obj: dict[str, Any], change: PodChange) -> str:
        """Changes the entry, and what it takes from its object; answers the field that the kind has no place for."""


FORMS: Mapping[str, PodForm] = {
    "kserve-component": Component(),
    "pod-group": Members(),
    "spark-driver": Driver(),
    "spark-executor": Executor(),
    "workflow-steps": Steps(),
}
