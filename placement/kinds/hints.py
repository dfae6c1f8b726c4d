"""What a workload's labels and annotations, and its kind's own fields, say about placing.

Muster's own hints are labels or annotations under `muster.dev/` on the workload's metadata. An unknown one is refused:
a hint that is silently ignored is found out when the job sits in the wrong place. Native wishes (queue names, priority
classes, pod affinity to the gang's own pods) count where no own hint says otherwise; those that Muster cannot keep are
warned about.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from placement import marks
from placement.inventory import DEFAULT_LEVELS
from placement.kinds import dividing, durations, fields, paths
from placement.kinds.constraints import label_selector_matches
from placement.kinds.fields import Object, join
from placement.kinds.kind import KindFile
from placement.kinds.problems import Findings, did_you_mean
from placement.kinds.roles import MIN_AVAILABLE, RoleEntry
from placement.workload import DataUse, Hints, IfTooLarge, TopologyMode, TopologyRequest

PREFIX = "muster.dev/"
KNOWN = (
    "muster.dev/topology-required",
    "muster.dev/topology-preferred",
    "muster.dev/queue",
    "muster.dev/priority",
    "muster.dev/clusters",
    "muster.dev/exclude-clusters",
    "muster.dev/regions",
    "muster.dev/expected-hours",
    "muster.dev/spot",
    MIN_AVAILABLE,
    "muster.dev/if-too-large",
    "muster.dev/give-up-hours",
    "muster.dev/wait-for-locality-hours",
    "muster.dev/datasets",
    "muster.dev/checkpoint",
    "muster.dev/checkpoint-minutes",
    "muster.dev/preemptible",
    "muster.dev/min-runtime-hours",
    "muster.dev/grace-seconds",
    "muster.dev/stalled-after",
    "muster.dev/if-stalled",
    "muster.dev/divide",
    "muster.dev/divide-weights",
    "muster.dev/divide-min-per-region",
    "muster.dev/divide-max-clusters",
    "muster.dev/grow-after",
)
# A role's own, on its pod template: see `localities`.
ON_TEMPLATES = (
    "muster.dev/topology-required",
    "muster.dev/topology-preferred",
    "muster.dev/slice-size",
    "muster.dev/slice-level",
)
# Queue names that cluster schedulers read from metadata, whatever the kind.
QUEUE_KEYS = ("kueue.x-k8s.io/queue-name", "scheduling.volcano.sh/queue-name", "volcano.sh/queue-name")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_DATASET = re.compile(r"[a-z0-9]([-a-z0-9._]{0,251}[a-z0-9])?|[a-z][a-z0-9+.-]*://\S{1,2000}")
_MAX_PRIORITY = 1_000_000_000
_NO_HINTS = Hints()
_ORDER = {key: rank for rank, (_, key) in enumerate(DEFAULT_LEVELS)}
_T = TypeVar("_T")
_Given = Mapping[str, tuple[str, str]]  # hint -> (value, path)


def given(found: Findings, obj: Object, templates: Sequence[RoleEntry]) -> _Given:
    """Every `muster.dev/` hint on the workload; unknown, doubled, reserved and misplaced ones are problems."""
    hints: dict[str, tuple[str, str]] = {}
    for key, value, path in _under_prefix(found, obj, ""):
        if key in marks.LABELS or key == marks.GPUS:
            found.error(path, f"{key} is written by Muster itself", "remove it")
        elif key in ON_TEMPLATES and key not in KNOWN:
            found.error(path, f"{key} belongs on a role's pod template", "move it to the metadata of the template")
        elif key not in KNOWN:
            near = did_you_mean(key.removeprefix(PREFIX), [known.removeprefix(PREFIX) for known in KNOWN])
            mend = f"did you mean {PREFIX}{near}?" if near else f"known: {', '.join(KNOWN)}"
            found.error(path, f"there is no hint {key}", mend)
        elif key in hints and hints[key][0] != value:
            found.error(path, f"{key} is given twice, with different values", "keep the label or the annotation")
        else:
            hints[key] = (value, path)
    for role in templates:
        if role.template is not obj:
            for key, _, path in _under_prefix(found, role.template, role.template_path):
                if key not in ON_TEMPLATES:
                    mend = "put hints on the workload's metadata"
                    found.error(path, f"{key} does not belong on a pod template", mend)
    return hints


def read(found: Findings, rules: KindFile, obj: Object, roles: Sequence[RoleEntry], hints: _Given) -> Hints:
    queue = hints[f"{PREFIX}queue"][0] if f"{PREFIX}queue" in hints else _native_queue(found, rules, obj)
    priority_class = _priority_class(found, rules, obj, roles)
    default = _NO_HINTS
    if not hints:
        return default if (queue, priority_class) == (default.queue, "") else Hints(queue, priority_class)
    return Hints(
        queue=queue,
        priority_class=priority_class,
        priority=_parsed(found, hints, "priority", _priority, default.priority),
        clusters=_parsed(found, hints, "clusters", _names, ()),
        excluded_clusters=_parsed(found, hints, "exclude-clusters", _names, ()),
        regions=_parsed(found, hints, "regions", _names, ()),
        expected_hours=_parsed(found, hints, "expected-hours", _hours, default.expected_hours),
        tolerates_spot=_parsed(found, hints, "spot", _boolean, default.tolerates_spot),
        if_too_large=_parsed(found, hints, "if-too-large", _if_too_large, default.if_too_large),
        give_up_hours=_parsed(found, hints, "give-up-hours", _hours, default.give_up_hours),
        wait_for_locality_hours=_parsed(
            found, hints, "wait-for-locality-hours", _hours, default.wait_for_locality_hours
        ),
        checkpoint_minutes=_parsed(found, hints, "checkpoint-minutes", _minutes, default.checkpoint_minutes),
        preemptible=_parsed(found, hints, "preemptible", _boolean, default.preemptible),
        min_runtime_hours=_parsed(found, hints, "min-runtime-hours", _hours, default.min_runtime_hours),
        grace_s=_parsed(found, hints, "grace-seconds", _grace, default.grace_s),
        stalled_after_s=_parsed(found, hints, "stalled-after", durations.seconds, default.stalled_after_s),
        if_stalled=_if_stalled(found, hints),
        divide=dividing.wish(found, rules, obj, roles, hints),
        grow_after_s=_parsed(found, hints, "grow-after", _duration_or_never, default.grow_after_s),
    )


def data(found: Findings, hints: _Given) -> tuple[DataUse, ...]:
    """What its hints name, each once."""
    if not hints:
        return ()
    names: tuple[str, ...] = _parsed(found, hints, "datasets", _datasets, ())
    checkpoints: tuple[str, ...] = _parsed(found, hints, "checkpoint", _datasets, ())
    if len(checkpoints) > 1:
        found.error(hints[f"{PREFIX}checkpoint"][1], "names more than one place", "name the one that it writes to")
    uses = [DataUse(name) for name in names if name not in checkpoints]
    return tuple(dict.fromkeys([*uses, *(DataUse(name, checkpoint=True) for name in checkpoints)]))


def topology(
    found: Findings,
    roles: Sequence[RoleEntry],
    hints: _Given,
    labels: Callable[[], Sequence[Mapping[str, str]]],
    field: TopologyRequest | None = None,
) -> TopologyRequest | None:
    """The gang's wish to be together: its hint, else the kind's own `field`, else pod affinity.

    `labels` gives those that each role's pods will carry, when they are needed.
    """
    required, preferred = hints.get(f"{PREFIX}topology-required"), hints.get(f"{PREFIX}topology-preferred")
    native = _native_topology(found, roles, labels)
    if required and preferred:
        found.error(preferred[1], "topology-required and topology-preferred exclude each other", "keep one of them")
    if hint := required or preferred:
        level, path = hint
        check_level(found, level, path)
        return TopologyRequest(level, TopologyMode.REQUIRED if required else TopologyMode.PREFERRED)
    return field or native


def check_level(found: Findings, level: str, path: str) -> None:
    known = [word for pair in DEFAULT_LEVELS for word in pair]
    if not level.strip():
        found.error(
            path, "names no level", f"a level ({', '.join(name for name, _ in DEFAULT_LEVELS)}) or a node label"
        )
    elif level not in known and (near := did_you_mean(level, known, cutoff=0.7)):
        found.warn(f'{path}: "{level}" is not a usual level; did you mean {near}?')


def _under_prefix(found: Findings, obj: Object, path: str) -> Iterator[tuple[str, str, str]]:
    metadata = fields.mapping(found, obj, path, "metadata")
    if not metadata:
        return
    at = join(path, "metadata")
    for part in ("labels", "annotations"):
        if part in metadata:
            for key, value in fields.string_map(found, metadata, at, part).items():
                if key.startswith(PREFIX):
                    yield key, value, join(join(at, part), key)


def _parsed(found: Findings, hints: _Given, name: str, parse: Callable[[str], _T], default: _T) -> _T:
    if PREFIX + name not in hints:
        return default
    value, path = hints[PREFIX + name]
    try:
        return parse(value.strip())
    except ValueError as error:
        found.error(path, f'"{value[:60]}" is wrong', str(error))
        return default


def _priority(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10 and abs(int(text)) <= _MAX_PRIORITY):
        raise ValueError(f"give a whole number from -{_MAX_PRIORITY} to {_MAX_PRIORITY}")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError("give names with commas between them, and none of them empty")
    return names


def _datasets(text: str) -> tuple[str, ...]:
    names = _names(text)
    for name in names:
        if not _DATASET.fullmatch(name):
            raise ValueError(f"{name[:60]!r} is neither a dataset's name nor a URI like s3://bucket/prefix")
    return names


def _if_stalled(found: Findings, hints: _Given) -> str:
    key = f"{PREFIX}if-stalled"
    if key in hints and f"{PREFIX}stalled-after" not in hints:
        found.error(hints[key][1], "says what to do and not when", f"add {PREFIX}stalled-after, as in 30m")
    return _parsed(found, hints, "if-stalled", _flag_or_restart, Hints().if_stalled)


def _flag_or_restart(text: str) -> str:
    if text not in ("flag", "restart"):
        raise ValueError('write "flag" or "restart"')
    return text


def _duration_or_never(text: str) -> float | None:
    return None if text == "never" else durations.seconds(text, at_least_s=1)


def _minutes(text: str) -> float:
    return _hours(text, "minutes", 60 * 24 * 31)


def _grace(text: str) -> float:
    return _hours(text, "seconds", 24 * 3600)


def _hours(text: str, unit: str = "hours", most: int = 24 * 365) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 < amount <= most:
        raise ValueError(f"give a number of {unit} above 0, at most {most}")
    return amount


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError('write "true" or "false"')
    return text == "true"


def _if_too_large(text: str) -> IfTooLarge:
    if text not in list(IfTooLarge):
        raise ValueError(f"write one of {', '.join(IfTooLarge)}")
    return IfTooLarge(text)


def _native_queue(found: Findings, rules: KindFile, obj: Object) -> str:
    metadata = obj.get("metadata")
    for part in ("labels", "annotations"):
        holder = metadata.get(part) if isinstance(metadata, dict) else None
        for key in QUEUE_KEYS:
            if isinstance(holder, dict) and isinstance(name := holder.get(key), str) and name:
                return name
    return _first_text(found, obj, rules.queue) or _NO_HINTS.queue


def _priority_class(found: Findings, rules: KindFile, obj: Object, roles: Sequence[RoleEntry]) -> str:
    if name := _first_text(found, obj, rules.priority_class):
        return name
    for role in roles:
        if name := _first_text(found, role.template, (("spec", "priorityClassName"),), role.template_path):
            return name
    return ""


def _first_text(found: Findings, obj: Object, where: Sequence[tuple[str, ...]], root: str = "") -> str:
    for path in where:
        value = paths.reach(found, obj, path, root)
        if isinstance(value, str) and value:
            return value
        if value is not None and not isinstance(value, str):
            fields.wrong_type(found, paths.shown(path, root), "a string", value)
    return ""


def _native_topology(
    found: Findings, roles: Sequence[RoleEntry], labels: Callable[[], Sequence[Mapping[str, str]]]
) -> TopologyRequest | None:
    """The strongest wish: required before preferred, then the finest known level, then the greatest weight."""
    wishes: list[tuple[tuple[int, int, int], TopologyRequest]] = []
    own: Sequence[Mapping[str, str]] | None = None
    for role in roles:
        spec = role.template.get("spec")
        if not isinstance(spec, dict):
            continue
        _warn_of_unkept(found, spec)
        affinity = paths.find(spec, ("affinity", "podAffinity"))
        if not isinstance(affinity, dict):
            continue
        own = labels() if own is None else own
        for mode, weight, term in _terms(affinity):
            key = term.get("topologyKey")
            if not isinstance(key, str) or not key:
                found.error(
                    join(role.template_path, "spec.affinity.podAffinity"), "a term has no topologyKey", "add it"
                )
            elif any(_selects(term, each) for each in own):
                strength = (mode is TopologyMode.REQUIRED, _ORDER.get(key, -1), weight)
                wishes.append((strength, TopologyRequest(key, mode)))
            elif mode is TopologyMode.REQUIRED:
                found.warn("required pod affinity to pods of other workloads is not kept")
    return max(wishes, key=lambda wish: wish[0])[1] if wishes else None


def _terms(affinity: Mapping[str, Any]) -> Iterator[tuple[TopologyMode, int, Mapping[str, Any]]]:
    for term in fields.dicts(affinity.get(_REQUIRED)):
        yield TopologyMode.REQUIRED, 0, term
    for weighted in fields.dicts(affinity.get(_PREFERRED)):
        wish, weight = weighted.get("podAffinityTerm"), weighted.get("weight")
        if isinstance(wish, dict):
            yield TopologyMode.PREFERRED, weight if isinstance(weight, int) else 0, wish


def _selects(term: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    selector = term.get("labelSelector")
    return isinstance(selector, dict) and label_selector_matches(selector, labels)


def _warn_of_unkept(found: Findings, spec: Object) -> None:
    if paths.find(spec, ("affinity", "podAntiAffinity", _REQUIRED)):
        found.warn("required pod anti-affinity is not kept")
    for each in fields.dicts(spec.get("topologySpreadConstraints")):
        if each.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule":
            found.warn("topologySpreadConstraints are not kept")
