"""Examples, and what must hold of any division, by eyes of its own (`invariants`)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from placement.division import invariants
from placement.division.division import REST, divide
from placement.division.values import Division, Place, Present, RegionShort, TooFewPlaces, Wish
from placement.verdict import Cordoned
from placement.workload import DivideBy

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + REST
NONE = Present()
EU_A, EU_B, US = Place("eu-a", "eu", 20), Place("eu-b", "eu", 20), Place("us-c", "us", 20)


def by(way: DivideBy, replicas: int = 6, **more: object) -> Wish:
    return Wish(replicas, way, **more)  # type: ignore[arg-type]


def shares(wish: Wish, *places: Place, present: Present = NONE, now: datetime = NOW) -> dict[str, int]:
    made = divide(wish, places, present, now)
    assert invariants.check(wish, places, made) == ()
    return dict(made.shares)


def lay(at: datetime = NOW, **there: int) -> Present:
    return Present({name.replace("_", "-"): share for name, share in there.items()}, at)


# ---- from nothing ----


def test_by_weight() -> None:
    wish = by(DivideBy.WEIGHTS, weights={"eu-a": 2, "us-c": 1})
    assert shares(wish, EU_A, EU_B, US) == {"eu-a": 4, "us-c": 2}


def test_without_weights_all_are_alike() -> None:
    assert shares(by(DivideBy.WEIGHTS), EU_A, EU_B, US) == {"eu-a": 2, "eu-b": 2, "us-c": 2}


def test_by_free_capacity() -> None:
    places = (replace(EU_A, room=30), replace(US, room=10))
    assert shares(by(DivideBy.FREE, 8), *places) == {"eu-a": 6, "us-c": 2}


def test_by_price_the_cheapest_is_filled_first() -> None:
    places = (replace(EU_A, room=4, usd_per_hour=2.0), replace(EU_B, usd_per_hour=3.0), replace(US, room=0))
    assert shares(by(DivideBy.PRICE), *places) == {"eu-a": 4, "eu-b": 2}


def test_duplicated_everywhere() -> None:
    assert shares(by(DivideBy.DUPLICATE, 3), EU_A, US) == {"eu-a": 3, "us-c": 3}


def test_at_least_one_in_each_region_whatever_it_costs() -> None:
    places = (replace(EU_A, usd_per_hour=1.0), replace(US, usd_per_hour=9.0))
    assert shares(by(DivideBy.PRICE, min_per_region=1), *places) == {"eu-a": 5, "us-c": 1}
    assert shares(by(DivideBy.PRICE, min_per_region=2), *places) == {"eu-a": 4, "us-c": 2}


def test_no_more_clusters_than_asked_for() -> None:
    places = (replace(EU_A, room=3), replace(EU_B, room=2), replace(US, room=9))
    assert shares(by(DivideBy.FREE, max_clusters=1), *places) == {"us-c": 6}
    assert shares(by(DivideBy.FREE, max_clusters=2, min_per_region=1), *places).keys() == {"eu-a", "us-c"}


# ---- as things change ----


def test_a_lost_share_goes_elsewhere_at_once() -> None:
    wish = by(DivideBy.WEIGHTS, weights={"eu-a": 2, "us-c": 1, "eu-b": 1})
    assert shares(wish, EU_A, EU_B, US) == {"eu-a": 3, "eu-b": 2, "us-c": 1}
    away = replace(EU_A, room=0)
    assert shares(wish, away, EU_B, US, present=lay(eu_b=2, us_c=1)) == {"eu-b": 3, "us-c": 3}


def test_a_cluster_that_is_back_takes_its_share_back_and_the_sum_is_right_at_once() -> None:
    wish = by(DivideBy.WEIGHTS)
    assert shares(wish, EU_A, US, present=lay(eu_a=3, us_c=6)) == {"eu-a": 3, "us-c": 3}


def test_what_is_merely_better_waits_for_its_time() -> None:
    wish, present = by(DivideBy.WEIGHTS), lay(eu_a=6)
    made = divide(wish, (EU_A, US), present, NOW + timedelta(seconds=1))
    assert (dict(made.shares), made.look_again) == ({"eu-a": 6}, LATER)
    assert shares(wish, EU_A, US, present=present, now=LATER) == {"eu-a": 3, "us-c": 3}


def test_rooms_that_come_and_go_move_nothing() -> None:
    wish, present = by(DivideBy.FREE, 8), lay(eu_a=4, us_c=4)
    for room in (9, 10, 12, 15, 11, 8):
        assert shares(wish, replace(EU_A, room=10), replace(US, room=room), present=present, now=LATER) == {
            "eu-a": 4,
            "us-c": 4,
        }
    assert shares(wish, replace(EU_A, room=10), replace(US, room=70), present=present, now=LATER)["us-c"] == 7


def test_a_few_cents_move_nothing() -> None:
    dear, cheap, present = replace(EU_A, usd_per_hour=2.0), replace(US, usd_per_hour=1.9), lay(eu_a=6)
    assert shares(by(DivideBy.PRICE), dear, cheap, present=present, now=LATER) == {"eu-a": 6}
    cheaper = replace(US, usd_per_hour=1.5)
    assert shares(by(DivideBy.PRICE), dear, cheaper, present=present, now=LATER) == {"us-c": 6}


def test_a_third_cluster_gets_what_the_two_could_not_hold() -> None:
    wish = by(DivideBy.WEIGHTS, weights={"eu-a": 1, "us-c": 1, "eu-b": 1}, replicas=9)
    small, third = replace(EU_A, room=3), replace(EU_B, room=4)
    made = divide(wish, (small, replace(US, room=3), replace(EU_B, room=0)), NONE, NOW)
    assert made.total == 6
    present = Present(made.shares, NOW)
    assert shares(wish, small, replace(US, room=3), third, present=present) == {"eu-a": 3, "eu-b": 3, "us-c": 3}


def test_what_cannot_be_moved_stays() -> None:
    kept = replace(EU_A, room=5, keeps=5)
    assert shares(by(DivideBy.WEIGHTS), kept, US, present=lay(eu_a=5, us_c=1), now=LATER) == {"eu-a": 5, "us-c": 1}


# ---- reasons ----


def test_too_little_room_is_told_in_numbers() -> None:
    closed = replace(US, room=0, why=Cordoned("us-c"))
    made = divide(by(DivideBy.WEIGHTS), (replace(EU_A, room=2), closed), NONE, NOW)
    (reason,) = made.reasons
    assert isinstance(reason, TooFewPlaces)
    assert reason.message == (
        "2 of 6 replicas have a place: eu-a has room for 2; "
        "us-c is cordoned: it takes no new jobs (muster cluster cordon --off us-c)"
    )


def test_a_region_without_its_least_is_told() -> None:
    made = divide(by(DivideBy.WEIGHTS, min_per_region=2), (EU_A, replace(US, room=1)), NONE, NOW)
    assert made.reasons == (RegionShort("us", 2, 1, "its clusters have room for 1"),)
    made = divide(by(DivideBy.WEIGHTS, 1, min_per_region=1), (EU_A, US), NONE, NOW)
    assert [reason.message for reason in made.reasons] == [
        "region us was to have 1 and has 0: 1 replicas are not enough for all regions"
    ]


def test_a_weight_for_nobody_is_told() -> None:
    made = divide(by(DivideBy.WEIGHTS, weights={"eu-a": 1, "eu-z": 1}), (EU_A,), NONE, NOW)
    assert [reason.message for reason in made.reasons] == ["weights name eu-z, which is no cluster here now"]


# ---- any ----

NAMES = ("a", "b", "c", "d", "e")
a_place = st.builds(
    lambda region, room, keeps, usd: Place("", region, room, keeps if keeps <= 3 else 0, float(usd), Cordoned("")),
    st.sampled_from(("eu", "us", "ap")),
    st.integers(0, 12),
    st.integers(0, 20),
    st.integers(1, 9),
)
places = st.dictionaries(st.sampled_from(NAMES), a_place, min_size=1).map(
    lambda found: tuple(replace(place, cluster=name) for name, place in found.items())
)
a_wish = st.builds(
    Wish,
    st.integers(1, 30),
    st.sampled_from(DivideBy),
    st.one_of(st.just({}), st.dictionaries(st.sampled_from(NAMES), st.integers(1, 9), min_size=1)),
    st.integers(0, 3),
    st.one_of(st.none(), st.integers(1, 4)),
)
shares_now = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 12))
moments = st.one_of(st.none(), st.just(NOW), st.just(NOW - REST))


@given(a_wish, places, shares_now, moments)
def test_any_division_keeps_to_the_rules(
    wish: Wish, found: tuple[Place, ...], there: dict[str, int], changed: datetime | None
) -> None:
    made = divide(wish, found, Present(there, changed), NOW)
    assert invariants.check(wish, found, made) == ()


@given(a_wish, places, shares_now)
def test_what_was_made_stays_while_nothing_changes(wish: Wish, found: tuple[Place, ...], there: dict[str, int]) -> None:
    first = divide(wish, found, Present(there, None), NOW)
    again = divide(wish, found, Present(first.shares, NOW), LATER)
    assert again.shares == first.shares
    assert again.look_again is None


@given(a_wish, places, shares_now)
def test_what_must_change_changes_by_as_few_moves_as_there_can_be(
    wish: Wish, found: tuple[Place, ...], there: dict[str, int]
) -> None:
    """Within a rest nothing moves but what is beyond a room, below a least, or wrong in sum."""
    if wish.by is DivideBy.DUPLICATE or wish.min_per_region or wish.max_clusters:
        return
    made = divide(wish, found, Present(there, NOW), NOW)
    bounds = {one.cluster: (one.keeps, max(one.keeps, one.room if wish.weight_of(one.cluster) else 0)) for one in found}
    fitted = {name: min(max(there.get(name, 0), least), most) for name, (least, most) in bounds.items()}
    moved = sum(abs(made.shares.get(name, 0) - fitted[name]) for name in bounds)
    assert moved == abs(made.total - sum(fitted.values()))


def test_the_checks_find_what_is_wrong() -> None:
    wish, found = by(DivideBy.WEIGHTS, min_per_region=1), (EU_A, replace(US, room=2))
    wrong = Division({"us-c": 3, "eu-z": 1}, 6)
    assert len(invariants.check(wish, found, wrong)) == 5


def test_two_thousand_million_replicas_over_a_thousand_clusters_take_no_longer() -> None:
    many = [Place(f"c{n:04}", f"r{n % 9}", 10_000_000 + n, usd_per_hour=1.0 + n % 7) for n in range(1000)]
    for way in DivideBy:
        wish = Wish((1 << 31) - 1, way, {}, 0 if way is DivideBy.DUPLICATE else 3)
        first = divide(wish, many, NONE, NOW)
        assert invariants.check(wish, many, first) == ()
        fewer = [replace(one, room=one.room - 1) for one in many[:-1]]
        assert invariants.check(wish, fewer, divide(wish, fewer, Present(first.shares, NOW), NOW)) == ()
