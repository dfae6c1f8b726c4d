"""Whose namespaces are whose, and what a tenant may submit.

A tenant that nobody has described has one namespace, of its own name. No namespace is two tenants' by accident: what is
described for one is refused to every other that is not described to have it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from placement.safety.levels import Level
from placement.safety.patterns import any_matches, overlap
from placement.safety.policy import FOR_RDMA, Exemption, Policy, is_reserved

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Tenant:
    name: str
    namespaces: tuple[str, ...]  # names, or patterns with `*`; the first name is for manifests that name none
    level: Level = Level.BASELINE
    kinds: tuple[str, ...] = ("*",)  # of those that the hub knows
    exemptions: tuple[Exemption, ...] = (FOR_RDMA,)
    queues: tuple[str, ...] = ("*",)
    described: bool = True  # False: nobody did, and all of this is the default

    @property
    def home(self) -> str:
        """ "" where it has none."""
        return next((name for name in self.namespaces if "*" not in name), "")

    @property
    def policy(self) -> Policy:
        return Policy(self.level, self.namespaces, self.kinds, self.exemptions)


def undescribed(name: str) -> Tenant:
    own = (name,) if _LABEL.fullmatch(name) and not is_reserved(name) else ()
    return Tenant(name, own, described=False)


@dataclass(frozen=True, slots=True)
class Tenants:
    described: Mapping[str, Tenant] = field(default_factory=dict)

    def of(self, name: str) -> Tenant:
        """A namespace that another one has is none of a tenant's that nobody described."""
        if known := self.described.get(name):
            return known
        found = undescribed(name)
        if any(any_matches(one.namespaces, namespace) for namespace in found.namespaces for one in self._all()):
            return Tenant(name, (), described=False)
        return found

    def _all(self) -> Iterable[Tenant]:
        return self.described.values()

    def clashes(self, changed: Tenant, undescribed_names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
        """(own pattern, other tenant, its pattern) of what would be both's. The names: of tenants that have users."""
        others = [one for name, one in self.described.items() if name != changed.name]
        others += [
            undescribed(name) for name in undescribed_names if name not in self.described and name != changed.name
        ]
        for other in others:
            for own in changed.namespaces:
                yield from ((own, other.name, their) for their in other.namespaces if overlap(own, their))
