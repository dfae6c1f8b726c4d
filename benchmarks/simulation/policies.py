"""The other policies: first-fit, cheapest-first, and first-admit as MultiKueue does it.

All of them put the oldest first and let smaller jobs pass one that finds no room (BestEffortFIFO), and none sends a
job to a cluster without room. None knows what lies where or what it costs to move, nor how often spot is taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from random import Random

from benchmarks.simulation.engine import World


class FirstFit:
    """The first cluster in the federation's order that has room now."""

    def decide(self, world: World) -> float | None:
        _fill(world, list(world.sites))
        return None


class CheapestFirst:
    """The cluster of those with room now whose GPUs cost least by the hour, at the price of the moment.

    What a client does that compares price lists: spot is preferred by every job that tolerates it.
    """

    def decide(self, world: World) -> float | None:
        _fill(world, sorted(world.sites, key=lambda name: (world.prices[name], name)))
        return None


class FirstAdmit:
    """Every cluster has a copy of every waiting job; the first that admits it has it, and the other copies are deleted.

    As MultiKueue is documented: the dispatcher offers a workload to all worker clusters at once; each admits it by its
    own quota when its own scheduler comes to it; the first reservation wins. A worker's scheduler comes to new work a
    random moment (exponential, `mean_s`) after it arrived or something became free there, takes the oldest first, and
    skips what does not fit. Deleting the losers' copies takes no time here, and a worker admits only what its nodes
    really hold (as with topology-aware scheduling), both in its favour.
    """

    def __init__(self, seed: int, mean_s: float = 1.0) -> None:
        self._rng = Random(f"first-admit/{seed}")
        self._mean_s = mean_s
        self._comes_s: dict[str, float] = {}  # when each cluster's scheduler runs next

    def decide(self, world: World) -> float | None:
        for name in world.sites:
            if world.arrived or name in world.changed:
                self._comes_s[name] = min(self._comes_s.get(name, inf), self._moment(world))
        due = sorted((at, name) for name, at in self._comes_s.items() if at <= world.now_s)
        for _, name in due:
            del self._comes_s[name]
            _fill(world, [name])
        return min(self._comes_s.values(), default=None)

    def _moment(self, world: World) -> float:
        return world.now_s + self._rng.expovariate(1 / self._mean_s) + 1e-3


def _fill(world: World, names: Sequence[str]) -> None:
    """Oldest first, each to the first of these clusters that has room. Gangs alike are asked for once in vain."""
    full: set[tuple[int, int, bool]] = set()
    for waits in list(world.waiting.values()):
        job = waits.job
        alike = job.gpus_per_pod, job.pods, job.tolerates_spot
        if alike in full:
            continue
        for name in names:
            if world.sites[name].has_room(job) and world.place(job.name, name):
                break
        else:
            full.add(alike)
