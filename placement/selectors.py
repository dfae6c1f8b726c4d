"""Kubernetes' label selectors in their text form: `a`, `!a`, `a=b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_SET = re.compile(r"(?P<key>[^\s!=,()]+)\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUALITY = re.compile(r"(?P<key>[^\s!=,()]+)\s*(?P<operator>==|=|!=)\s*(?P<values>[^\s!=,()]*)")
_EXISTENCE = re.compile(r"(?P<operator>!?)\s*(?P<key>[^\s!=,()]+)")


class BadSelector(ValueError):
    """The message says where it cannot be read, and what could stand there."""


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: str  # "=" and its like, "in", "notin"; "" and "!" ask for the key alone
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        if self.operator in ("!=", "notin"):
            return labels.get(self.key) not in self.values
        if self.operator in ("=", "==", "in"):
            return labels.get(self.key) in self.values
        return (self.key in labels) is (self.operator == "")


def parse(selector: str) -> tuple[Requirement, ...]:
    """All of them must hold; none at all hold for everything. Raises BadSelector."""
    found = []
    rest = selector.strip()
    while rest:
        match = _SET.match(rest) or _EQUALITY.match(rest) or _EXISTENCE.match(rest)
        after = rest[match.end() :].lstrip() if match else ""
        if match is None or (after and not after.startswith(",")):
            raise BadSelector(f"label selector {selector!r} cannot be read at {rest!r}: write a, !a, a=b or a in (b,c)")
        groups = match.groupdict()
        values = frozenset(value.strip() for value in groups.get("values", "").split(","))
        found.append(Requirement(groups["key"], groups["operator"], values))
        rest = after[1:].lstrip()
        if after and not rest:
            raise BadSelector(f"label selector {selector!r} ends with a comma: leave it out")
    return tuple(found)
