"""How marks come and go; how many nodes are emptied at once; what marks take from a node."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from placement.inventory import DEFAULT_LEVELS
from spoke import nodes
from spoke.gpus import effect
from spoke.gpus.book import Book, Marks, Names, Patience
from spoke.gpus.event_signs import NodeEvent
from spoke.gpus.incident import Incident, Limit
from spoke.gpus.memory import Memory
from spoke.gpus.node_signs import NodeSigns
from spoke.gpus.signs import EVERY, Card, Sign
from tests.spoke.stage import node

T0 = datetime(2026, 1, 1, tzinfo=UTC)
BAD = Sign(Card(index=3), "Xid 79")


def said(*by_monitors: Sign, boot: str = "b1", missing: int = 0, repaired_at: datetime | None = None) -> NodeSigns:
    return NodeSigns("n1", boot, (), by_monitors, missing, repaired_at)


def xid(at: datetime = T0, *, rebooted: bool = False) -> NodeEvent:
    return NodeEvent("n1", at, rebooted, () if rebooted else (BAD,))


def test_what_a_monitor_takes_back_counts_for_a_while() -> None:
    book = Book(Patience(recovery_s=120))
    assert book.node(said(BAD), 0)
    assert book.marks("n1") == Marks(cards={3: "Xid 79"})
    assert not book.node(said(), 10)
    assert book.settle(129) == set()
    assert not book.node(said(BAD), 129)  # it flaps: the count begins anew
    assert not book.node(said(), 131)
    assert book.settle(250) == set()
    assert book.settle(251.1) == {"n1"}
    assert not book.marks("n1")
    assert not book.due()


def test_what_happened_stays_until_the_node_is_started_anew() -> None:
    book = Book()
    book.node(said(), 0)
    assert book.event(xid(), 1, T0)
    assert book.settle(10_000) == set()
    assert not book.node(said(), 10_000)
    assert book.node(said(boot="b2"), 10_001)
    assert not book.marks("n1")


def test_a_restart_of_the_node_may_be_told_by_an_event_in_any_order() -> None:
    book = Book()
    book.node(said(), 0)
    book.event(xid(T0 + timedelta(minutes=5)), 1, T0)
    assert not book.event(xid(T0, rebooted=True), 1, T0)
    assert book.event(xid(T0 + timedelta(minutes=6), rebooted=True), 1, T0)


def test_the_owner_says_that_it_is_repaired() -> None:
    book = Book()
    book.node(said(), 0)
    book.event(xid(), 1, T0)
    assert book.node(said(repaired_at=T0 + timedelta(seconds=1)), 2)
    assert not book.event(xid(), 3, T0)  # listed again by the watch
    assert book.event(xid(T0 + timedelta(seconds=2)), 4, T0)


def test_cards_are_missing_once_they_were_for_a_while() -> None:
    book = Book(Patience(missing_s=20))
    assert not book.node(said(missing=1), 0)
    assert book.due()
    assert book.settle(19) == set()
    assert book.settle(20) == {"n1"}
    assert book.marks("n1").missing == 1
    assert book.node(said(), 21)


def test_a_card_by_a_name_that_nobody_knows_is_every_card_until_it_is_known() -> None:
    book = Book()
    book.node(said(Sign(Card(pci="0000:0f:00"), "Xid 79")), 0)
    assert book.marks("n1").every == "the GPU at PCI 0000:0f:00: Xid 79"
    assert book.measured("n1", (), {3: Names(pci="0000:0f:00")}, 1)
    assert book.marks("n1") == Marks(cards={3: "Xid 79"})


def test_marks_outlive_the_agent_and_not_the_node(tmp_path: Path) -> None:
    book = Book()
    book.node(said(), 0)
    book.event(xid(), 1, T0)
    memory = Memory(tmp_path / "gpus.json")
    memory.save(book.happenings())
    after = Book()
    after.remember(memory.load())
    after.node(said(), 0)
    assert after.marks("n1").cards == {3: "Xid 79"}
    started_anew = Book()
    started_anew.remember(memory.load())
    started_anew.node(said(boot="b2"), 0)
    assert not started_anew.marks("n1")
    (tmp_path / "gpus.json").write_text("{")
    assert memory.load() == []


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.floats(0, 100)), max_size=40))
def test_a_mark_is_there_whenever_somebody_says_so(steps: list[tuple[int, bool, float]]) -> None:
    book, now, says = Book(Patience(recovery_s=30)), 0.0, dict[int, bool]()
    book.node(said(), 0)
    for index, bad, wait in steps:
        now += wait
        says[index] = bad
        signs = [Sign(Card(index=i), "x") for i, is_bad in says.items() if is_bad]
        book.measured("n1", signs, {}, now)
        assert {i for i, is_bad in says.items() if is_bad} <= set(book.marks("n1").cards)
    book.measured("n1", (), {}, now)
    book.settle(now + 31)
    assert not book.marks("n1")


def test_memory_is_bounded() -> None:
    book = Book()
    book.node(said(*(Sign(Card(index=i), "x") for i in range(500))), 0)
    assert book.marks("n1").every == "500 signs at once: x"


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 300)), max_size=60), st.integers(1, 50), st.floats(0, 0.5))
def test_no_more_nodes_are_emptied_within_the_time_than_the_limit(
    asked: list[tuple[int, float]], gpu_nodes: int, share: float
) -> None:
    incident, now, moved = Incident(Limit(share=share)), 0.0, list[tuple[float, int]]()
    for name, wait in asked:
        now += wait
        if incident.may_move(str(name), gpu_nodes, now):
            moved = [(at, one) for at, one in moved if at > now - 600]
            if name not in {one for _, one in moved}:
                moved.append((now, name))
        assert len({one for at, one in moved if at > now - 600}) <= incident.limit.nodes(gpu_nodes)


def test_what_a_marked_card_takes_from_a_node() -> None:
    facts = nodes.read(node("n1"), DEFAULT_LEVELS)
    # The device plugin may give out the sick one: nobody is given a card there.
    chosen_by_plugin = effect.on(facts, frozenset({3}), every=False)
    assert chosen_by_plugin.unhealthy == frozenset(range(8))
    assert chosen_by_plugin.capacity["nvidia.com/gpu"] == 7
    withdrawn = node("n1")
    withdrawn["status"]["allocatable"]["nvidia.com/gpu"] = "7"
    known = effect.on(nodes.read(withdrawn, DEFAULT_LEVELS), frozenset({3}), every=False)
    assert (known.unhealthy, known.capacity["nvidia.com/gpu"]) == (frozenset({3}), 7)
    host = node("n1")
    host["status"]["nodeInfo"] = {"kubeletVersion": nodes.HOST_KUBELET}
    named = effect.on(nodes.read(host, DEFAULT_LEVELS), frozenset({3}), every=False)
    assert (named.unhealthy, named.capacity["nvidia.com/gpu"]) == (frozenset({3}), 7)
    every = effect.on(facts, frozenset(), every=True)
    assert (every.capacity["nvidia.com/gpu"], every.capacity["cpu"]) == (0, facts.capacity["cpu"])
    assert effect.on(facts, frozenset(), every=False) is facts


def test_every_card_is_unfit_where_nobody_says_which() -> None:
    book = Book()
    book.node(said(Sign(EVERY, "GPUMissing is True")), 0)
    assert book.marks("n1").every == "GPUMissing is True"


def test_a_counter_that_keeps_its_last_xid_is_excused_once_it_is_repaired() -> None:
    book = Book()
    book.node(said(), 0)
    assert book.measured("n1", [BAD], {}, 1)
    assert book.counted_unfit() == {"n1"}
    assert book.node(said(repaired_at=T0), 2)
    assert not book.measured("n1", [BAD], {}, 3)
    assert book.measured("n1", [BAD, Sign(Card(index=4), "Xid 48")], {}, 4)
    assert set(book.marks("n1").cards) == {4}
    book.measured("n1", [], {}, 5)
    assert book.measured("n1", [BAD], {}, 6)  # it came again
