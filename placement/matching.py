"""Whether a node's labels and taints admit a pod, by Kubernetes' own rules.

Terms are alternatives, the requirements of a term must all hold, and an empty term matches nothing. `NotIn` and
`DoesNotExist` hold where the key is absent. `NoSchedule` and `NoExecute` taints need a toleration;
`PreferNoSchedule` is a wish and never keeps a pod away.

The hub sees nodes without their `hidden` labels (unique to a node, or naming its rack). A requirement on a hidden key
proves nothing, whatever its operator: it does not hold here, and the spoke, which sees every label, may find more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from placement.inventory import Taint
from placement.workload import LabelRequirement, NodeConstraint, Operator, Toleration

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_INT64 = range(-(2**63), 2**63)
_KEEPS_AWAY = frozenset({"NoSchedule", "NoExecute"})


def admits(
    constraint: NodeConstraint, labels: Mapping[str, str], taints: Iterable[Taint], hidden: frozenset[str] = frozenset()
) -> bool:
    return obstacle(constraint, labels, taints, hidden) is None


def obstacle(
    constraint: NodeConstraint, labels: Mapping[str, str], taints: Iterable[Taint], hidden: frozenset[str] = frozenset()
) -> str | None:
    """What keeps the pod off such a node, in words; None where nothing does."""
    for taint in taints:
        if taint.effect in _KEEPS_AWAY and not any(tolerates(t, taint) for t in constraint.tolerations):
            return f"its taint {_spell_taint(taint)} is not tolerated"
    unmet = ""
    for term in constraint.terms:
        failing = _first_unmet(term, labels, hidden)
        if failing is None:
            return None
        unmet = unmet or failing
    return unmet if constraint.terms else None


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.operator in ("", "Equal") and toleration.value == taint.value


def holds(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case Operator.IN:
            return value is not None and value in requirement.values
        case Operator.NOT_IN:
            return value is None or value not in requirement.values
        case Operator.EXISTS:
            return value is not None
        case Operator.DOES_NOT_EXIST:
            return value is None
        case Operator.GT | Operator.LT:
            return _compares(requirement, value)


def _first_unmet(term: tuple[LabelRequirement, ...], labels: Mapping[str, str], hidden: frozenset[str]) -> str | None:
    if not term:
        return "an empty node selector term matches no node"
    for requirement in term:
        if requirement.key in hidden:
            return f"the hub is not told label {requirement.key}, so {_spell(requirement)} proves nothing"
        if not holds(requirement, labels):
            return f"{_spell(requirement)} is not met"
    return None


def _compares(requirement: LabelRequirement, value: str | None) -> bool:
    if value is None or len(requirement.values) != 1:
        return False
    have, bound = _integer(value), _integer(requirement.values[0])
    if have is None or bound is None:
        return False
    return have > bound if requirement.operator is Operator.GT else have < bound


def _integer(text: str) -> int | None:
    """As Go's ParseInt(text, 10, 64): no spaces, no underscores, 64 bits."""
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if number in _INT64 else None


def _spell(requirement: LabelRequirement) -> str:
    match requirement.operator:
        case Operator.EXISTS:
            return f"label {requirement.key}"
        case Operator.DOES_NOT_EXIST:
            return f"the absence of label {requirement.key}"
    return f"{requirement.key} {requirement.operator.value} [{', '.join(requirement.values)}]"


def _spell_taint(taint: Taint) -> str:
    return f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"
