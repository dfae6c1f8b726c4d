"""What the agent needs so that data gets into its cluster. `host.py` copies into a directory of this machine itself,
`kube.py` lets a Job of the cluster do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from placement.data import CLAIM, DataMove
from wire.orders import JobRef

Told = Callable[[int, int], None]  # bytes that are there, bytes there are to be


class CannotStage(Exception):
    """Trying again changes nothing here; another cluster may have more luck."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One dataset for one attempt of one job."""

    ref: JobRef
    dataset: str
    source: str  # URI
    size_bytes: int  # as declared
    namespace: str
    claim: str
    secret: str  # in that namespace; "" for none

    @property
    def place(self) -> str:
        return f"{CLAIM}{self.namespace}/{self.claim}"


def copy_of(ref: JobRef, move: DataMove) -> Copy:
    """Raises CannotStage for what no spoke could copy."""
    namespace, _, claim = move.place.removeprefix(CLAIM).partition("/")
    is_named = namespace and claim and "/" not in claim and not claim.startswith(".")  # on a host it is a directory
    if not move.place.startswith(CLAIM) or not is_named:
        raise CannotStage(f"{move.place!r} is no claim to copy {move.name} into")
    if "://" not in move.source.uri or move.source.in_claim:
        where = move.source.uri or f"cluster {move.source.cluster}"
        raise CannotStage(f"{move.name} cannot be copied from {where}: no other cluster can read it there")
    return Copy(ref, move.dataset, move.source.uri, move.size_bytes, namespace, claim, move.secret)


class Stager(Protocol):
    async def copy(self, wanted: Copy, told: Told) -> None:
        """Returns once all of it is there. Cut off at any moment and called again, it goes on.

        Raises CannotStage; anything else is worth another try.
        """

    async def forget(self, ref: JobRef) -> None:
        """Nothing goes on copying for this attempt afterwards. What was copied stays."""


class NoStager:
    """Of a cluster into which nothing can be copied."""

    async def copy(self, wanted: Copy, told: Told) -> None:
        raise CannotStage(f"this spoke copies no data: {wanted.dataset} must lie in the cluster already")

    async def forget(self, ref: JobRef) -> None:
        """Nothing is ever begun."""
