"""Which pods a cluster is asked to run, and how often: what packing must keep room for.

Learned from what the scheduler itself has seen; nothing has to be declared. Only what packing tells apart counts: CPU,
devices and products. Memory is left out: it is seldom what runs short beside a GPU, and would split the kinds.

Bounded: of many kinds of pods the rarest are forgotten, and what was seen long ago counts less and less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from placement.resources import CPU
from placement.workload import Role

_KINDS = 512
_FADES_AFTER = 20_000  # pods: then all that was seen counts half
_TYPICAL = 0.95  # of all pods; the rarest kinds are left out


@dataclass(frozen=True, slots=True)
class Ask:
    """A pod as packing sees it: `amount` units of `resource` ("" for none), of one card where `is_share`."""

    cpu: int  # milli-cores
    resource: str = ""
    amount: int = 0
    is_share: bool = False
    products: tuple[str, ...] = ()  # that it may run on; () for any


Typical = tuple[tuple[Ask, float], ...]  # with shares of all pods that sum up to 1


def ask_of(role: Role) -> Ask:
    """Of several devices the first by name counts: pods that ask for two kinds are too rare to keep room for."""
    if not role.devices:
        return Ask(role.requests[CPU])
    need = role.devices[0]
    return Ask(role.requests[CPU], need.resource, need.amount, need.is_share, role.products)


class Mix:
    """What was seen so far."""

    def __init__(self) -> None:
        self._pods: dict[Ask, float] = {}
        self._total = 0.0

    @property
    def total(self) -> float:
        return self._total

    def note(self, roles: Iterable[Role]) -> None:
        """A workload was asked for, with all its pods."""
        for role in roles:
            ask = ask_of(role)
            self._pods[ask] = self._pods.get(ask, 0.0) + role.replicas
            self._total += role.replicas
        if self._total > _FADES_AFTER or len(self._pods) > _KINDS:
            self._forget()

    def shares(self) -> dict[Ask, float]:
        return {ask: pods / self._total for ask, pods in self._pods.items()} if self._total else {}

    def typical(self) -> Typical:
        """The commonest kinds, so many that they are 95 % of all pods."""
        return typical(self.shares())

    def _forget(self) -> None:
        kept = sorted(self._pods.items(), key=lambda item: -item[1])[: _KINDS * 3 // 4]
        fade = 0.5 if self._total > _FADES_AFTER else 1.0
        self._pods = {ask: pods * fade for ask, pods in kept}
        self._total = sum(self._pods.values())


def typical(shares: dict[Ask, float]) -> Typical:
    """Of kinds with their shares, which sum up to 1, the commonest: 95 %, normalised."""
    chosen: list[tuple[Ask, float]] = []
    covered = 0.0
    for ask, share in sorted(shares.items(), key=lambda item: -item[1]):
        if covered >= _TYPICAL:
            break
        chosen.append((ask, share))
        covered += share
    return tuple((ask, share / covered) for ask, share in chosen)


def distance(one: dict[Ask, float], other: dict[Ask, float]) -> float:
    """Between two mixes, 0 (alike) to 1 (nothing in common): half the sum of the differences."""
    return sum(abs(one.get(ask, 0.0) - other.get(ask, 0.0)) for ask in {*one, *other}) / 2
