"""The search alone: a gang fits once enough cards are free on one of the nodes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from placement.capacity import Capacity, Fit
from placement.fleet import Progress, Reservation
from placement.money import Price, PriceBook
from placement.preemption.losses import Loss, loss, safe_until
from placement.preemption.victims import Found, Victim, cheapest
from placement.workload import Hints
from tests.placement.worlds import A100, NOW, gpu_node, role, summary_of, workload

NODES = 3
SOME = workload(role(gpus=1))
ANY_FIT = Capacity.of("a", summary_of([gpu_node("n")])).fit(SOME)
PRICES = PriceBook({}, default=Price(3.0))


def victim(number: int, cards: int, usd: float) -> Victim:
    return Victim(Reservation(f"j{number:02}", 1, "a", SOME), Loss(0.0, usd, 0.0, False), float(cards))


def search(
    nodes: Sequence[int], given: Sequence[tuple[int, int, float]], needs: int
) -> tuple[Found | None, float | None]:
    """`nodes`: free cards of each; `given`: (node, cards, usd). Answers what was found, and the least that there is."""
    made = [victim(number, cards, usd) for number, (_, cards, usd) in enumerate(given)]
    node_of = {one.held.job: given[number][0] for number, one in enumerate(made)}

    def enough(gone: Sequence[Victim]) -> Fit | None:
        free = list(nodes)
        for one in gone:
            free[node_of[one.held.job]] += int(one.frees)
        assert isinstance(ANY_FIT, Fit)
        return ANY_FIT if max(free) >= needs else None

    found = cheapest(made, max(0, needs - sum(nodes)), enough, lambda some: True)
    sets = [some for size in range(1, len(made) + 1) for some in combinations(made, size) if enough(some)]
    return found, min((sum(one.loss.usd for one in some) for some in sets), default=None)


GIVEN = st.tuples(st.integers(0, NODES - 1), st.sampled_from([1, 2, 4]), st.integers(1, 9).map(float))


@given(st.lists(st.integers(0, 2), min_size=NODES, max_size=NODES), st.lists(GIVEN, max_size=6), st.integers(3, 8))
def test_with_few_candidates_the_cheapest_set_is_found(
    nodes: list[int], given_: list[tuple[int, int, float]], needs: int
) -> None:
    found, least = search(nodes, given_, needs)
    assert (found is None) == (least is None)
    if found is not None and least is not None:
        assert abs(found.usd - least) < 1e-9


@given(st.lists(GIVEN, min_size=20, max_size=60), st.integers(6, 20))
def test_with_many_none_is_taken_that_is_not_needed(given_: list[tuple[int, int, float]], needs: int) -> None:
    made = [victim(number, cards, usd) for number, (_, cards, usd) in enumerate(given_)]
    node_of = {one.held.job: given_[number][0] for number, one in enumerate(made)}

    def is_enough(gone: Sequence[Victim]) -> bool:
        return any(sum(one.frees for one in gone if node_of[one.held.job] == node) >= needs for node in range(NODES))

    assert isinstance(ANY_FIT, Fit)
    fit = ANY_FIT
    found = cheapest(made, needs, lambda gone: fit if is_enough(gone) else None, lambda some: True)
    assert (found is None) == (not is_enough(made))
    if found is not None:
        assert is_enough(found.victims)
        for one in found.victims:
            assert not is_enough([other for other in found.victims if other is not one])


def held(hours: float | None = 2.0, **hints: float) -> Reservation:
    asked = workload(role(gpus=4), hints=Hints(**hints))  # type: ignore[arg-type]
    since = None if hours is None else NOW - timedelta(hours=hours)
    return Reservation("x", 3, "a", asked, uses=((A100, 4.0),), usd_per_hour=12.0, since=since)


def test_what_is_lost() -> None:
    """GPUs by the hours since the checkpoint, else since it ran, else since it was placed; and a restart."""
    ago = NOW - timedelta(hours=0.5)
    assert loss(held(), Progress(3, NOW - timedelta(hours=1), ago), PRICES, NOW) == Loss(2.0, 12 * 0.6, 0.5, True)
    assert loss(held(), Progress(3, NOW - timedelta(hours=1)), PRICES, NOW).gpu_hours == 4.0
    assert loss(held(), None, PRICES, NOW).gpu_hours == 8.0
    assert loss(held(), Progress(2, ago, ago), PRICES, NOW).gpu_hours == 8.0, "another attempt's"
    assert loss(held(None), None, PRICES, NOW) == Loss(0.0, 12 * 0.1, 0.0, False)
    assert loss(held(), Progress(3, None, NOW + timedelta(hours=1)), PRICES, NOW).gpu_hours == 0.0, "a clock ahead"
    unpriced = replace(held(), usd_per_hour=0.0)
    assert loss(unpriced, Progress(3, ago), PRICES, NOW).usd == 12 * 0.6


def test_min_runtime_counts_from_when_it_runs() -> None:
    assert safe_until(held(), None, NOW) is None
    young = held(min_runtime_hours=1.0)
    assert safe_until(young, Progress(3, NOW - timedelta(hours=0.25)), NOW) == NOW + timedelta(hours=0.75)
    assert safe_until(young, Progress(3, NOW - timedelta(hours=1)), NOW) is None
    assert safe_until(young, Progress(3), NOW) == NOW + timedelta(hours=1), "it is still starting"
