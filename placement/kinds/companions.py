"""Kinds whose pods are made of the object and of another one, its runtime: what both come to, for who reads roles.

The runtime may be in the same file, or lie in the cluster, where only the spoke sees it. Kind files name a companion by
the keys of `FORMS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from placement.kinds import servingruntimes, trainjobs
from placement.kinds.fields import Object
from placement.kinds.problems import Findings, Problem
from placement.workload import Reference


class Companion(Protocol):
    def expanded(self, obj: Object, beside: Sequence[Object]) -> Object:
        """The object with what its roles are read from. Nothing that it answers is sent anywhere."""

    def check(self, found: Findings, obj: Object, beside: Sequence[Object]) -> None:
        """What is wrong with the object besides its pods."""

    def in_file(self, problem: Problem, obj: Object) -> Problem:
        """Where a problem of what `expanded` answered is in what the user wrote."""

    def names(self, obj: Object, beside: Sequence[Object]) -> tuple[Reference, ...]:
        """The runtimes that it names, or that are chosen for it."""

    def mark(
        self,
        obj: dict[str, Any],
        owner: Object,
        beside: list[dict[str, Any]],
        roles: Sequence[str],
        labels: Mapping[str, str],
        by: str,
    ) -> bool:
        """Writes the marks and the scheduler's name (`by`) where they reach the pods; false where the roles' own
        entries are the place. `obj` and `beside` are the caller's own copies; `owner` is the metadata of the whole
        that `obj` may be a part of."""

    def pod_specs(self, obj: Object, beside: Sequence[Object]) -> Iterator[dict[str, Any]]:
        """Those that are part of these objects, to be changed."""


FORMS: Mapping[str, Companion] = {
    "trainer-runtime": trainjobs.Runtime(),
    "kserve-runtime": servingruntimes.Runtime(),
}
