from math import inf, nan

import pytest

from placement.queues.tree import Budget, Queue, QueueTree, Quota, faults


def said(*queues: Queue) -> str:
    return "\n".join(map(str, faults(QueueTree.of(queues))))


def test_without_configuration_there_is_default_without_limits() -> None:
    tree = QueueTree()
    assert tree.open == {"default"}
    assert tree.limited == frozenset()
    assert faults(tree) == ()


def test_a_queue_with_parts_takes_no_jobs_and_limits_hold_for_all_under_it() -> None:
    tree = QueueTree.of([Queue("org", budget=Budget(usd_per_day=1)), Queue("a", "org"), Queue("b", "org"), Queue("c")])
    assert faults(tree) == ()
    assert tree.open == {"a", "b", "c"}
    assert tree.children["org"] == ("a", "b")
    assert tree.limited == {"org", "a", "b"}


def test_a_class_counts_under_its_name_else_under_any_gpu_else_not_at_all() -> None:
    tree = QueueTree.of([Queue("a", quotas={"T4": Quota(1), "*": Quota(2)}), Queue("b", quotas={"cpu": Quota(3)})])
    assert [tree.class_of("a", device) for device in ("T4", "H100", "", "cpu")] == ["T4", "*", "*", None]
    assert [tree.class_of("b", device) for device in ("T4", "cpu")] == [None, "cpu"]


def test_a_cycle_names_its_way() -> None:
    found = said(Queue("a", "b"), Queue("b", "c"), Queue("c", "a"))
    assert "queue a: cohort: its cohorts lead back to itself (a → b → c → a): name another cohort, or none" in found
    assert "queue a: cohort: its cohorts lead back to itself (a → a)" in said(Queue("a", "a"))
    # One that only leads into a cycle is not part of it.
    assert "queue d" not in said(Queue("d", "a"), Queue("a", "b"), Queue("b", "a"))


def test_an_unknown_cohort_names_those_there_are() -> None:
    assert said(Queue("a", "orgg"), Queue("org")) == (
        "queue a: cohort: there is no queue 'orgg': create it first; there are: org"
    )


@pytest.mark.parametrize("wrong", [-1.0, nan, inf])
def test_wrong_amounts_name_their_field_and_value(wrong: float) -> None:
    assert f"quotas[T4].nominal: {wrong:g} is no amount" in said(Queue("a", quotas={"T4": Quota(wrong)}))
    assert f"weight: {wrong:g} is no amount" in said(Queue("a", weight=wrong))
    assert f"budget.usd_per_day: {wrong:g} is no amount" in said(Queue("a", budget=Budget(usd_per_day=wrong)))
    limit = said(Queue("o"), Queue("a", "o", quotas={"T4": Quota(1, wrong, 0)}))
    assert f"quotas[T4].borrowing_limit: {wrong:g} is no amount" in limit


def test_limits_of_borrowing_and_lending_need_a_cohort() -> None:
    assert "quotas[T4].borrowing_limit: it is in no cohort" in said(Queue("a", quotas={"T4": Quota(1, 1)}))
    assert "quotas[T4].lending_limit: it is in no cohort" in said(Queue("a", quotas={"T4": Quota(1, None, 1)}))
