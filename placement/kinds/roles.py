"""Where an object keeps its roles and how many pods start together: the part of reading that needs no pod template.

The reader, `observe`, `render` and `emulate` all begin here, so that they agree about what an object says.

Minima. `min_pods` pods start together, in any mix that leaves each role at least its own minimum: what the object says
(Volcano's task minAvailable), or all pods of a role that belongs to every gang (PyTorch's Master), or what the other
roles cannot make up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from placement.kinds import fields, paths
from placement.kinds.conditions import Facts, spec_holds
from placement.kinds.fields import Object, join
from placement.kinds.kind import Elastic, KindFile, Roles
from placement.kinds.problems import Findings, did_you_mean

MAX_ROLES = 256
MIN_AVAILABLE = "muster.dev/min-available"


@dataclass(frozen=True, slots=True)
class RoleEntry:
    """One role as the object holds it. `template` is part of the object, not a copy."""

    name: str
    path: str  # of the entry: "spec.pytorchReplicaSpecs.Worker"
    entry: Mapping[str, Any]
    template: Mapping[str, Any]
    template_path: str
    replicas: int
    minimum: int
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    roles: tuple[RoleEntry, ...]  # in rank order
    min_pods: int

    @property
    def pods(self) -> int:
        return sum(role.replicas for role in self.roles)


def shape(rules: KindFile, obj: Object, found: Findings | None = None) -> Shape:
    """Without `found`, what is wrong is passed over: a field that cannot be read counts as absent."""
    found = found or Findings()
    entries = tuple(_entries(rules.roles, obj, found))
    explicit = {role.name: _own_minimum(rules.roles, role, found) for role in entries}
    entries = _with_elastic(rules.elastic, entries, obj, found)
    late = _late(rules.roles, obj)
    if late:
        explicit |= {role.name: 0 for role in entries if role.name in late}
    min_pods, given_by = _min_pods(rules, obj, entries, explicit, found)
    total = sum(role.replicas for role in entries if role.name not in late)
    if min_pods > total:
        mend = f"at most {total}, or more replicas"
        found.error(given_by, f"{min_pods} pods are to start together, there are {total}", mend)
        min_pods = total
    return Shape(_with_minima(rules, entries, explicit, min_pods, late), min_pods)


def facts(rules: KindFile, obj: Object) -> Facts:
    """For conditions on the status; the shape is read when one first asks, and once.

    Both are at least 1: an object without pods is not one whose gang runs.
    """
    known: dict[str, int] = {}

    def ask(fact: str) -> int:
        if not known:
            read = shape(rules, obj)
            known.update(gang=max(read.min_pods, 1), pods=max(read.pods, 1))
        return known[fact]

    return ask


def _late(roles: Roles, obj: Object) -> frozenset[str]:
    """The roles for whose pods the gang does not wait: they are made once it runs."""
    rule = roles.late
    if rule is None or (rule.when is not None and not spec_holds(rule.when, obj)):
        return frozenset()
    return frozenset(rule.roles)


def _entries(roles: Roles, obj: Object, found: Findings) -> Iterator[RoleEntry]:
    seen: set[str] = set()
    for name, path, entry in _located(roles, obj, found):
        if len(seen) == MAX_ROLES:
            found.error(path, f"more than {MAX_ROLES} roles", "merge roles that are alike, or split the workload")
            return
        if name in seen:
            found.error(path, f"two roles are called {name}", "give each its own name")
            continue
        seen.add(name)
        replicas = _replicas(roles, entry, path, found)
        template = paths.reach(found, entry, roles.template, path)
        template_path = paths.shown(roles.template, path)
        if template is None:
            found.error(join(template_path, "spec"), "there is no pod template", "add it, with at least one container")
            template = {}
        elif not isinstance(template, dict):
            fields.wrong_type(found, template_path, "a mapping", template)
            template = {}
        yield RoleEntry(name, path, entry, template, template_path, replicas, 0)


def _located(roles: Roles, obj: Object, found: Findings) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    at = paths.shown(roles.at)
    value = paths.reach(found, obj, roles.at)
    if value is None:
        found.error(at, "is missing: the workload has no pods", f"add {at}")
    elif roles.form == "list":
        yield from _listed(roles, value, at, found)
    elif not isinstance(value, dict):
        fields.wrong_type(found, at, "a mapping", value)
    elif roles.form == "one":
        yield roles.name, at, value
    else:
        yield from _mapped(roles, value, at, found)


def _listed(roles: Roles, value: Any, at: str, found: Findings) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    if not value:
        found.error(at, "is empty: the workload has no pods", "add at least one entry")
    parent, _, key = at.rpartition(".")
    for index, (path, entry) in enumerate(fields.items(found, {key: value}, parent, key)):
        name = paths.reach(found, entry, roles.name_path, path)
        if name is not None and not isinstance(name, str):
            fields.wrong_type(found, paths.shown(roles.name_path, path), "a string", name)
            name = None
        yield name or f"{roles.name}{index}", path, entry


def _mapped(
    roles: Roles, value: Mapping[str, Any], at: str, found: Findings
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    if not value:
        found.error(at, "is empty: the workload has no pods", f"add {' or '.join(roles.known) or 'a role'}")
    rank = {name: index for index, name in enumerate(roles.known)}
    for name in sorted(value, key=lambda name: rank.get(name, len(rank))):
        path = join(at, name)
        if roles.known and name not in rank:
            near = did_you_mean(name, roles.known)
            found.error(path, f"no role is called {name}", f"did you mean {near}?" if near else f"one of {roles.known}")
        elif not isinstance(value[name], dict):
            fields.wrong_type(found, path, "a mapping", value[name])
        else:
            yield name, path, value[name]


def _replicas(roles: Roles, entry: Object, path: str, found: Findings) -> int:
    rule = roles.replicas
    if rule is None:
        return 1
    given = fields.count(found, paths.reach(found, entry, rule.path, path), paths.shown(rule.path, path))
    replicas = rule.default if given is None else given
    if rule.at_most is not None:
        most = fields.count(found, paths.reach(found, entry, rule.at_most, path), paths.shown(rule.at_most, path))
        replicas = replicas if most is None else min(replicas, most)
    return replicas


def _own_minimum(roles: Roles, role: RoleEntry, found: Findings) -> int | None:
    if roles.minimum is None:
        return None
    path = paths.shown(roles.minimum, role.path)
    minimum = fields.count(found, paths.find(role.entry, roles.minimum), path)
    if minimum is not None and minimum > role.replicas:
        found.error(path, f"{minimum} is more than the {role.replicas} replicas", f"at most {role.replicas}")
        return role.replicas
    return minimum


def _with_elastic(
    rule: Elastic | None, entries: tuple[RoleEntry, ...], obj: Object, found: Findings
) -> tuple[RoleEntry, ...]:
    """The range counts the pods of the whole workload; what the fixed roles take of it is taken off."""
    if rule is None:
        return entries
    least = fields.count(found, paths.reach(found, obj, rule.minimum), paths.shown(rule.minimum))
    most = fields.count(found, paths.reach(found, obj, rule.maximum), paths.shown(rule.maximum))
    least = most if least is None else least  # either alone fixes the number
    if least is None:
        return entries
    most = least if most is None else most
    if least > most:
        found.error(paths.shown(rule.minimum), f"{least} is more than the maximum {most}", "swap or correct them")
        return entries
    total = sum(role.replicas for role in entries)
    if not least <= total <= most:
        found.warn(f"the job has {total} pods, its elastic policy wants from {least} to {most}")
    fixed = sum(role.replicas for role in entries if role.name != rule.role)
    return tuple(
        replace(role, minimum=min(max(least - fixed, 0), role.replicas), maximum=max(most - fixed, role.replicas))
        if role.name == rule.role
        else role
        for role in entries
    )


def _min_pods(
    rules: KindFile, obj: Object, entries: tuple[RoleEntry, ...], explicit: Mapping[str, int | None], found: Findings
) -> tuple[int, str]:
    """How many pods start together, and which field says so."""
    hinted = _hinted(obj, found)
    if hinted is not None:
        return hinted
    for path in rules.gang.paths:
        given = fields.count(found, paths.reach(found, obj, path), paths.shown(path))
        if given:
            return given, paths.shown(path)
    if rules.gang.minimum != "all" and not spec_holds(rules.gang.all_when, obj):
        total = sum(role.replicas for role in entries)
        return min(rules.gang.minimum, total), ""
    return sum(_least(role, explicit[role.name]) for role in entries), ""


def _least(role: RoleEntry, explicit: int | None) -> int:
    if role.maximum is not None:  # elastic: `minimum` is what its range leaves this role
        return role.minimum
    return role.replicas if explicit is None else explicit


def _hinted(obj: Object, found: Findings) -> tuple[int, str] | None:
    metadata = obj.get("metadata")
    for part in ("annotations", "labels"):
        holder = metadata.get(part) if isinstance(metadata, dict) else None
        text = holder.get(MIN_AVAILABLE) if isinstance(holder, dict) else None
        if not isinstance(text, str):
            continue
        path = f'metadata.{part}["{MIN_AVAILABLE}"]'
        if text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text) > 0:
            return int(text), path
        found.error(path, f'must be a whole number of 1 or more, is "{text[:40]}"', 'give one, quoted: "4"')
    return None


def _with_minima(
    rules: KindFile,
    entries: tuple[RoleEntry, ...],
    explicit: Mapping[str, int | None],
    min_pods: int,
    late: frozenset[str],
) -> tuple[RoleEntry, ...]:
    total = sum(role.replicas for role in entries if role.name not in late)
    # Volcano: a gang smaller than the tasks' own minima together sets them aside.
    own = sum(value for value in explicit.values() if value is not None) <= min_pods
    always = frozenset(rules.roles.always) - late
    fixed = sum(role.replicas for role in entries if role.name in always)

    def minimum(role: RoleEntry) -> int:
        if role.name in late:
            return 0
        if role.name in always:
            return role.replicas
        return max(explicit[role.name] or 0 if own else 0, min_pods - max(total - role.replicas, fixed), 0)

    return tuple(replace(role, minimum=minimum(role)) for role in entries)
