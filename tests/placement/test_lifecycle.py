"""The table itself: what it must never allow, whatever rows are added to it."""

import pytest

from placement.lifecycle import HOLDING, TERMINAL, TRANSITIONS, Event, IllegalTransition, Phase, next_epoch, next_phase


def test_a_terminal_job_never_moves() -> None:
    for phase in TERMINAL:
        for event in Event:
            with pytest.raises(IllegalTransition, match=str(phase)):
                next_phase(phase, event)


def test_every_phase_is_terminal_or_can_reach_one() -> None:
    reaches = set(TERMINAL)
    while True:
        more = {before for (before, _), after in TRANSITIONS.items() if after in reaches} - reaches
        if not more:
            break
        reaches |= more
    assert reaches == set(Phase)


def test_capacity_is_held_exactly_between_placing_and_the_end() -> None:
    for (before, event), after in TRANSITIONS.items():
        if before is Phase.QUEUED and event is Event.PLACE:
            assert after in HOLDING
        if after is Phase.QUEUED or after in TERMINAL:
            assert after not in HOLDING
    assert Phase.QUEUED not in HOLDING


def test_only_the_spoke_frees_a_cluster_of_a_job_that_it_holds() -> None:
    """A job leaves EVICTING or CANCELLING only by what its spoke says: nothing runs twice."""
    for (before, event), after in TRANSITIONS.items():
        if before in {Phase.EVICTING, Phase.CANCELLING} and after not in HOLDING:
            assert event in {Event.STOPPED, Event.INTERRUPTED, Event.REFUSE, Event.SUCCEED}


@pytest.mark.parametrize("phase", [p for p in Phase if p not in TERMINAL])
def test_anything_alive_can_be_cancelled(phase: Phase) -> None:
    assert next_phase(phase, Event.CANCEL) in {Phase.CANCELLED, Phase.CANCELLING}


def test_the_epoch_grows_only_on_the_way_back_to_the_queue() -> None:
    assert next_epoch(3, Phase.EVICTING, Phase.QUEUED) == 4
    assert next_epoch(3, Phase.PLACED, Phase.QUEUED) == 4
    assert next_epoch(3, Phase.PLACED, Phase.STARTING) == 3
