"""How a divided work stands, from how its parts do: RUNNING when the wish is met, otherwise with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from placement.lifecycle import TERMINAL, Phase


@dataclass(frozen=True, slots=True)
class PartStanding:
    cluster: str
    replicas: int
    ready: int
    phase: Phase
    reason: str = ""
    away: bool = False  # its cluster is lost: whatever still runs there does not count

    @property
    def counted(self) -> int:
        """Replicas that serve."""
        running = self.phase in (Phase.STARTING, Phase.RUNNING) and not self.away
        return min(self.ready, self.replicas) if running else 0


@dataclass(frozen=True, slots=True)
class WholeStanding:
    phase: Phase
    reason: str


_LEAVING = frozenset({Phase.CANCELLING, Phase.EVICTING})


def of_service(wanted: int, parts: Sequence[PartStanding], short: str, *, scaled: bool) -> WholeStanding:
    """`short`: what the division could not have, in words; "" where it has all. `scaled`: an autoscaler says how many
    replicas a part has, so that one that runs has what it is to have."""
    live = [part for part in parts if part.phase not in TERMINAL]
    if all(part.phase is Phase.QUEUED for part in live):
        waits = "; ".join(f"{part.cluster}: {part.reason}" for part in live if part.reason)
        return WholeStanding(Phase.QUEUED, "; ".join(filter(None, (short, waits))))
    shares = sum(part.replicas for part in live if not part.away and part.phase not in _LEAVING)
    if shares >= wanted and all(_is_complete(part, scaled) for part in live):
        return WholeStanding(Phase.RUNNING, short)
    ready = sum(part.counted for part in live)
    lacking = "; ".join(_words(part) for part in live if not _is_complete(part, scaled))
    told = "; ".join(filter(None, (lacking, short)))
    return WholeStanding(Phase.STARTING, f"{ready} of {wanted} replicas are ready" + (f": {told}" if told else ""))


def _is_complete(part: PartStanding, scaled: bool) -> bool:
    """What leaves is no part of what is wished any more."""
    if part.away or part.phase in _LEAVING:
        return True
    return part.phase is Phase.RUNNING and (scaled or part.ready >= part.replicas)


def _words(part: PartStanding) -> str:
    told = f" ({part.reason})" if part.reason else ""
    return f"{part.cluster} has {part.counted} of {part.replicas}{told}"


def of_training(parts: Sequence[PartStanding], short: str) -> WholeStanding:
    """It succeeds when all of it has; once a part failed, the others have no reason to go on."""
    failed = [part for part in parts if part.phase is Phase.FAILED]
    live = [part for part in parts if part.phase not in TERMINAL]
    if failed:
        reason = f"its part in {failed[0].cluster} failed: {failed[0].reason}"
        return WholeStanding(Phase.CANCELLING if live else Phase.FAILED, reason)
    succeeded = [part for part in parts if part.phase is Phase.SUCCEEDED]
    if succeeded and not live:
        return WholeStanding(Phase.SUCCEEDED, "")
    if all(part.phase is Phase.QUEUED for part in live) and not succeeded:
        waits = "; ".join(f"{part.cluster}: {part.reason}" for part in live if part.reason)
        return WholeStanding(Phase.QUEUED, short or waits)
    if all(part.phase is Phase.RUNNING for part in live):
        return WholeStanding(Phase.RUNNING, "")
    told = "; ".join(f"{part.cluster} is {part.phase}{f' ({part.reason})' if part.reason else ''}" for part in live)
    return WholeStanding(Phase.STARTING, told)


def of_cancelled(parts: Sequence[PartStanding], reason: str) -> WholeStanding:
    live = [part.cluster for part in parts if part.phase not in TERMINAL]
    if not live:
        return WholeStanding(Phase.CANCELLED, reason)
    return WholeStanding(Phase.CANCELLING, reason)
