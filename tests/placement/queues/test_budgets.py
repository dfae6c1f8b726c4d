from datetime import timedelta

from placement.fleet import Reservation
from placement.queues.budgets import BudgetBook
from placement.queues.spending import Past
from placement.queues.tree import Budget, Queue, QueueTree
from placement.workload import Hints, Workload
from tests.placement.worlds import NOW, role, workload

NOON = NOW + timedelta(hours=12)
USES = (("A100", 8.0),)


def job(hours: float = 2.0, queue: str = "a") -> Workload:
    return workload(role(gpus=8), hints=Hints(queue=queue, expected_hours=hours))


def book(budget: Budget, *running: Reservation, past: Past | None = None) -> BudgetBook:
    tree = QueueTree.of([Queue("org", budget=budget), Queue("a", "org"), Queue("b")])
    return BudgetBook(tree, {"a": past} if past else {}, running, NOON, 24.0)


def test_the_expected_cost_must_fit_into_what_is_left() -> None:
    assert book(Budget(usd_per_day=40)).refusal("c", job(), USES, 20.0) is None
    refused = book(Budget(usd_per_day=39)).refusal("c", job(), USES, 20.0)
    assert refused is not None
    assert refused.message == (
        "queue org may spend $39.00 a day: $0.00 is spent, $0.00 expected of running jobs, this job on c $40.00; "
        "renewed 2026-01-02 00:00 UTC"
    )


def test_ended_hours_count_and_running_ones_so_far_and_still_to_come() -> None:
    past = Past(NOON, {}, gpu_hours_day=10.0, gpu_hours_month=50.0)
    held = Reservation("r", 1, "c", job(hours=3.0), uses=USES, since=NOON - timedelta(hours=1))
    limit = 10 + 8 + 16
    assert book(Budget(gpu_hours_per_day=limit + 16), held, past=past).refusal("c", job(), USES, 0.0) is None
    refused = book(Budget(gpu_hours_per_day=limit + 15), held, past=past).refusal("c", job(), USES, 0.0)
    assert refused is not None
    assert (refused.spent, refused.committed, refused.asks) == (18.0, 16.0, 16.0)


def test_only_the_hours_within_the_day_count_for_the_day() -> None:
    long = job(hours=100.0)
    assert book(Budget(gpu_hours_per_day=96)).refusal("c", long, USES, 0.0) is None
    assert book(Budget(gpu_hours_per_day=95)).refusal("c", long, USES, 0.0) is not None
    assert book(Budget(gpu_hours_per_month=800)).refusal("c", long, USES, 0.0) is None
    assert book(Budget(gpu_hours_per_month=799)).refusal("c", long, USES, 0.0) is not None


def test_what_is_placed_counts_for_the_next_in_the_same_cycle() -> None:
    found = book(Budget(usd_per_day=50))
    assert found.refusal("c", job(), USES, 20.0) is None
    found.take(Reservation("r", 1, "c", job(), uses=USES, usd_per_hour=20.0, since=NOON))
    assert found.refusal("c", job(), USES, 20.0) is not None


def test_other_queues_are_not_held_to_it() -> None:
    assert book(Budget(usd_per_day=0)).refusal("c", job(queue="b"), USES, 20.0) is None
    assert book(Budget(usd_per_day=0)).refusal("c", job(), USES, 0.0) is None
