"""What moving running jobs could win, as proposals for people: who moves where, what that costs, what it gains.

Each is worked out on the fleet as it is and stands alone: after one was carried out, the others are to be asked for
anew. Moving is stopping and starting again: what a job did since its last checkpoint is lost, and its restart, and what
copying its data costs. All of it in dollars, so that unlike things can be compared; only proposals that win more than
they cost are made, the best first.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from placement.data import DataMove


class Aim(StrEnum):
    MAKE_ROOM = "make-room"  # a gang that waits could start
    SAVE_COST = "save-cost"  # the same work for less
    WHOLE_NODES = "whole-nodes"  # nodes or racks that are used in part would be free as a whole


@dataclass(frozen=True, slots=True)
class Step:
    """One job stopped, and started again."""

    job: str
    epoch: int
    source: str
    target: str  # cluster; may be the same: on other nodes of it
    gpus: float
    lost_gpu_hours: float
    usd: float  # lost work, restart, copying its data, and what it costs more there for the rest of its time
    moves: tuple[DataMove, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    aim: Aim
    steps: tuple[Step, ...]
    gain_usd: float
    gain: str  # for people, with its numbers
    job: str = ""  # MAKE_ROOM: the one that could start
    cluster: str = ""  # where the gain is
    earlier_hours: float = 0.0  # MAKE_ROOM
    saved_usd_per_hour: float = 0.0  # SAVE_COST
    whole_nodes: int = 0  # WHOLE_NODES: so many more
    whole_domains: int = 0  # likewise, of the levels above nodes

    @property
    def usd(self) -> float:
        return sum(step.usd for step in self.steps)

    @property
    def lost_gpu_hours(self) -> float:
        return sum(step.lost_gpu_hours for step in self.steps)

    @property
    def net_usd(self) -> float:
        return self.gain_usd - self.usd

    @property
    def id(self) -> str:
        """The same for the same moves with the same aim, however their cost has changed meanwhile."""
        said = [self.aim.value, self.job, self.cluster]
        said += [f"{step.job}/{step.epoch}/{step.source}/{step.target}" for step in self.steps]
        return "r-" + hashlib.sha256("|".join(said).encode()).hexdigest()[:10]
