from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.data import (
    BEGIN_AGAIN_H,
    DataCatalog,
    DataMove,
    DataPlace,
    Dataset,
    Replica,
    is_local,
    needed_moves,
    places,
    total,
)
from placement.fleet import Cluster, Fleet
from placement.invariants import check
from placement.money import Price, PriceBook
from placement.planner import plan
from placement.transfers import Route, Transfers
from placement.verdict import DatasetOutOfReach, Decision, MustNotLeave, Placed, Waiting
from placement.workload import DataUse, Workload
from tests.placement.worlds import NOW, cluster, fleet, gpu_node, pending, role, workload

TB = 10**12
EU_STORE = Replica("eu", uri="s3://images")


def dataset(*replicas: Replica, residency: tuple[str, ...] = ()) -> Dataset:
    return Dataset("images", TB, replicas, residency)


def world(known: Dataset | None, *, us_price: float = 1.0, gbit_per_s: float = 8.0) -> Fleet:
    """`us` is the cheaper place, and `eu` has the data."""
    prices = PriceBook(
        {("eu-1", "*"): Price(2.0), ("us-1", "*"): Price(us_price)},
        transfers=Transfers({("eu", "us"): Route(0.02, gbit_per_s)}),
    )
    members: list[Cluster] = [
        cluster("eu-1", [gpu_node("e")], region="eu"),
        cluster("us-1", [gpu_node("u")], region="us"),
    ]
    catalog = DataCatalog({known.name: known} if known else {})
    return replace(fleet(*members, prices=prices), data=catalog)


def reading(hours: float, *names: str) -> Workload:
    asked = workload(role(gpus=8))
    return replace(asked, hints=replace(asked.hints, expected_hours=hours), data=tuple(DataUse(name) for name in names))


def decide(fleet: Fleet, asked: Workload) -> Decision:
    made = plan(fleet, [pending("j", asked)], NOW)
    assert check(made, fleet) == ()
    return made.decisions[0]


def test_compute_follows_data_where_moving_it_costs_more_than_is_saved() -> None:
    verdict = decide(world(dataset(EU_STORE)), reading(2, "images")).verdict
    assert isinstance(verdict, Placed)
    assert (verdict.cluster, verdict.moves) == ("eu-1", ())


def test_data_moves_where_that_is_cheaper_and_the_plan_says_what_it_takes() -> None:
    verdict = decide(world(dataset(EU_STORE)), reading(24, "images")).verdict
    assert isinstance(verdict, Placed)
    [move] = verdict.moves
    assert (verdict.cluster, move.dataset, move.size_bytes, move.source, move.target) == (
        "us-1",
        "images",
        TB,
        EU_STORE,
        "us-1",
    )
    assert move.usd == pytest.approx(20)
    assert move.hours == pytest.approx(1000 / 3600)
    assert verdict.score.terms["data"] == pytest.approx(20)
    # Eight GPUs at a dollar an hour are held while it is copied.
    assert verdict.score.terms["data-wait"] == pytest.approx(8 * 1000 / 3600)


def test_residency_is_outbid_by_no_price() -> None:
    decision = decide(world(dataset(EU_STORE, residency=("eu",)), us_price=0.0001), reading(1000, "images"))
    assert isinstance(decision.verdict, Placed)
    assert decision.verdict.cluster == "eu-1"
    [us] = [one for one in decision.candidates if one.cluster == "us-1"]
    assert us.reasons == (MustNotLeave("us-1", "images", ("eu",), "us"),)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (None, "nobody declared a dataset 'images'"),
        (dataset(), "dataset images has no replica"),
        (dataset(EU_STORE, residency=("asia",)), "must not leave asia"),
    ],
)
def test_data_that_can_be_read_nowhere_makes_the_job_wait_with_a_reason(known: Dataset | None, words: str) -> None:
    verdict = decide(world(known), reading(1, "images")).verdict
    assert isinstance(verdict, Waiting)
    assert any(words in reason.message for reason in verdict.reasons)


def test_a_place_that_nobody_told_of_moves_nothing() -> None:
    verdict = decide(world(None), reading(1, "s3://somewhere/else")).verdict
    assert isinstance(verdict, Placed)
    assert verdict.moves == ()


def test_a_uri_is_found_by_the_longest_place_that_holds_it() -> None:
    every, part = (
        Dataset("all", 2, (Replica("eu", uri="s3://b"),)),
        Dataset("part", 1, (Replica("eu", uri="s3://b/a/"),)),
    )
    catalog = DataCatalog({"all": every, "part": part})
    assert catalog.find(DataUse("s3://b/a/x")) == part
    assert catalog.find(DataUse("s3://b/ab")) == every
    assert catalog.find(DataUse("s3://bb")) is None


IMAGES = DataUse("images")


def moves_of(
    known: Dataset, cluster: str, region: str, *uses: DataUse, namespace: str = "default"
) -> tuple[DataMove, ...]:
    asked = replace(workload(role()), namespace=namespace, data=uses or (IMAGES,))
    return needed_moves(DataCatalog({known.key: known}), asked, cluster, region, TRANSFERS)


TRANSFERS = Transfers({("asia", "us"): Route(0.01, 1), ("eu", "us"): Route(0.05, 10)})


def test_a_clusters_own_copy_is_local_to_it_alone() -> None:
    own = dataset(Replica("eu", "eu-1"))
    assert is_local(IMAGES, own, "eu-1", "eu", "default")
    assert not is_local(IMAGES, own, "eu-2", "eu", "default")
    assert moves_of(own, "eu-2", "eu")[0].usd == 0


def test_the_cheapest_copy_is_the_source() -> None:
    known = dataset(Replica("asia"), EU_STORE, Replica("", "lost"))
    [move] = moves_of(known, "us-1", "us")
    assert move.source == Replica("asia")
    assert total([move, move]).usd == 2 * move.usd


def test_it_is_copied_into_a_claim_beside_the_job_or_into_the_one_that_the_job_mounts() -> None:
    known = replace(dataset(Replica("eu", uri="s3://images"), Replica("eu", "eu-1", "pvc://ml/images")), secret="keys")
    [by_name] = moves_of(known, "us-1", "us")
    assert (by_name.place, by_name.secret) == ("pvc://default/dataset-images", "keys")
    [mounted] = moves_of(known, "us-1", "us", IMAGES, DataUse("pvc://ml/images/train"), namespace="ml")
    assert mounted.place == "pvc://ml/images"
    assert moves_of(known, "us-1", "us", DataUse("pvc://ml/images/train"), namespace="other") == ()
    [read_from_afar] = moves_of(known, "us-1", "us", DataUse("s3://images/train"))
    assert (read_from_afar.place, read_from_afar.usd) == ("", 50)


def test_a_claim_is_local_to_who_can_mount_it() -> None:
    known = dataset(Replica("eu", "eu-1", "pvc://ml/images"))
    assert is_local(IMAGES, known, "eu-1", "eu", "ml")
    assert not is_local(IMAGES, known, "eu-1", "eu", "default")
    assert is_local(DataUse("pvc://ml/images"), known, "eu-1", "eu", "ml")
    assert not is_local(DataUse("pvc://ml/imagesque"), known, "eu-1", "eu", "ml")
    assert not is_local(DataUse("pvc://ml/images"), known, "eu-2", "eu", "ml")


def test_what_lies_in_claims_alone_is_out_of_reach_elsewhere() -> None:
    decision = decide(world(dataset(Replica("us", "us-1", "pvc://default/images"))), reading(1, "images"))
    assert isinstance(decision.verdict, Placed)
    assert (decision.verdict.cluster, decision.verdict.moves) == ("us-1", ())
    [eu] = [one for one in decision.candidates if one.cluster == "eu-1"]
    assert eu.reasons == (DatasetOutOfReach("eu-1", "images", ("us-1",)),)


def test_a_tenants_dataset_is_unknown_to_another_and_its_own_comes_first() -> None:
    everybodys, own = Dataset("images", 1, (EU_STORE,)), Dataset("images", 2, (EU_STORE,), tenant="a")
    secret = Dataset("faces", 3, (Replica("eu", uri="s3://faces"),), tenant="b")
    catalog = DataCatalog({each.key: each for each in (everybodys, own, secret)})
    assert catalog.find(DataUse("images", tenant="a")) == own
    assert catalog.find(DataUse("images", tenant="b")) == everybodys
    assert catalog.find(DataUse("faces", tenant="a")) is None
    assert catalog.find(DataUse("s3://faces/x", tenant="a")) is None
    assert catalog.find(DataUse("s3://faces/x", tenant="b")) == secret


def test_places_that_nobody_knows_make_no_difference_to_decisions() -> None:
    catalog = DataCatalog({"images": dataset(Replica("eu", uri="s3://images"))})
    ones, others = (replace(workload(role()), data=(DataUse(f"s3://out/{run}"),)) for run in (1, 2))
    assert catalog.matters(ones) == catalog.matters(others) is None
    assert catalog.matters(reading(1, "images")) != catalog.matters(replace(reading(1, "images"), namespace="ml"))


def test_unknown_regions_are_near_nothing() -> None:
    assert not is_local(IMAGES, dataset(Replica("")), "x", "", "default")


def test_a_checkpoint_is_read_where_it_is_written_and_never_copied() -> None:
    use = DataUse("images", checkpoint=True)
    known = dataset(EU_STORE, Replica("us", "us-1", "pvc://default/dataset-images", copied=True))
    [move] = moves_of(known, "us-1", "us", use)
    assert (move.place, move.source) == ("", EU_STORE)
    asked = replace(workload(role()), data=(use,))
    [place] = places(DataCatalog({"images": known}), asked, "us-1", "us", [move])
    assert place == DataPlace("images", "s3://images", writes=True)


def test_a_checkpoint_in_a_claim_draws_its_job_there_and_does_not_hold_it() -> None:
    known = dataset(Replica("eu", "eu-1", "pvc://default/images"))
    [left] = moves_of(known, "us-1", "us", DataUse("pvc://default/images", checkpoint=True))
    assert (left.source.cluster, left.hours, left.usd, left.place) == ("eu-1", BEGIN_AGAIN_H, 0.0, "")
    assert moves_of(known, "eu-1", "eu", DataUse("pvc://default/images", checkpoint=True)) == ()
    asked = replace(reading(1), data=(DataUse("pvc://default/images", checkpoint=True),))
    # An hour's work is worth more than what the other saves, and less than a tenth of the price does.
    for us_price, where in ((1.5, "eu-1"), (0.1, "us-1")):
        verdict = decide(world(known, us_price=us_price), asked).verdict
        assert isinstance(verdict, Placed)
        assert verdict.cluster == where


NAMES = ["a", "b", "pvc://default/x"]
URIS = ["", "s3://b", "s3://b/a", "pvc://default/x"]


@st.composite
def made_datasets(draw: st.DrawFn) -> Dataset:
    name = draw(st.sampled_from(NAMES))
    replicas = tuple(
        Replica("eu", "eu-1", uri) for uri in draw(st.lists(st.sampled_from(URIS), max_size=2, unique=True))
    )
    tenant = draw(st.sampled_from(["", "t"]))
    return Dataset(name, draw(st.integers(0, 3)), replicas, tenant=tenant, learned=draw(st.booleans()))


@given(
    st.lists(st.tuples(st.lists(made_datasets(), max_size=3), st.lists(st.sampled_from([*NAMES, "t/a"]), max_size=2)))
)
def test_a_catalogue_that_was_changed_is_the_one_made_anew(steps: list[tuple[list[Dataset], list[str]]]) -> None:
    catalog, known = DataCatalog(), dict[str, Dataset]()
    for changed, gone in steps:
        changed = list({one.key: one for one in changed}.values())
        catalog = catalog.after(changed, gone, frozenset({"eu-1"}))
        for key in gone:
            known.pop(key, None)
        known.update((one.key, one) for one in changed)
        anew = DataCatalog(known, frozenset({"eu-1"}))
        assert catalog == anew
        assert catalog._places == anew._places
