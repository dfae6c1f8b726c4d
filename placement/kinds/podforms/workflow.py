"""Argo's Workflow: what may run at once of its steps, as so many pods of the largest step's size.

Steps follow one another, and those of one group run together: exact. Of a DAG the heaviest set of tasks that do not
wait for each other, by resource: never too little. `withItems` and `withSequence` multiply; `parallelism` limits. What
only the run tells (`withParam`, templates that lie in the cluster) is said in a warning, and counted once at most.
Steps are unlike, so the pods that room is kept for are as large as the largest in each resource, on the nodes that the
step with the most GPUs asks for; there are as many as cover the peak.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from placement.kinds import devices, fields, requests
from placement.kinds.fields import Object, join
from placement.kinds.pod_changes import PodChange, change_containers, change_spec
from placement.kinds.podforms import antichain
from placement.kinds.problems import Findings
from placement.kinds.quantity import is_extended
from placement.resources import PODS

_LEAVES = ("container", "script", "containerSet", "resource", "data", "http", "plugin", "suspend")
_WITHOUT_POD = ("http", "plugin", "suspend")
_WHERE = ("nodeSelector", "tolerations", "affinity")
_MAX_ITEMS = 100_000
_SUFFIX = {"cpu": "m", "memory": "Mi", "ephemeral-storage": "Mi"}

Amounts = dict[str, int]


class Steps:
    def template(self, entry: Object, obj: Object, path: str, found: Findings) -> dict[str, Any]:
        largest, _ = _read(entry, path, found)
        spec: dict[str, Any] = {key: entry[key] for key in _WHERE if key in entry}
        spec |= largest.where
        if isinstance(entry.get("serviceAccountName"), str):
            spec["serviceAccountName"] = entry["serviceAccountName"]
        if isinstance(entry.get("volumes"), list):
            spec["volumes"] = entry["volumes"]
        amounts = {name: value for name, value in largest.amounts.items() if name != PODS and value}
        shown = {name: _quantity(name, value) for name, value in amounts.items()}
        limits = {name: value for name, value in shown.items() if "/" in name}
        container = {"name": "main", "resources": {"requests": shown, "limits": limits}, **largest.words()}
        given = entry.get("podMetadata")
        return {"metadata": given if isinstance(given, dict) else {}, "spec": {**spec, "containers": [container]}}

    def replicas(self, entry: Object) -> int:
        largest, peak = _read(entry, "", Findings())
        whole = (-(-value // largest.amounts[name]) for name, value in peak.items() if largest.amounts.get(name))
        return max(whole, default=1) or 1

    def mark(self, entry: dict[str, Any], labels: Mapping[str, str], scheduler: str) -> None:
        metadata = entry.get("podMetadata")
        metadata = entry["podMetadata"] = dict(metadata) if isinstance(metadata, dict) else {}
        given = metadata.get("labels")
        metadata["labels"] = {**(given if isinstance(given, dict) else {}), **labels}
        entry["schedulerName"] = scheduler
        for template in fields.dicts(entry.get("templates")):
            if "schedulerName" in template:
                template["schedulerName"] = scheduler

    def change(self, entry: dict[str, Any], obj: dict[str, Any], change: PodChange) -> str:
        """A template that says of its own where it runs does not take it from the whole. A runtime class is a patch."""
        change_spec(entry, replace(change, env=(), runtime_class=""))
        own = entry.get("templateDefaults")
        for template in (*([own] if isinstance(own, dict) else ()), *fields.dicts(entry.get("templates"))):
            change_spec(template, change.of_containers)
            change_containers((*_written(template), *fields.dicts(template.get("sidecars"))), change)
            if "tolerations" in template:
                change_spec(template, PodChange(tolerations=change.tolerations))
            if "nodeSelector" in template:
                change_spec(template, PodChange(node_selector=change.node_selector))
        return "runtime_class" if change.runtime_class else ""


@dataclass(slots=True)
class _Largest:
    """Over all steps."""

    amounts: Amounts = field(default_factory=dict)
    gpus: int = -1
    where: dict[str, Any] = field(default_factory=dict)
    args: list[str] = field(default_factory=list)

    def add(self, template: Object, amounts: Amounts) -> None:
        for name, value in amounts.items():
            self.amounts[name] = max(self.amounts.get(name, 0), value)
        gpus = sum(value for name, value in amounts.items() if devices.classify(name) is not None)
        if gpus > self.gpus:
            self.gpus = gpus
            self.where = {key: template[key] for key in _WHERE if key in template}
        for container in _containers(template):
            for key in ("command", "args"):
                words = container.get(key)
                self.args += [word for word in words if isinstance(word, str)] if isinstance(words, list) else []

    def words(self) -> dict[str, Any]:
        return {"args": self.args} if self.args else {}


def _read(spec: Object, path: str, found: Findings) -> tuple[_Largest, Amounts]:
    """The largest step, and the peak of what runs at once."""
    reading = _Reading(spec, path, found)
    entry = spec.get("entrypoint")
    if spec.get("workflowTemplateRef") is not None:
        found.warn("workflowTemplateRef names a template that lies in the cluster: what it asks for is not counted")
        if not isinstance(entry, str):
            return reading.largest, {PODS: 1}
    if not isinstance(entry, str) or not entry:
        found.error(join(path, "entrypoint"), "is missing: nothing says which template begins", "name one of templates")
        return reading.largest, {PODS: 1}
    peak = reading.of_template(entry, join(path, "entrypoint"))
    for handler in (spec.get("onExit"), *_hooks(spec)):
        if isinstance(handler, str):
            peak = _larger(peak, reading.of_template(handler, join(path, "onExit")))
    limit = fields.count(found, spec.get("parallelism"), join(path, "parallelism"))
    return reading.largest, reading.limited(peak, limit)


class _Reading:
    def __init__(self, spec: Object, path: str, found: Findings) -> None:
        self._found = found
        self._templates: dict[str, tuple[Object, str]] = {}
        for at, template in fields.items(found, spec, path, "templates"):
            if isinstance(name := template.get("name"), str):
                self._templates[name] = (template, at)
        self._known: dict[str, Amounts] = {}
        self._open: set[str] = set()
        self.largest = _Largest()

    def of_template(self, name: str, at: str) -> Amounts:
        """The peak of one run of it."""
        if name in self._known:
            return self._known[name]
        if name not in self._templates:
            known = ", ".join(list(self._templates)[:5]) or "none"
            self._found.error(at, f"there is no template {name}", f"one of spec.templates: {known}")
            return {}
        if name in self._open:
            self._found.warn(f"template {name} calls itself: each round is counted once, as they follow one another")
            return {}
        template, path = self._templates[name]
        self._open.add(name)
        self._known[name] = self._of(template, path)
        self._open.discard(name)
        return self._known[name]

    def limited(self, peak: Amounts, parallelism: int | None) -> Amounts:
        """No more at once than `parallelism` pods, each as large as the largest."""
        if not parallelism:
            return peak
        return {name: min(value, parallelism * self.largest.amounts.get(name, 0)) for name, value in peak.items()}

    def _of(self, template: Object, path: str) -> Amounts:
        if "steps" in template:
            peak = self._steps(template, join(path, "steps"))
        elif isinstance(template.get("dag"), dict):
            peak = self._dag(template["dag"], join(path, "dag"))
        elif any(key in template for key in _LEAVES):
            return self._leaf(template, path)
        else:
            self._found.error(path, "says nothing to run", f"give one of steps, dag, {', '.join(_LEAVES[:4])}")
            return {}
        return self.limited(peak, fields.count(self._found, template.get("parallelism"), join(path, "parallelism")))

    def _leaf(self, template: Object, path: str) -> Amounts:
        if any(key in template for key in _WITHOUT_POD):
            return {}
        containers = _containers(template)
        spec: dict[str, Any] = {"containers": [*containers, *fields.dicts(template.get("sidecars"))]}
        spec["initContainers"] = list(fields.dicts(template.get("initContainers")))
        if not containers:
            spec["containers"] = [{"name": "main"}]  # `resource` and `data`: the executor alone
        spec = {**spec, "containers": [self._with_limits(each, path) for each in spec["containers"]]}
        amounts = dict(requests.of_pod(self._found, spec, path)[0])
        self.largest.add(template, amounts)
        return amounts

    def _with_limits(self, container: Object, path: str) -> Object:
        """The Workflow is taken without them, and counted; but its pod will be refused, which is better said now."""
        given = container.get("resources")
        resources = given if isinstance(given, dict) else {}
        asked, limits = resources.get("requests"), resources.get("limits")
        there = limits if isinstance(limits, dict) else {}
        missing = {
            name: value
            for name, value in (asked.items() if isinstance(asked, dict) else ())
            if is_extended(str(name)) and name not in there
        }
        if not missing:
            return container
        at = join(path, "container.resources.limits")
        self._found.warn(
            f"{at}: {', '.join(missing)} has a request and no limit; Kubernetes will refuse the step's pod: set both"
        )
        return {**container, "resources": {**resources, "limits": {**there, **missing}}}

    def _steps(self, template: Object, path: str) -> Amounts:
        peak: Amounts = {}
        groups = template["steps"]
        if not isinstance(groups, list):
            fields.wrong_type(self._found, path, "a list", groups)
            return peak
        for index, group in enumerate(groups):
            # A group is a list; a lone step is taken for one, as Argo's own parser has it in later versions.
            calls = group if isinstance(group, list) else [group]
            together = [self._call(call, f"{path}[{index}]") for call in fields.dicts(calls)]
            peak = _larger(peak, _sum(together))
        return peak

    def _dag(self, dag: Object, path: str) -> Amounts:
        peaks: dict[str, Amounts] = {}
        waits: dict[str, set[str]] = {}
        for at, task in fields.items(self._found, dag, path, "tasks"):
            name = task.get("name")
            if not isinstance(name, str) or not name:
                self._found.error(join(at, "name"), "the task has no name", "give it one")
                continue
            peaks[name] = self._call(task, at)
            waits[name] = _waits_for(task)
        names = {name for amounts in peaks.values() for name in amounts}
        return {
            name: antichain.heaviest({task: amounts.get(name, 0) for task, amounts in peaks.items()}, waits)
            for name in names
        }

    def _call(self, call: Object, at: str) -> Amounts:
        """Of a step or task, as often as it runs at once."""
        if isinstance(call.get("inline"), dict):
            peak = self._of(call["inline"], join(at, "inline"))
        elif isinstance(call.get("template"), str):
            peak = self.of_template(call["template"], join(at, "template"))
        elif call.get("templateRef") is not None:
            self._found.warn(f"{at}.templateRef names a template that lies in the cluster: it is not counted")
            return {}
        else:
            self._found.error(at, "names no template", "give template, templateRef or inline")
            return {}
        times = self._times(call, at)
        return {name: value * times for name, value in peak.items()}

    def _times(self, call: Object, at: str) -> int:
        items = call.get("withItems")
        if isinstance(items, list):
            return min(len(items), _MAX_ITEMS)
        if call.get("withParam") is not None:
            self._found.warn(f"{at}.withParam: how often it runs is known only then; it is counted once")
            return 1
        sequence = call.get("withSequence")
        if isinstance(sequence, dict):
            return self._length(sequence, at)
        return 1

    def _length(self, sequence: Object, at: str) -> int:
        try:
            if sequence.get("count") is not None:
                return min(max(int(sequence["count"]), 0), _MAX_ITEMS)
            start, end = int(sequence.get("start", 0)), int(sequence["end"])
            return min(abs(end - start) + 1, _MAX_ITEMS)
        except (KeyError, TypeError, ValueError):
            self._found.warn(f"{at}.withSequence: how long it is is known only then; it is counted once")
            return 1


def _containers(template: Object) -> list[Object]:
    return [{"name": "main", **each} for each in _written(template)]


def _written(template: Object) -> list[dict[str, Any]]:
    """Parts of the template."""
    found = [template[key] for key in ("container", "script") if isinstance(template.get(key), dict)]
    inner = template.get("containerSet")
    if isinstance(inner, dict):
        found += fields.dicts(inner.get("containers"))
    return found


def _waits_for(task: Object) -> set[str]:
    """`dependencies` is a list; `depends` an expression over tasks: every one that it names counts."""
    listed = task.get("dependencies")
    found = {each for each in listed if isinstance(each, str)} if isinstance(listed, list) else set()
    if isinstance(depends := task.get("depends"), str):
        for mark in "&|!()":
            depends = depends.replace(mark, " ")
        # `a || b` begins after either: only what every way needs would be exact, so a choice counts as no order at all.
        if "|" not in task["depends"]:
            found |= {word.partition(".")[0] for word in depends.split()}
    return found


def _hooks(spec: Object) -> Iterable[Any]:
    hooks = spec.get("hooks")
    return (
        [each.get("template") for each in hooks.values() if isinstance(each, dict)] if isinstance(hooks, dict) else []
    )


def _larger(one: Amounts, other: Amounts) -> Amounts:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {*one, *other}}


def _sum(several: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for amounts in several:
        for name, value in amounts.items():
            total[name] = total.get(name, 0) + value
    return total


def _quantity(name: str, value: int) -> str:
    """As a manifest has it, of amounts in the units of `placement.resources`."""
    return f"{value}{_SUFFIX.get(name, '')}"
