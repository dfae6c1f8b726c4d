from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from placement.fleet import PendingJob, Reservation
from placement.queues.fair_share import Shares, turns
from placement.queues.quota import Limits
from placement.queues.spending import Past
from placement.queues.tree import Queue, QueueTree, Quota
from placement.workload import Hints
from tests.placement.worlds import NOW, pending, queues, role, workload

USES = (("A100", 1.0),)
CAPACITY = {"A100": 100.0, "T4": 1000.0, "cpu": 500.0}


def job(name: str, queue: str, priority: int = 0, minutes: float = 0) -> PendingJob:
    return pending(name, workload(role(gpus=1), hints=Hints(queue=queue, priority=priority)), minutes=minutes)


def shares(*queues: Queue, past: dict[str, Past] | None = None, running: tuple[Reservation, ...] = ()) -> Shares:
    return Shares(Limits(QueueTree.of(queues)), CAPACITY, past or {}, running, NOW, 24.0)


def order(found: Shares, jobs: list[PendingJob], at_most: int = 1000) -> list[str]:
    """With every job placed."""
    names: list[str] = []
    for one in turns(jobs, found):
        names.append(one.job)
        found.take(one.workload.hints.queue, USES)
        if len(names) == at_most:
            break
    return names


def test_in_one_queue_priority_then_age_then_id() -> None:
    jobs = [job("b", "q", minutes=1), job("a", "q", minutes=1), job("old", "q"), job("urgent", "q", 5, minutes=9)]
    assert [one.job for one in turns(jobs, None)] == ["urgent", "old", "a", "b"]


def test_queues_take_turns_however_many_jobs_one_has() -> None:
    jobs = [job(f"a{i}", "a") for i in range(9)] + [job("b0", "b", minutes=1), job("b1", "b", minutes=1)]
    assert order(shares(Queue("a"), Queue("b")), jobs, 5) == ["a0", "b0", "a1", "b1", "a2"]


def test_weights_divide_and_zero_comes_last() -> None:
    jobs = [job(f"{queue}{i:02}", queue) for queue in "abz" for i in range(20)]
    found = order(shares(Queue("a", weight=3), Queue("b"), Queue("z", weight=0)), jobs, 20)
    assert Counter(name[0] for name in found) == {"a": 15, "b": 5}


def test_a_cohort_of_many_gets_no_more_than_one_of_few() -> None:
    tree = Queue("x"), Queue("x1", "x"), Queue("x2", "x"), Queue("y"), Queue("y1", "y")
    jobs = [job(f"{queue}-{i}", queue) for queue in ("x1", "x2", "y1") for i in range(20)]
    assert Counter(name[:2] for name in order(shares(*tree), jobs, 16)) == {"x1": 4, "x2": 4, "y1": 8}


def test_the_dominant_resource_counts() -> None:
    cpus = Reservation("r", 1, "c", workload(role(), hints=Hints(queue="a")), uses=(("cpu", 100.0),), since=NOW)
    cards = Reservation("s", 1, "c", workload(role(), hints=Hints(queue="b")), uses=(("A100", 10.0),), since=NOW)
    # 20 % of the cores is more than 10 % of the cards.
    assert order(shares(Queue("a"), Queue("b"), running=(cpus, cards)), [job("a", "a"), job("b", "b")], 1) == ["b"]


def test_who_used_much_lately_comes_after_who_did_not_and_it_fades() -> None:
    had = {"a": Past(NOW, {"A100": 1000.0}), "b": Past(NOW - timedelta(days=9), {"A100": 2000.0})}
    assert order(shares(Queue("a"), Queue("b"), past=had), [job("a", "a"), job("b", "b")], 1) == ["b"]


def test_who_borrows_comes_after_who_keeps_within_its_quota() -> None:
    tree = Queue("o"), Queue("a", "o", {"A100": Quota(2)}), Queue("b", "o", {"A100": Quota(20)})
    running = tuple(
        Reservation(f"{queue}{i}", 1, "c", workload(role(), hints=Hints(queue=queue)), uses=USES, since=NOW)
        for queue, count in (("a", 3), ("b", 10))
        for i in range(count)
    )
    assert order(shares(*tree, running=running), [job("a", "a"), job("b", "b", minutes=9)], 1) == ["b"]


@given(queues(), st.randoms(use_true_random=False))
def test_every_job_has_its_turn_once_in_an_order_that_does_not_depend_on_the_one_given(
    jobs: list[PendingJob], random: object
) -> None:
    tree = Queue("default"), Queue("other")
    shuffled = jobs[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Random
    found = order(shares(*tree), jobs)
    assert sorted(found) == sorted(one.job for one in jobs)
    assert order(shares(*tree), shuffled) == found
