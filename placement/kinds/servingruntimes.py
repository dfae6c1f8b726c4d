"""KServe's ServingRuntime in the file of the InferenceService that it serves: its containers count where that one's
model leaves them out.

A predictor names its runtime, or one is chosen by the model's format (`autoSelect`). KServe merges the runtime's
containers, by name, with what the predictor says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from placement.kinds import fields, paths
from placement.kinds.fields import Object
from placement.kinds.podforms.kserve import RUNTIMES
from placement.kinds.problems import Findings, Problem
from placement.workload import Reference

KIND = "ServingRuntime"


class Runtime:
    def expanded(self, obj: Object, beside: Sequence[Object]) -> Object:
        chosen = _chosen(obj, beside)
        return {**obj, RUNTIMES: [chosen] if chosen is not None else []}

    def check(self, found: Findings, obj: Object, beside: Sequence[Object]) -> None:
        return None

    def in_file(self, problem: Problem, obj: Object) -> Problem:
        return problem

    def names(self, obj: Object, beside: Sequence[Object]) -> tuple[Reference, ...]:
        """Of one that is not in the file nobody knows whether it is the namespace's or the cluster's."""
        name = paths.find(_chosen(obj, beside), ("metadata", "name"))
        return (Reference(KIND, name),) if isinstance(name, str) and name else ()

    def mark(
        self,
        obj: dict[str, Any],
        owner: Object,
        beside: list[dict[str, Any]],
        roles: Sequence[str],
        labels: Mapping[str, str],
        by: str,
    ) -> bool:
        return False

    def pod_specs(self, obj: Object, beside: Sequence[Object]) -> Iterator[dict[str, Any]]:
        return iter(())


def _model(obj: Object) -> Mapping[str, Any]:
    model = paths.find(obj, ("spec", "predictor", "model"))
    return model if isinstance(model, dict) else {}


def _chosen(obj: Object, beside: Sequence[Object]) -> Object | None:
    """The one in the file that serves it; None where none does, or it cannot be told which."""
    model = _model(obj)
    there = [one for one in beside if one.get("kind") == KIND]
    if not model:
        return None
    if name := model.get("runtime"):
        return next((one for one in there if paths.find(one, ("metadata", "name")) == name), None)
    wanted = paths.find(model, ("modelFormat", "name"))
    fitting = [one for one in there if _serves(one, wanted)]
    return fitting[0] if len(fitting) == 1 else None


def _serves(runtime: Object, wanted: Any) -> bool:
    spec = runtime.get("spec")
    if not isinstance(spec, dict) or spec.get("disabled") is True:
        return False
    formats = fields.dicts(spec.get("supportedModelFormats"))
    return any(one.get("name") == wanted and one.get("autoSelect") is True for one in formats)
