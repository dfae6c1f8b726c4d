from hypothesis import given, settings
from hypothesis import strategies as st

from placement.queues.quota import Limits, QuotaBook
from placement.queues.tree import Queue, QueueTree, Quota
from tests.placement.queues.trees import trees

A100 = "A100"


def book(*queues: Queue, **used: float) -> QuotaBook:
    tree = QueueTree.of(queues)
    return QuotaBook(Limits(tree), [(queue, [(A100, amount)]) for queue, amount in used.items()])


def may_take(found: QuotaBook, queue: str, amount: float) -> bool:
    return found.refusal(queue, "c", [(A100, amount)]) is None


def quota(nominal: float, borrow: float | None = None, lend: float | None = None) -> dict[str, Quota]:
    return {A100: Quota(nominal, borrow, lend)}


def test_alone_a_queue_has_its_nominal_quota() -> None:
    found = book(Queue("a", quotas=quota(8)), a=5)
    assert may_take(found, "a", 3)
    assert not may_take(found, "a", 4)


def test_what_a_sibling_does_not_use_is_borrowed_up_to_the_limit() -> None:
    found = book(Queue("o"), Queue("a", "o", quota(8, borrow=8)), Queue("b", "o", quota(20)), a=12)
    assert may_take(found, "a", 4)
    refused = found.refusal("a", "c", [(A100, 8.0)])
    assert refused is not None
    assert refused.message == "queue a may use 16 A100 (nominal 8, borrowed at most 8), uses 12, asks 8"
    assert refused.ever


def test_the_cohort_says_what_it_has_left() -> None:
    found = book(Queue("o"), Queue("a", "o", quota(8)), Queue("b", "o", quota(4)), a=8, b=2)
    refused = found.refusal("a", "c", [(A100, 4.0)])
    assert refused is not None
    assert refused.message == (
        "queue a may use 12 A100 (nominal 8, borrowed at most 4), uses 8, asks 4; its cohort has 2 left for it"
    )
    never = found.refusal("a", "c", [(A100, 13.0)])
    assert never is not None
    assert not never.ever


def test_what_is_not_lent_stays() -> None:
    queues = Queue("o"), Queue("a", "o", quota(0)), Queue("b", "o", quota(10, lend=4))
    assert may_take(book(*queues), "a", 4)
    assert not may_take(book(*queues), "a", 5)
    assert may_take(book(*queues, a=4), "b", 6)
    assert not may_take(book(*queues, a=4), "b", 7)


def test_cohorts_of_cohorts_lend_each_other() -> None:
    queues = (
        Queue("org", quotas=quota(2)),
        Queue("left", "org", quota(0, borrow=3)),
        Queue("a", "left", quota(4)),
        Queue("b", "left", quota(1)),
        Queue("right", "org", quota(9, lend=5)),
        Queue("c", "right"),
    )
    # Of its own cohort 5, and 3 from outside it: 2 of the root and some of what `right` lends.
    assert may_take(book(*queues), "a", 8)
    assert not may_take(book(*queues), "a", 9)
    assert not may_take(book(*queues, c=16), "a", 1)
    # Left's own 5 are lent as well: `c` may have all but the rest of the tree uses.
    assert may_take(book(*queues, a=4), "c", 12)
    assert not may_take(book(*queues, a=4), "c", 13)


def test_a_queue_without_quota_in_a_limited_tree_lives_on_what_others_lend() -> None:
    queues = Queue("o"), Queue("a", "o"), Queue("b", "o", quota(3))
    assert may_take(book(*queues), "a", 3)
    assert not may_take(book(*queues), "a", 4)


def test_quota_below_use_gives_nothing_more_and_breaks_nothing() -> None:
    found = book(Queue("o"), Queue("a", "o", quota(2)), Queue("b", "o", quota(2)), a=9)
    assert not may_take(found, "b", 1)
    assert not may_take(found, "a", 1)


def test_what_is_not_limited_and_what_is_gone_does_not_count() -> None:
    found = book(Queue("a", quotas=quota(1)), a=1, gone=5)
    assert found.refusal("a", "c", [("H100", 99.0), ("cpu", 99.0)]) is None
    assert not may_take(found, "a", 1)


@given(trees(), st.data())
@settings(deadline=None)
def test_nobody_gets_beyond_what_the_rules_allow(tree: QueueTree, data: st.DataObject) -> None:
    """Stated over what is used in the end: no root beyond its tree, no queue beyond what it has and may borrow."""
    limits = Limits(tree)
    found, used = QuotaBook(limits), dict.fromkeys(sorted(tree.open), 0.0)
    for _ in range(12):
        queue = data.draw(st.sampled_from(sorted(tree.open)))
        asks = float(data.draw(st.integers(1, 6)))
        before = found.left(tree.paths[queue], A100)
        if tree.class_of(queue, A100) and found.refusal(queue, "c", [(A100, asks)]) is None:
            found.take(queue, [(A100, asks)])
            used[queue] += asks
            assert found.left(tree.paths[queue], A100) == before - asks
        for name, path in tree.paths.items():
            limit = limits.quota(name, A100).borrowing_limit
            if len(path) == 1:
                assert found.used(name, A100) <= max(limits.subtree(name, A100), 0)
            elif limit is not None:
                assert found.used(name, A100) <= limits.subtree(name, A100) + limit
    for root in (path[0] for path in tree.paths.values() if len(path) == 1):
        under = [name for name, path in tree.paths.items() if path[-1] == root]
        owned = sum(limits.quota(name, A100).nominal for name in under)
        assert sum(used.get(name, 0.0) for name in under if tree.class_of(name, A100)) <= owned


@given(trees(), st.data())
@settings(deadline=None)
def test_a_guarantee_is_always_there(tree: QueueTree, data: st.DataObject) -> None:
    """Whatever the others took, a queue may use up what it does not lend."""
    limits, found = Limits(tree), QuotaBook(Limits(tree))
    one = data.draw(st.sampled_from(sorted(tree.open)))
    for queue in data.draw(st.lists(st.sampled_from(sorted(tree.open)), max_size=20)):
        if queue != one and found.refusal(queue, "c", [(A100, 1.0)]) is None:
            found.take(queue, [(A100, 1.0)])
    mine = limits.guaranteed(one, A100)
    assert found.refusal(one, "c", [(A100, mine)]) is None
