from hypothesis import given
from hypothesis import strategies as st

from placement.ordering import ordered
from placement.workload import Hints
from tests.placement.worlds import pending, queues, role, workload


def test_priority_then_age_then_id() -> None:
    low, high = (workload(role(), hints=Hints(priority=p)) for p in (0, 5))
    jobs = [
        pending("b", low, minutes=1),
        pending("a", low, minutes=1),
        pending("old", low),
        pending("urgent", high, minutes=9),
    ]
    assert [job.job for job in ordered(jobs)] == ["urgent", "old", "a", "b"]


@given(queues(), st.randoms())
def test_the_order_does_not_depend_on_the_order_given(jobs: list[object], random: object) -> None:
    shuffled = jobs[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Random
    assert ordered(shuffled) == ordered(jobs)  # type: ignore[arg-type]  # PendingJobs
