from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from placement.division.rooms import Holding, Rooms
from placement.division.values import UNLIMITED, Place
from placement.fleet import Fleet, Health, Progress, Reservation
from placement.money import Price, PriceBook
from placement.workload import Hints, Workload
from tests.placement.worlds import cluster, cpu_node, gpu_node, role, workload

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WEB = workload(role(replicas=6, gpus=2))


def a_part(replicas: int, where: str, job: str = "j-part") -> Reservation:
    return Reservation(job, 1, where, workload(role(replicas=replicas, gpus=2)))


def places(
    fleet: Fleet, asked: Workload = WEB, refused: dict[str, str] | None = None, **held: Holding
) -> dict[str, Place]:
    rooms = Rooms()
    rooms.renew(fleet)
    return {one.cluster: one for one in rooms.of(asked, fleet, held, refused or {})}


def test_room_is_told_in_replicas_beyond_the_wish() -> None:
    fleet = Fleet({"a": cluster("a", [gpu_node("n0"), gpu_node("n1", free=3)]), "b": cluster("b", [cpu_node("n0")])})
    found = places(fleet)
    assert (found["a"].room, found["b"].room) == (5, 0)
    assert found["b"].why is not None
    assert found["b"].why.code == "device-missing"


def test_others_reservations_are_taken_out_and_the_own_part_counts() -> None:
    fleet = Fleet({"a": cluster("a", [gpu_node("n0"), gpu_node("n1")])}, (a_part(3, "a"), a_part(2, "a", "j-other")))
    assert places(fleet)["a"].room == 3
    assert places(fleet, a=Holding(("j-part", 1), 3, True))["a"].room == 6


def test_pods_that_lost_their_node_have_no_room_in_a_full_cluster() -> None:
    full = cluster("a", [gpu_node("n0", free=0)])
    held = Holding(("j-part", 1), 4, True)
    there = Fleet({"a": full}, (a_part(4, "a"),), progress={"j-part": Progress(1, NOW, None, (("n0", "worker", 3),))})
    assert places(there, a=held)["a"].room == 3
    assert places(there, a=replace(held, scaled=True))["a"].room == 4
    untold = replace(there, progress={})
    assert places(untold, a=held)["a"].room == 4


@pytest.mark.parametrize(
    ("change", "room", "keeps", "code"),
    [
        ({"cordoned": True}, 3, 0, "cordoned"),
        ({"health": Health.DISCONNECTED}, 3, 3, "cluster-not-ready"),
        ({"health": Health.LOST}, 0, 0, "cluster-not-ready"),
    ],
)
def test_a_closed_cluster_keeps_what_it_has_and_a_lost_one_nothing(
    change: dict[str, object], room: int, keeps: int, code: str
) -> None:
    fleet = Fleet({"a": cluster("a", [gpu_node("n0"), gpu_node("n1")], **change)}, (a_part(3, "a"),))
    found = places(fleet, a=Holding(("j-part", 1), 3, True))["a"]
    assert (found.room, found.keeps) == (room, keeps)
    assert found.why is not None
    assert found.why.code == code


def test_a_cluster_that_refused_takes_no_more() -> None:
    fleet = Fleet({"a": cluster("a", [gpu_node("n0")])})
    found = places(fleet, refused={"a": "0 of 1 pods fit"})["a"]
    assert found.room == 0
    assert found.why is not None
    assert found.why.message == "the spoke of a refused it: 0 of 1 pods fit"


def test_a_queued_part_holds_nothing() -> None:
    fleet = Fleet({"a": cluster("a", [gpu_node("n0")])})
    assert places(fleet, a=Holding(("j-part", 1), 3, False))["a"].room == 4


def test_the_price_is_one_replicas() -> None:
    fleet = Fleet({"a": cluster("a", [gpu_node("n0")])}, prices=PriceBook({("a", "*"): Price(1.5)}))
    assert places(fleet)["a"].usd_per_hour == pytest.approx(3.0)
    full = replace(fleet, clusters={"a": cluster("a", [gpu_node("n0", free=0)])})
    assert places(full)["a"].usd_per_hour == pytest.approx(3.0), "a full cluster is not a cheap one"


def test_pods_that_ask_for_nothing_have_all_the_room_that_there_are_pods_for() -> None:
    fleet = Fleet({"a": cluster("a", [cpu_node("n0")])})
    found = places(fleet, workload(role(replicas=6)))["a"]
    assert 0 < found.room <= UNLIMITED


def test_lists_of_the_job_are_kept() -> None:
    fleet = Fleet({"a": cluster("a", [gpu_node("n0")]), "b": cluster("b", [gpu_node("n0")])})
    found = places(fleet, replace(WEB, hints=Hints(clusters=("b",))))
    assert (found["a"].room, found["b"].room) == (0, 4)
