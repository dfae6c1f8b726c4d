"""Where an object keeps its roles and how many pods start together: the part of reading that needs no pod template.

The reader, `observe`, `render` and `emulate` all begin here, so that they agree about what an object says.

Minima. `min_pods` pods start together, in any mix that leaves each role at least its own minimum: what the object says
(Volcano's task minAvailable), or all pods of a role that belongs to every gang (PyTorch's Master), or what the other
roles cannot make up. Where roles come one after the end of another, `min_pods` is the most that run at one time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from placement.kinds import companions, expressions, fields, lateness, paths, podforms
from placement.kinds.conditions import Facts, spec_holds
from placement.kinds.fields import Object, join
from placement.kinds.kind import Elastic, Groups, Kind, KindFile, Nested, Range, Replicas, Roles
from placement.kinds.lateness import NOT_LATE, Lateness
from placement.kinds.problems import Findings, Problem, did_you_mean
from placement.workload import Reference, Sizes

MAX_ROLES = 256
MIN_AVAILABLE = "muster.dev/min-available"


@dataclass(frozen=True, slots=True)
class RoleEntry:
    """One role as the object holds it. `template` is part of the object, not a copy, unless `rules.pods` makes it."""

    name: str
    rules: Roles
    path: str  # of the entry: "spec.pytorchReplicaSpecs.Worker"
    entry: Mapping[str, Any]
    template: Mapping[str, Any]
    template_path: str
    replicas: int
    minimum: int
    maximum: int | None = None
    late: bool = False
    stage: int = 0  # late roles of one stage come at one time, and start together; 0: each pod for itself
    step: int = 1  # pods for each that its replicas count
    sizes: Sizes | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    roles: tuple[RoleEntry, ...]  # in rank order
    min_pods: int  # with what late roles have at least
    awaited: int  # those that no others have to make first
    groups: int = 1  # so many gangs that are alike, each with its part of every role, of `min_pods` and of `awaited`

    @property
    def pods(self) -> int:
        return sum(role.replicas for role in self.roles)


def shape(kind: Kind, obj: Object, found: Findings | None = None, beside: Sequence[Object] = ()) -> Shape:
    """Without `found`, what is wrong is passed over: a field that cannot be read counts as absent. `beside`: what is in
    the file with it, where its runtime may be."""
    found = found or Findings()
    rules = kind.rules
    if rules.nested is not None:
        return _several(kind, rules.nested, obj, found, beside)
    if rules.companion:
        companion = companions.FORMS[rules.companion]
        companion.check(found, obj, beside)
        obj = companion.expanded(obj, beside)
    entries = tuple(_entries(rules.places, obj, found))
    explicit = {role.name: _own_minimum(role, found) for role in entries}
    entries = _with_elastic(rules.elastic, entries, obj, found)
    late = lateness.of(entries, obj, found)
    groups = _groups(rules.groups, entries, obj, found)
    later: dict[str, int] = {}
    waited_for = entries
    if late is not NOT_LATE:
        explicit |= dict.fromkeys(late.leads, groups)
        later = {role.name: _later(role, late, explicit[role.name]) for role in entries if role.name in late.stages}
        explicit |= dict.fromkeys(later, 0)
        waited_for = tuple(role for role in entries if role.name not in later)
    min_pods, given_by = _min_pods(rules, obj, waited_for, explicit, found)
    total = sum(role.replicas for role in waited_for)
    if min_pods > total:
        mend = f"at most {total}, or more replicas"
        found.error(given_by, f"{min_pods} pods are to start together, there are {total}", mend)
        min_pods = total
    awaited = min(min_pods, groups) if late.leads else min_pods
    shaped = tuple(_sized(role, obj) for role in _with_minima(entries, explicit, awaited, later, late))
    if late.leads:
        at_once = total
    elif late.before:
        at_once = late.at_once({role.name: role.minimum for role in shaped})
    else:
        at_once = min_pods + sum(later.values())
    divides = groups == 1 or all(pods % groups == 0 for pods in (awaited, at_once, *(r.minimum for r in shaped)))
    return Shape(shaped, at_once, awaited, groups if divides else 1)


def nested(kind: Kind, obj: Object, found: Findings | None = None) -> tuple[Kind, dict[str, Any]] | None:
    """The workload that is a template in it, and its kind; None where there is none that can be read."""
    rule = kind.rules.nested
    if rule is None:
        return None
    found = found or Findings()
    at, inner = paths.shown(rule.at), paths.reach(found, obj, rule.at)
    if not isinstance(inner, dict):
        message = f"is missing: what a {rule.name} runs is not known"
        found.error(at, message, "write it out here; a text in a ConfigMap is not read")
        return None
    api_version, name = str(inner.get("apiVersion")), str(inner.get("kind"))
    of = kind.find(api_version, name)
    if of is None or of.rules.nested is not None:
        found.error(
            join(at, "kind"),
            f"a {rule.name} cannot be a {name} ({api_version})",
            "give one that muster plan reads by itself",
        )
        return None
    return of, inner


def _several(kind: Kind, rule: Nested, obj: Object, found: Findings, beside: Sequence[Object]) -> Shape:
    """The roles of one, as many times as they run at once; the gang is that of one."""
    inside = nested(kind, obj, found)
    if inside is None:
        return Shape((), 0, 0)
    at, within = paths.shown(rule.at), Findings(found.document)
    one = shape(*inside, within, beside)
    for problem in within.problems:
        found.error(joined(at, problem.path), problem.message, problem.mend)
    for warning in within.warnings:
        found.warn(warning)
    times = max(_replicas(rule.times, obj, {}, obj, "", found), 1)

    def as_often(count: int) -> int:
        return min(count * times, fields.MAX_INT32)

    several = tuple(
        replace(
            role,
            path=joined(at, role.path),
            template_path=joined(at, role.template_path),
            replicas=as_often(role.replicas),
            maximum=None if role.maximum is None else as_often(role.maximum),
        )
        for role in one.roles
    )
    hinted = _hinted(obj, found)
    if hinted is None:
        return Shape(several, one.min_pods, one.awaited)
    most = sum(role.replicas for role in several)
    if hinted[0] > most:
        found.error(hinted[1], f"{hinted[0]} pods are to start together, there are {most}", f"at most {most}")
    least = max(min(hinted[0], most), one.min_pods)
    return Shape(several, least, least)


def runtimes(kind: Kind, obj: Object, beside: Sequence[Object] = ()) -> tuple[Reference, ...]:
    """Those by which its pods are made."""
    if (inside := nested(kind, obj)) is not None:
        return runtimes(*inside, beside)
    return companions.FORMS[kind.rules.companion].names(obj, beside) if kind.rules.companion else ()


def in_file(kind: Kind, obj: Object, problem: Problem) -> Problem:
    """Where the problem is in what the user wrote, where that is not where roles were read."""
    if kind.rules.nested is not None:
        at, inside = f"{paths.shown(kind.rules.nested.at)}.", nested(kind, obj)
        if inside is None or not problem.path.startswith(at):
            return problem
        inner = in_file(*inside, replace(problem, path=problem.path.removeprefix(at)))
        return replace(inner, path=at + inner.path)
    return companions.FORMS[kind.rules.companion].in_file(problem, obj) if kind.rules.companion else problem


def joined(path: str, inner: str) -> str:
    """A path within what is at another one."""
    return f"{path}{inner}" if not inner or inner.startswith("[") else f"{path}.{inner}"


def facts(kind: Kind, obj: Object) -> Facts:
    """For conditions on the status; the shape is read when one first asks, and once.

    Both are at least 1: an object without pods is not one whose gang runs.
    """
    known: dict[str, int] = {}

    def ask(fact: str) -> int:
        if not known:
            read = shape(kind, obj)
            known.update(gang=max(read.awaited, 1), pods=max(read.pods, 1))
        return known[fact]

    return ask


def _groups(rule: Groups | None, entries: Sequence[RoleEntry], obj: Object, found: Findings) -> int:
    if rule is None:
        return 1
    given = paths.count(found, obj, rule.path)
    groups = rule.default if given is None else given
    # A gang that cannot be divided is one.
    return groups if groups > 1 and all(role.replicas % groups == 0 for role in entries) else 1


def _later(role: RoleEntry, late: Lateness, explicit: int | None) -> int:
    """How many of a late role start together, once they come; of those that come each for itself, its own least."""
    return _least(role, explicit) if late.stages[role.name] else explicit or 0


def _entries(places: Sequence[Roles], obj: Object, found: Findings) -> Iterator[RoleEntry]:
    seen: set[str] = set()
    for rules in places:
        if spec_holds(rules.unless, obj):
            continue
        for name, path, entry, outer in _located(rules, obj, found):
            if len(seen) == MAX_ROLES:
                found.error(path, f"more than {MAX_ROLES} roles", "merge roles that are alike, or split the workload")
                return
            if name in seen:
                found.error(path, f"two roles are called {name}", "give each its own name")
                continue
            template, template_path = _template(rules, entry, obj, path, found)
            if template is None:
                continue
            seen.add(name)
            times = _times(rules.replicas, entry, obj, path, found)
            own = podforms.FORMS[rules.pods].replicas(entry) if rules.pods else None
            replicas = _replicas(rules.replicas, entry, outer, obj, path, found) if own is None else own
            if replicas != 1 and name in rules.single:
                found.error(path, f"there is one {name} in a {obj.get('kind')}, not {replicas}", "set replicas to 1")
            role = RoleEntry(name, rules, path, entry, template, template_path, replicas, 0)
            yield _ranged(role, obj, times, found)


def _template(
    rules: Roles, entry: Mapping[str, Any], obj: Object, path: str, found: Findings
) -> tuple[Mapping[str, Any] | None, str]:
    """None where there is no such role; a template that is missing or wrong is told, and counts as empty."""
    if rules.pods:
        return podforms.FORMS[rules.pods].template(entry, obj, path, found), path
    template = paths.reach(found, entry, rules.template, path)
    template_path = paths.shown(rules.template, path)
    if template is None or (template == {} and rules.template):
        if rules.optional and rules.form == "one" and template is None:
            return None, template_path  # there is no such role; an entry of a list that lacks it is a mistake
        found.error(join(template_path, "spec"), "there is no pod template", "add it, with at least one container")
        return {}, template_path
    if not isinstance(template, dict):
        fields.wrong_type(found, template_path, "a mapping", template)
        return {}, template_path
    return template, template_path


_Located = tuple[str, str, Mapping[str, Any], Mapping[str, Any]]  # name, path, entry, the entry that it lies in


def _located(roles: Roles, obj: Object, found: Findings) -> Iterator[_Located]:
    at = paths.shown(roles.at)
    value = paths.reach(found, obj, roles.at)
    if value is None:
        if not roles.optional:
            found.error(at, "is missing: the workload has no pods", f"add {at}")
    elif roles.form == "list":
        for name, path, entry in _listed(roles, value, at, found):
            yield name, path, entry, {}
    elif roles.form == "inner":
        for name, path, outer in _listed(roles, value, at, found):
            for index, (inner_path, entry) in enumerate(_inner(roles, outer, path, found)):
                yield f"{name}-{index}", inner_path, entry, outer
    elif not isinstance(value, dict):
        fields.wrong_type(found, at, "a mapping", value)
    elif roles.form == "one":
        yield roles.name, at, value, {}
    else:
        for name, path, entry in _mapped(roles, value, at, found):
            yield name, path, entry, {}


def _listed(roles: Roles, value: Any, at: str, found: Findings) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    if not value and not roles.optional:
        found.error(at, "is empty: the workload has no pods", "add at least one entry")
    parent, _, key = at.rpartition(".")
    for index, (path, entry) in enumerate(fields.items(found, {key: value}, parent, key)):
        name = paths.reach(found, entry, roles.name_path, path) if roles.name_path else None
        if name is not None and not isinstance(name, str):
            fields.wrong_type(found, paths.shown(roles.name_path, path), "a string", name)
            name = None
        yield name or f"{roles.name}{index}", path, entry


def _inner(roles: Roles, outer: Object, path: str, found: Findings) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """The entries of one entry, with their paths. Without any it has no pods."""
    *way, key = roles.inner
    holder = paths.reach(found, outer, tuple(way), path)
    inside = fields.items(found, holder if isinstance(holder, dict) else {}, paths.shown(tuple(way), path), key)
    if not inside:
        missing = "there is no pod template: what it would run is not known"
        found.error(paths.shown(roles.inner, path), missing, "add it, with its resources")
    return inside


def _mapped(
    roles: Roles, value: Mapping[str, Any], at: str, found: Findings
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    if not value:
        found.error(at, "is empty: the workload has no pods", f"add {' or '.join(roles.known) or 'a role'}")
    rank = _ranks(roles.known)
    for name in sorted(value, key=lambda name: rank.get(name, len(rank))):
        path = join(at, name)
        if roles.known and name not in rank:
            near = did_you_mean(name, roles.known)
            found.error(path, f"no role is called {name}", f"did you mean {near}?" if near else f"one of {roles.known}")
        elif not isinstance(value[name], dict):
            fields.wrong_type(found, path, "a mapping", value[name])
        else:
            yield name, path, value[name]


@lru_cache(maxsize=256)
def _ranks(known: tuple[str, ...]) -> Mapping[str, int]:
    return {name: index for index, name in enumerate(known)}


def _replicas(rule: Replicas | None, entry: Object, outer: Object, obj: Object, path: str, found: Findings) -> int:
    if rule is None:
        return 1
    if rule.cel:
        counted = expressions.count(rule.cel, obj)
        return rule.default if counted is None else min(max(counted, 0), fields.MAX_INT32)
    given = paths.count(found, entry, rule.path, path) if rule.path else None
    if given is None and rule.outer is not None:
        given = fields.count(found, paths.find(outer, rule.outer), paths.shown(rule.outer, path))
    if given is None and rule.of_object is not None:
        given = fields.count(found, paths.find(obj, rule.of_object), paths.shown(rule.of_object))
    replicas = rule.default if given is None else given
    if rule.at_most is not None:
        most = paths.count(found, entry, rule.at_most, path)
        replicas = replicas if most is None else min(replicas, most)
    return max(replicas - 1, 0) if rule.less_one is not None and spec_holds(rule.less_one, obj) else replicas


def _times(rule: Replicas | None, entry: Object, obj: Object, path: str, found: Findings) -> int:
    if rule is None or not (rule.times or rule.times_object):
        return 1
    factors = [paths.count(found, entry, each, path) for each in rule.times]
    factors += [paths.count(found, obj, each) for each in rule.times_object]
    return math.prod(1 if factor is None else factor for factor in factors)


def _ranged(role: RoleEntry, obj: Object, times: int, found: Findings) -> RoleEntry:
    """With its own elastic range, where it has one, and everything multiplied."""
    replicas = role.replicas
    if role.rules.range is None:
        pods = min(replicas * times, fields.MAX_INT32)
        return role if times == 1 else replace(role, replicas=pods, step=times)
    least, most, low = _bounds(role.rules.range, role, obj, found)
    if most is not None and least > most:
        found.error(low, f"{least} is more than the maximum {most}", "swap or correct them")
        most = least
    replicas = max(replicas, least) if most is None else min(max(replicas, least), max(most, 1))
    return replace(
        role,
        replicas=min(replicas * times, fields.MAX_INT32),
        minimum=min(least * times, fields.MAX_INT32),
        maximum=None if most is None else min(most * times, fields.MAX_INT32),
        step=times,
    )


def _bounds(rule: Range, role: RoleEntry, obj: Object, found: Findings) -> tuple[int, int | None, str]:
    """The least, the most where there is a most, and where the least is written."""
    holder, prefix, minimum, maximum = role.entry, role.path, rule.minimum, rule.maximum
    if (whole := rule.of_object) is not None:
        if whole.when is not None and not spec_holds(whole.when, obj):
            return rule.least, None, ""
        holder, prefix, minimum, maximum = obj, "", whole.minimum, whole.maximum
    least = paths.count(found, holder, minimum, prefix) if minimum else None
    most = paths.count(found, holder, maximum, prefix) if maximum else None
    if most is None and rule.maximum_annotation:
        most = _whole(paths.find(obj, ("metadata", "annotations", rule.maximum_annotation)))
    return rule.least if least is None else least, most or None, paths.shown(minimum, prefix)


def _whole(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10 else None


def _own_minimum(role: RoleEntry, found: Findings) -> int | None:
    rules = role.rules
    if rules.range is not None:
        return min(role.minimum, role.replicas)
    if rules.minimum is None:
        return None
    path = paths.shown(rules.minimum, role.path)
    minimum = fields.count(found, paths.find(role.entry, rules.minimum), path)
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
    least = paths.count(found, obj, rule.minimum)
    most = paths.count(found, obj, rule.maximum)
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
        given = paths.count(found, obj, path)
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
    entries: tuple[RoleEntry, ...],
    explicit: Mapping[str, int | None],
    min_pods: int,
    later: Mapping[str, int],
    late: Lateness,
) -> tuple[RoleEntry, ...]:
    total = sum([role.replicas for role in entries if role.name not in later])
    if min_pods == total and not later:  # all of all roles: as what follows would have it
        return tuple([_with_minimum(role, role.replicas, False, late) for role in entries])
    # Volcano: a gang smaller than the tasks' own minima together sets them aside.
    own = sum(value for value in explicit.values() if value is not None) <= min_pods
    always = frozenset(role.name for role in entries if role.name in role.rules.always) - later.keys()
    fixed = sum(role.replicas for role in entries if role.name in always)

    def minimum(role: RoleEntry) -> int:
        if role.name in later:
            return later[role.name]
        if role.name in always:
            return role.replicas
        return max(explicit[role.name] or 0 if own else 0, min_pods - max(total - role.replicas, fixed), 0)

    return tuple(_with_minimum(role, minimum(role), role.name in later, late) for role in entries)


def _with_minimum(role: RoleEntry, minimum: int, is_late: bool, late: Lateness) -> RoleEntry:
    return RoleEntry(  # `replace` takes as long as all the rest
        role.name,
        role.rules,
        role.path,
        role.entry,
        role.template,
        role.template_path,
        role.replicas,
        minimum,
        role.maximum,
        is_late,
        late.stages.get(role.name, 0),
        role.step,
    )


def _sized(role: RoleEntry, obj: Object) -> RoleEntry:
    """With the sizes that may be chosen for it, where there is a choice."""
    rule = role.rules.resize
    if rule is None or role.late or role.step < 1 or not (rule.when is None or spec_holds(rule.when, obj)):
        return role
    # Where only a gang's number leaves room, as Volcano's does, no role is given up altogether.
    least = role.minimum if role.maximum is not None else max(role.minimum, min(role.replicas, 1))
    least = -(-least // role.step) * role.step
    most = max(role.replicas, role.maximum or 0) if rule.to_maximum else role.replicas
    return replace(role, sizes=Sizes(least, most, role.step, rule.running)) if least < most else role
