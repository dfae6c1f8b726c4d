from __future__ import annotations

import pytest

from placement.division.standing import PartStanding, WholeStanding, of_cancelled, of_service, of_training
from placement.lifecycle import Phase

RUNNING = PartStanding("eu-a", 4, 4, Phase.RUNNING)
QUEUED = PartStanding("us-b", 2, 0, Phase.QUEUED, "us-b has room for 0 of 2 pods")


def service(*parts: PartStanding, wanted: int = 6, short: str = "", scaled: bool = False) -> WholeStanding:
    return of_service(wanted, parts, short, scaled=scaled)


def test_it_runs_when_the_wish_is_met() -> None:
    assert service(RUNNING, PartStanding("us-b", 2, 2, Phase.RUNNING)) == WholeStanding(Phase.RUNNING, "")


def test_a_replica_that_is_not_ready_is_told_with_its_cluster() -> None:
    found = service(RUNNING, PartStanding("us-b", 2, 1, Phase.RUNNING))
    assert found == WholeStanding(Phase.STARTING, "5 of 6 replicas are ready: us-b has 1 of 2")


def test_what_waits_says_why() -> None:
    assert service(RUNNING, QUEUED).reason == (
        "4 of 6 replicas are ready: us-b has 0 of 2 (us-b has room for 0 of 2 pods)"
    )
    assert service(QUEUED, short="4 of 6 replicas have a place").phase is Phase.QUEUED
    assert service(short="no cluster has room") == WholeStanding(Phase.QUEUED, "no cluster has room")


def test_a_lost_cluster_does_not_count_and_does_not_hinder() -> None:
    away = PartStanding("eu-a", 4, 4, Phase.RUNNING, away=True)
    assert service(away, PartStanding("us-b", 6, 6, Phase.RUNNING)).phase is Phase.RUNNING
    assert service(away, PartStanding("us-b", 2, 2, Phase.RUNNING)).reason == "2 of 6 replicas are ready"


def test_an_autoscaler_may_have_fewer() -> None:
    few = PartStanding("us-b", 2, 1, Phase.RUNNING)
    assert service(RUNNING, few, scaled=True).phase is Phase.RUNNING


def test_training_ends_as_its_parts_do() -> None:
    done, failed = PartStanding("eu-a", 4, 0, Phase.SUCCEEDED), PartStanding("us-b", 2, 0, Phase.FAILED, "exit 1")
    assert of_training((done, PartStanding("us-b", 2, 2, Phase.RUNNING)), "").phase is Phase.RUNNING
    assert of_training((done, PartStanding("us-b", 2, 0, Phase.SUCCEEDED)), "").phase is Phase.SUCCEEDED
    assert of_training((RUNNING, failed), "") == WholeStanding(Phase.CANCELLING, "its part in us-b failed: exit 1")
    assert of_training((done, failed), "").phase is Phase.FAILED


@pytest.mark.parametrize(("phase", "whole"), [(Phase.CANCELLING, Phase.CANCELLING), (Phase.CANCELLED, Phase.CANCELLED)])
def test_a_cancel_ends_with_the_last_part(phase: Phase, whole: Phase) -> None:
    assert of_cancelled([PartStanding("eu-a", 4, 0, phase)], "by ann") == WholeStanding(whole, "by ann")
