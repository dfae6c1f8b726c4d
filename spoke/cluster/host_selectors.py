"""Kubernetes' selectors in their text form.

Labels are `placement.selectors`'. Fields: `metadata.name=b`, joined by commas.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from placement import selectors
from spoke.cluster.port import Object, Refused


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
def _parse(selector: str) -> tuple[selectors.Requirement, ...]:
    try:
        return selectors.parse(selector)
    except selectors.BadSelector as error:
        raise Refused(str(error)) from error
