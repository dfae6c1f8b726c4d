"""What an override changes of pods, whatever kind they are of, and how that is written into a pod's spec.

Kinds whose pods are written in words of their own say in their form (`podforms`) where these go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from placement.kinds import fields

CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


@dataclass(frozen=True, slots=True)
class PodChange:
    env: tuple[Mapping[str, Any], ...] = ()  # of every container: added, or in the place of those of the same names
    tolerations: tuple[Mapping[str, Any], ...] = ()  # added
    node_selector: Mapping[str, str] | None = None  # added, or in the place of what the same labels were to be
    runtime_class: str = ""

    def __bool__(self) -> bool:
        return bool(self.env or self.tolerations or self.node_selector or self.runtime_class)

    @property
    def of_containers(self) -> PodChange:
        return PodChange(env=self.env)


def change_spec(spec: dict[str, Any], change: PodChange) -> None:
    """Of a pod's spec, or of what is written like one. Changes it: it is the caller's own copy."""
    for key in CONTAINERS:
        change_containers(fields.dicts(spec.get(key)), change)
    if change.tolerations:
        given = spec.get("tolerations")
        present = list(given) if isinstance(given, list) else []
        new = (deepcopy(dict(one)) for one in change.tolerations)
        spec["tolerations"] = present + [one for one in new if one not in present]
    if change.node_selector:
        given = spec.get("nodeSelector")
        spec["nodeSelector"] = {**(given if isinstance(given, dict) else {}), **change.node_selector}
    if change.runtime_class:
        spec["runtimeClassName"] = change.runtime_class


def change_containers(containers: Iterable[dict[str, Any]], change: PodChange) -> None:
    """Containers, and what else has variables as containers have them."""
    for container in containers:
        if change.env:
            container["env"] = _with(container.get("env"), change.env)


def _with(given: Any, new: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Those of the same name are replaced where they stand: later ones may be made of them."""
    by_name = {one["name"]: one for one in new}
    present = given if isinstance(given, list) else []
    names = [one.get("name") if isinstance(one, dict) else None for one in present]
    kept = [deepcopy(dict(by_name[name])) if name in by_name else one for name, one in zip(names, present, strict=True)]
    return kept + [deepcopy(dict(one)) for name, one in by_name.items() if name not in names]
