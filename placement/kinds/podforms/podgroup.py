"""The members of a pod group that ask for the same: whole Pods, of which the first stands for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.kinds import fields
from placement.kinds.fields import Object, join
from placement.kinds.pod_changes import PodChange, change_spec
from placement.kinds.problems import Findings


class Members:
    def template(self, entry: Object, obj: Object, path: str, found: Findings) -> dict[str, Any]:
        first = next(iter(fields.dicts(entry.get("pods"))), None)
        if first is None:
            found.error(join(path, "pods"), "there is no pod", "add at least one")
            return {}
        return dict(first)

    def replicas(self, entry: Object) -> int:
        return sum(1 for _ in fields.dicts(entry.get("pods")))

    def mark(self, entry: dict[str, Any], labels: Mapping[str, str], scheduler: str) -> None:
        for pod in fields.dicts(entry.get("pods")):
            one: Any = pod  # the caller's own copy
            given = one.get("metadata")
            metadata = one["metadata"] = dict(given) if isinstance(given, dict) else {}
            named = metadata.get("labels")
            metadata["labels"] = {**(named if isinstance(named, dict) else {}), **labels}
            spec = one.get("spec")
            one["spec"] = {**(spec if isinstance(spec, dict) else {}), "schedulerName": scheduler}

    def change(self, entry: dict[str, Any], obj: dict[str, Any], change: PodChange) -> str:
        for pod in fields.dicts(entry.get("pods")):
            if isinstance(spec := pod.get("spec"), dict):
                change_spec(spec, change)
        return ""
