"""Values that many manifests have in common, made once: tolerations, devices, references, labels that are asked for.

A frozen value costs more to make than to find again. Only short texts are kept, and so many of them: what hostile files
hold is made anew each time.
"""

from __future__ import annotations

from functools import lru_cache

from placement.workload import DeviceNeed, LabelRequirement, Operator, Reference, Toleration

_SHORT = 256
_MANY = 4096


def reference(kind: str, name: str, namespace: str) -> Reference:
    short = len(name) + len(namespace) <= _SHORT
    return _reference(kind, name, namespace) if short else Reference(kind, name, namespace)


def toleration(key: str, operator: str, value: str, effect: str) -> Toleration:
    short = len(key) + len(operator) + len(value) + len(effect) <= _SHORT
    return _toleration(key, operator, value, effect) if short else Toleration(key, operator, value, effect)


def label_in(key: str, value: str) -> LabelRequirement:
    """The label has this value."""
    if len(key) + len(value) <= _SHORT:
        return _label_in(key, value)
    return LabelRequirement(key, Operator.IN, (value,))


def device(resource: str, amount: int, is_share: bool) -> DeviceNeed:
    short = len(resource) <= _SHORT
    return _device(resource, amount, is_share) if short else DeviceNeed(resource, amount, is_share)


_reference = lru_cache(_MANY)(Reference)
_toleration = lru_cache(_MANY)(Toleration)
_device = lru_cache(_MANY)(DeviceNeed)


@lru_cache(_MANY)
def _label_in(key: str, value: str) -> LabelRequirement:
    return LabelRequirement(key, Operator.IN, (value,))
