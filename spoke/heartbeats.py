"""Which nodes are lost, judged by what this spoke itself saw of their leases and of their Ready conditions. Pure.

A kubelet renews its node's lease every ten seconds. The cluster's own verdict (Ready=Unknown) comes some fifty seconds
after the last renewal; a gang that hangs on a dead node should be running elsewhere by then. So the leases are listed
every few seconds, and a node is lost when its lease was not renewed for as long as the lease itself is good.

Only time in which this spoke could see counts: the gaps between lists that succeeded one soon after the other. Clocks
are never compared: no node is lost by an API server that was down, a spoke that was frozen or a machine whose time was
set. A kubelet that cannot reach the API server is lost too, though its pods may run on; it ends them when it is back.

Not promised: anything about nodes without a lease, beyond what their conditions say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from spoke.cluster.port import Object

LEASE_S = 40.0  # where a lease does not say how long it is good


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each sign of trouble must have been seen without a break."""

    unknown_s: float = 10.0  # Ready=Unknown, the cluster's verdict, and no renewal
    unready_s: float = 60.0  # Ready=False, the kubelet's own word


PATIENCE = Patience()


@dataclass(slots=True)
class _Lease:
    renewed: object  # renewTime, compared and never read
    good_s: float
    silent_s: float = 0.0  # seen so long without a renewal
    proven_at: float | None = None  # it was renewed after this moment


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Holds until what it rests on has changed: a look that failed later brings no node back to life."""

    why: str
    renewed: object = None  # the renewTime that was not followed by another, where it rests on that
    status: str = ""  # of Ready, where it rests on that


class Heartbeats:
    """`now` is in seconds of any clock that never goes back."""

    def __init__(self, patience: Patience = PATIENCE) -> None:
        self._patience = patience
        self._leases: dict[str, _Lease] = {}
        self._conditions: dict[str, tuple[str, float]] = {}  # node -> (status of Ready, seen so long)
        self._lost: dict[str, _Verdict] = {}
        self._looked_at: float | None = None

    def missed(self) -> None:
        """A look failed: what was counted until now counts no more."""
        self._looked_at = None

    def looked(self, leases: Iterable[Object], conditions: Mapping[str, str], now: float, soon_s: float) -> None:
        """`conditions` are the nodes there are, with the status of their Ready condition. A look that comes more than
        `soon_s` after the last one begins the count anew."""
        before = self._looked_at
        gap_s = now - before if before is not None and now - before <= soon_s else None
        self._looked_at = now
        self._leases = {name: self._lease(name, spec, before, gap_s) for name, spec in _read(leases)}
        self._conditions = {name: (status, self._seen_s(name, status, gap_s)) for name, status in conditions.items()}
        verdicts = {name: self._verdict(name, status, seen_s) for name, (status, seen_s) in self._conditions.items()}
        self._lost = {name: verdict for name, verdict in verdicts.items() if verdict is not None}

    def lost(self) -> Mapping[str, str]:
        """Node -> why: "no heartbeat for 40 s"."""
        return {name: verdict.why for name, verdict in self._lost.items()}

    def proven_since(self, node: str, moment: float) -> bool:
        """Whether the node was surely alive after `moment`; one without a lease cannot prove it, and need not."""
        lease = self._leases.get(node)
        return lease is None or (lease.proven_at is not None and lease.proven_at >= moment)

    def _lease(self, name: str, spec: Mapping[str, Any], before: float | None, gap_s: float | None) -> _Lease:
        known = self._leases.get(name)
        renewed, good_s = spec.get("renewTime"), float(spec.get("leaseDurationSeconds") or LEASE_S)
        if known is None:
            return _Lease(renewed, good_s)
        if known.renewed != renewed:
            # It was as before at the last look: so this renewal came after that.
            return _Lease(renewed, good_s, proven_at=before)
        silent_s = known.silent_s + gap_s if gap_s is not None else 0.0
        return _Lease(renewed, good_s, silent_s, known.proven_at)

    def _seen_s(self, name: str, status: str, gap_s: float | None) -> float:
        known, seen_s = self._conditions.get(name, ("", 0.0))
        return seen_s + gap_s if known == status and gap_s is not None else 0.0

    def _verdict(self, name: str, status: str, seen_s: float) -> _Verdict | None:
        lease, patience, known = self._leases.get(name), self._patience, self._lost.get(name)
        renewed = lease.renewed if lease is not None else None
        if known is not None and known.renewed in (None, renewed) and known.status in ("", status):
            return known
        if lease is not None and lease.silent_s >= lease.good_s:
            return _Verdict(f"no heartbeat for {lease.good_s:g} s", renewed=renewed)
        if status == "Unknown" and min(seen_s, lease.silent_s if lease is not None else seen_s) >= patience.unknown_s:
            return _Verdict("the cluster has no word of it", renewed=renewed, status=status)
        if status == "False" and seen_s >= patience.unready_s:
            return _Verdict(f"not ready for {patience.unready_s:g} s by its own word", status=status)
        return None


def _read(leases: Iterable[Object]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    return ((lease["metadata"]["name"], lease.get("spec") or {}) for lease in leases)
