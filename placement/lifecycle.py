"""A job's life as one table. Whatever is not in the table is illegal and raises; docs/states.md is drawn from it.

The epoch numbers a job's placement attempts. It grows by one whenever the table leads back to QUEUED
(`next_epoch`), so that whatever an earlier attempt still does or says can be told apart and refused.
"""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    QUEUED = "QUEUED"  # waits for a place
    PLACED = "PLACED"  # reserved on one cluster; its spoke has not accepted yet
    STAGING = "STAGING"  # accepted: data is copied into the cluster before anything is started
    STARTING = "STARTING"  # accepted: objects applied, pods coming up
    RUNNING = "RUNNING"  # the gang runs
    EVICTING = "EVICTING"  # being stopped, to be queued again
    CANCELLING = "CANCELLING"  # being stopped, for good
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Event(StrEnum):
    PLACE = "place"  # hub: reserved, command written
    ACCEPT = "accept"  # spoke: command is in its ledger
    REFUSE = "refuse"  # spoke: cannot hold it after all
    STAGING = "staging"  # spoke: data is being copied there, or has been
    STARTING = "starting"  # spoke: pods not all running (yet, or any more)
    RUNNING = "running"  # spoke: the gang runs
    SUCCEED = "succeed"  # spoke: by the workload's own status
    FAIL = "fail"  # spoke: by the workload's own status
    EVICT = "evict"  # hub: drain, failover
    CANCEL = "cancel"  # user
    STOPPED = "stopped"  # spoke: nothing of this epoch is left in the cluster
    INTERRUPTED = "interrupted"  # spoke: a node or an eviction took it, and nothing of this epoch is left there
    REJECT = "reject"  # hub: no cluster could ever hold it and the user asked not to wait


TERMINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED})
# Phases in which a cluster's capacity is held for the job.
HOLDING = frozenset({Phase.PLACED, Phase.STAGING, Phase.STARTING, Phase.RUNNING, Phase.EVICTING, Phase.CANCELLING})

TRANSITIONS: dict[tuple[Phase, Event], Phase] = {
    (Phase.QUEUED, Event.PLACE): Phase.PLACED,
    (Phase.QUEUED, Event.CANCEL): Phase.CANCELLED,
    (Phase.QUEUED, Event.REJECT): Phase.FAILED,
    (Phase.PLACED, Event.ACCEPT): Phase.STARTING,
    (Phase.PLACED, Event.REFUSE): Phase.QUEUED,
    (Phase.PLACED, Event.INTERRUPTED): Phase.QUEUED,
    (Phase.PLACED, Event.EVICT): Phase.EVICTING,
    (Phase.PLACED, Event.CANCEL): Phase.CANCELLING,
    # A report may overtake the acknowledgement of the command that caused it.
    (Phase.PLACED, Event.STAGING): Phase.STAGING,
    (Phase.PLACED, Event.STARTING): Phase.STARTING,
    (Phase.PLACED, Event.RUNNING): Phase.RUNNING,
    (Phase.PLACED, Event.SUCCEED): Phase.SUCCEEDED,
    (Phase.PLACED, Event.FAIL): Phase.FAILED,
    (Phase.STAGING, Event.ACCEPT): Phase.STAGING,
    (Phase.STAGING, Event.STAGING): Phase.STAGING,
    (Phase.STAGING, Event.STARTING): Phase.STARTING,
    (Phase.STAGING, Event.RUNNING): Phase.RUNNING,
    (Phase.STAGING, Event.SUCCEED): Phase.SUCCEEDED,
    (Phase.STAGING, Event.FAIL): Phase.FAILED,
    (Phase.STAGING, Event.REFUSE): Phase.QUEUED,
    (Phase.STAGING, Event.INTERRUPTED): Phase.QUEUED,
    (Phase.STAGING, Event.EVICT): Phase.EVICTING,
    (Phase.STAGING, Event.CANCEL): Phase.CANCELLING,
    (Phase.STARTING, Event.ACCEPT): Phase.STARTING,
    (Phase.STARTING, Event.STAGING): Phase.STAGING,
    (Phase.STARTING, Event.STARTING): Phase.STARTING,
    (Phase.STARTING, Event.RUNNING): Phase.RUNNING,
    (Phase.STARTING, Event.SUCCEED): Phase.SUCCEEDED,
    (Phase.STARTING, Event.FAIL): Phase.FAILED,
    (Phase.STARTING, Event.REFUSE): Phase.QUEUED,
    (Phase.STARTING, Event.INTERRUPTED): Phase.QUEUED,
    (Phase.STARTING, Event.EVICT): Phase.EVICTING,
    (Phase.STARTING, Event.CANCEL): Phase.CANCELLING,
    (Phase.RUNNING, Event.ACCEPT): Phase.RUNNING,
    (Phase.RUNNING, Event.STARTING): Phase.STARTING,
    (Phase.RUNNING, Event.RUNNING): Phase.RUNNING,
    (Phase.RUNNING, Event.SUCCEED): Phase.SUCCEEDED,
    (Phase.RUNNING, Event.FAIL): Phase.FAILED,
    # The spoke lost its state, or a node refused a pod: nothing of this epoch is left in the cluster.
    (Phase.RUNNING, Event.REFUSE): Phase.QUEUED,
    (Phase.RUNNING, Event.INTERRUPTED): Phase.QUEUED,
    (Phase.RUNNING, Event.EVICT): Phase.EVICTING,
    (Phase.RUNNING, Event.CANCEL): Phase.CANCELLING,
    # While a job is being stopped, what it still reports changes nothing, except that it had already won.
    (Phase.EVICTING, Event.ACCEPT): Phase.EVICTING,
    (Phase.EVICTING, Event.REFUSE): Phase.QUEUED,
    (Phase.EVICTING, Event.STAGING): Phase.EVICTING,
    (Phase.EVICTING, Event.STARTING): Phase.EVICTING,
    (Phase.EVICTING, Event.RUNNING): Phase.EVICTING,
    (Phase.EVICTING, Event.SUCCEED): Phase.SUCCEEDED,
    (Phase.EVICTING, Event.FAIL): Phase.EVICTING,
    (Phase.EVICTING, Event.EVICT): Phase.EVICTING,
    (Phase.EVICTING, Event.CANCEL): Phase.CANCELLING,
    (Phase.EVICTING, Event.STOPPED): Phase.QUEUED,
    (Phase.EVICTING, Event.INTERRUPTED): Phase.QUEUED,
    (Phase.CANCELLING, Event.ACCEPT): Phase.CANCELLING,
    (Phase.CANCELLING, Event.REFUSE): Phase.CANCELLED,
    (Phase.CANCELLING, Event.STAGING): Phase.CANCELLING,
    (Phase.CANCELLING, Event.STARTING): Phase.CANCELLING,
    (Phase.CANCELLING, Event.RUNNING): Phase.CANCELLING,
    (Phase.CANCELLING, Event.SUCCEED): Phase.CANCELLING,
    (Phase.CANCELLING, Event.FAIL): Phase.CANCELLING,
    (Phase.CANCELLING, Event.EVICT): Phase.CANCELLING,
    (Phase.CANCELLING, Event.CANCEL): Phase.CANCELLING,
    (Phase.CANCELLING, Event.STOPPED): Phase.CANCELLED,
    (Phase.CANCELLING, Event.INTERRUPTED): Phase.CANCELLED,
}


class IllegalTransition(Exception):
    """The table has no such row: the event does not apply to a job in this phase."""

    def __init__(self, phase: Phase, event: Event) -> None:
        super().__init__(f"a job that is {phase} cannot take the event '{event}'")
        self.phase = phase
        self.event = event


def next_phase(phase: Phase, event: Event) -> Phase:
    """The phase after `event`. Raises IllegalTransition where the table has no row (every row of a terminal phase)."""
    try:
        return TRANSITIONS[phase, event]
    except KeyError:
        raise IllegalTransition(phase, event) from None


def next_epoch(epoch: int, before: Phase, after: Phase) -> int:
    """The epoch after a transition: a job that goes back to the queue starts its next attempt."""
    return epoch + 1 if after is Phase.QUEUED and before is not Phase.QUEUED else epoch
