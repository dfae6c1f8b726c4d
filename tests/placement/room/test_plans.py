"""Whole plans are the same as those of a planner that asks `Capacity` about every gang."""

from dataclasses import replace
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from placement.fleet import Fleet, PendingJob
from placement.members import Room
from placement.planner import Planner, plan, plan_fully
from placement.room.room import Ask
from placement.verdict import Decision, Placed, Plan
from placement.workload import Workload
from tests.placement.worlds import NOW, fleets, queues


class PlainRoom(Room):
    def _ask(self, workload: Workload) -> Ask:
        return replace(super()._ask(workload), identical=False)


def without_names(made: Plan) -> list[Decision]:
    """Of domains that look alike, either may be named."""
    return [
        replace(each, candidates=tuple(replace(one, domain=bool(one.domain)) for one in each.candidates))
        for each in made.decisions
    ]


@given(fleets(), queues())
@settings(max_examples=150, deadline=None)
def test_plans_are_those_of_the_plain_packing(world: Fleet, jobs: list[PendingJob]) -> None:
    quick = plan_fully(world, jobs, NOW)
    with patch("placement.members.Room", PlainRoom):
        assert without_names(plan_fully(world, jobs, NOW)) == without_names(quick)


@given(fleets(), st.lists(queues(), min_size=2, max_size=3), st.data())
@settings(max_examples=60, deadline=None)
def test_and_remain_so_while_jobs_come_and_go(
    world: Fleet, cycles: list[list[PendingJob]], data: st.DataObject
) -> None:
    planner = Planner()
    for number, jobs in enumerate(cycles):
        named = [replace(job, job=f"{number}-{job.job}") for job in jobs]
        made = planner.plan(world, named, NOW)
        with patch("placement.members.Room", PlainRoom):
            assert without_names(plan(world, named, NOW)) == without_names(made)
        held = (*world.reservations, *(d.verdict.reservation for d in made.decisions if isinstance(d.verdict, Placed)))
        world = replace(world, reservations=tuple(one for one in held if data.draw(st.integers(0, 3))))
