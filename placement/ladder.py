"""The levels of one cluster's topology, ranked from the node upwards: host is 0, the whole cluster is the highest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from placement.bins import HOST_RANK
from placement.inventory import HOST_LEVEL, RARE_LEVELS, TIER

_HOST_LABEL = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True)
class Ladder:
    rungs: tuple[tuple[str, str], ...]  # (level name, label key), fine to coarse, host first

    @classmethod
    def of(cls, levels: Sequence[tuple[str, str]]) -> Ladder:
        """From levels as clusters state them, coarse to fine; host is added where they leave it out."""
        host = next((label for name, label in levels if name == HOST_LEVEL), _HOST_LABEL)
        above = tuple(rung for rung in reversed(levels) if rung[0] != HOST_LEVEL)
        return cls(((HOST_LEVEL, host), *above))

    @property
    def top(self) -> int:
        """The rank of the whole cluster."""
        return len(self.rungs)

    def rank(self, level: str) -> int | None:
        """Of a level's name, of its label key, or by its tier; None where the cluster has no such level."""
        for rank, rung in enumerate(self.rungs):
            if level in rung:
                return rank
        tier = level.removeprefix(TIER)
        if tier != level and tier.isascii() and tier.isdigit() and int(tier[:9]) > HOST_RANK:
            return min(int(tier[:9]), self.top)  # a tier above all levels is the whole cluster
        return None

    def steps(self, rank: int) -> int:
        """How far apart pods in one domain of that rank may be. A level that few clusters have makes none: what lies in
        one rack is no farther apart where racks have NVLink domains in them."""
        return sum(name not in RARE_LEVELS for name, _ in self.rungs[1 : rank + 1]) + (rank == self.top)

    def name(self, rank: int) -> str:
        return self.rungs[rank][0] if rank < self.top else "cluster"

    def names(self) -> tuple[str, ...]:
        """Coarse to fine, for people."""
        return tuple(name for name, _ in reversed(self.rungs))

    def path(self, domains: Mapping[str, str]) -> tuple[tuple[int, str], ...]:
        """The (rank, name) of each domain that a node says it is in, coarse to fine; host is not among them."""
        return tuple(
            (rank, domains[self.rungs[rank][0]])
            for rank in range(self.top - 1, HOST_RANK, -1)
            if domains.get(self.rungs[rank][0])
        )
