"""Which roles' pods come later than others', which of them come at one time, and how many must run at one time.

A role is late where its kind says so of it by name (Spark's executors, which the driver makes), or where its own entry
waits for others (JobSet's `dependsOn`). What nobody waits for and waits for nobody is not late: it begins at once, with
all others like it. Roles that wait for just the same come at one time, and start together as a gang of their own: a
stage. Entries that wait for the end of others never run beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from placement.kinds import fields, paths
from placement.kinds.conditions import Dependencies, spec_holds, waits_for
from placement.kinds.fields import Object
from placement.kinds.kind import Roles
from placement.kinds.podforms import antichain
from placement.kinds.problems import Findings

if TYPE_CHECKING:
    from placement.kinds.roles import RoleEntry

_Others = Mapping[str, bool]  # those that an entry waits for: whether for their end


@dataclass(frozen=True, slots=True)
class Lateness:
    stages: Mapping[str, int] = field(default_factory=dict)  # late roles; 0: each pod for itself
    leads: frozenset[str] = frozenset()  # roles that are all there is, of whose groups one pod each comes first
    before: Mapping[str, frozenset[str]] = field(default_factory=dict)  # the roles that have ended when this one begins

    def at_once(self, weights: Mapping[str, int]) -> int:
        """The most pods that run at one time, of so many pods of each role."""
        return antichain.heaviest(weights, self.before) if self.before else sum(weights.values())


NOT_LATE = Lateness()


def of(entries: Sequence[RoleEntry], obj: Object, found: Findings) -> Lateness:
    """An order that cannot be kept is told to `found`, and passed over."""
    if not any(role.rules.late is not None for role in entries):
        return NOT_LATE
    waiting = _waiting(entries, obj, found)
    stages: dict[str, int] = {}
    numbers: dict[tuple[tuple[str, bool], ...], int] = {}
    alone: set[str] = set()
    for role in entries:
        rule = role.rules.late
        if rule is not None and role.name in rule.roles and (rule.when is None or spec_holds(rule.when, obj)):
            stages[role.name] = numbers.setdefault(((role.name, False),), len(numbers) + 1) if rule.together else 0
            alone |= {role.name} if rule.leads else set()
        elif others := waiting.get(role.name):
            stages[role.name] = numbers.setdefault(tuple(sorted(others.items())), len(numbers) + 1)
    if any(role.replicas for role in entries if role.name not in stages):
        return Lateness(stages, frozenset(), _ended_before(waiting))
    # There are none that could come before them.
    return Lateness({}, frozenset(alone))


def _waiting(entries: Sequence[RoleEntry], obj: Object, found: Findings) -> dict[str, _Others]:
    """By role, those of the same place that it waits for itself."""
    waiting: dict[str, _Others] = {}
    known: dict[Roles, list[str]] = {}
    for role in entries:
        earlier = known.setdefault(role.rules, [])
        rule = role.rules.late
        if rule is not None and rule.in_order is not None and earlier and spec_holds(rule.in_order, obj):
            waiting[role.name] = {earlier[-1]: False}
        elif rule is not None and rule.after is not None:
            waiting[role.name] = _named(rule.after, role, earlier, found)
        earlier.append(role.name)
    return waiting


def _named(rule: Dependencies, role: RoleEntry, earlier: Sequence[str], found: Findings) -> _Others:
    items = paths.reach(found, role.entry, rule.at, role.path)
    at = paths.shown(rule.at, role.path)
    if items is not None and not isinstance(items, list):
        fields.wrong_type(found, at, "a list", items)
    others: dict[str, bool] = {}
    for name, whole in waits_for(rule, role.entry):
        if name in earlier:
            others[name] = others.get(name, False) or whole
        else:
            known = ", ".join(earlier[:5]) or "none"
            found.error(at, f"{role.name} waits for {name[:60]}, which does not stand before it", f"before it: {known}")
    return others


def _ended_before(waiting: Mapping[str, _Others]) -> dict[str, frozenset[str]]:
    """What is over when a role begins, directly or not; empty where nothing waits for an end."""
    before: dict[str, frozenset[str]] = {}
    for name, others in waiting.items():  # in their order: those that are waited for come first
        ended = {other for other, whole in others.items() if whole}
        before[name] = frozenset(ended).union(*(before.get(other, ()) for other in others))
    return before if any(before.values()) else {}
