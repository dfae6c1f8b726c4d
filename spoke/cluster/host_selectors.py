"""Kubernetes' selectors in their text form.

Labels: `a`, `!a`, `a=b`, `a!=b`, `a in (b,c)`, joined by commas. Fields: `metadata.name=b`, joined by commas.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spoke.cluster.port import Object, Refused

_SET = re.compile(r"(?P<key>[^\s!=,()]+)\s+(?P<operator>in|notin)\s+\((?P<values>[^)]*)\)")
_EQUALITY = re.compile(r"(?P<key>[^\s!=,()]+)\s*(?P<operator>==|=|!=)\s*(?P<values>[^\s!=,()]*)")
_EXISTENCE = re.compile(r"(?P<operator>!?)\s*(?P<key>[^\s!=,()]+)")


@dataclass(frozen=True, slots=True)
class _Requirement:
    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        if self.operator in ("!=", "notin"):
            return labels.get(self.key) not in self.values
        if self.operator in ("=", "==", "in"):
            return labels.get(self.key) in self.values
        return (self.key in labels) is (self.operator == "")


def matches(selector: str, labels: Mapping[str, str]) -> bool:
    """Raises Refused where the selector cannot be read."""
    return all(requirement.holds(labels) for requirement in _parse(selector))


def fields_match(selector: str, obj: Object) -> bool:
    """Only equality; a field that is absent reads as ""."""
    return all(_field_is(*term.partition("=")[::2], obj) for term in selector.split(",") if term)


def _field_is(path: str, value: str, obj: Object) -> bool:
    found: Any = obj
    for part in path.split("."):
        found = found.get(part, "") if isinstance(found, Mapping) else ""
    return str(found) == value


@functools.lru_cache(maxsize=256)
def _parse(selector: str) -> tuple[_Requirement, ...]:
    found = []
    rest = selector.strip()
    while rest:
        match = _SET.match(rest) or _EQUALITY.match(rest) or _EXISTENCE.match(rest)
        after = rest[match.end() :].lstrip() if match else ""
        if match is None or (after and not after.startswith(",")):
            raise Refused(f"label selector {selector!r} cannot be read at {rest!r}: write a, !a, a=b or a in (b,c)")
        groups = match.groupdict()
        values = frozenset(value.strip() for value in groups.get("values", "").split(","))
        found.append(_Requirement(groups["key"], groups["operator"], values))
        rest = after[1:].lstrip()
    return tuple(found)
