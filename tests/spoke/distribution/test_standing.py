"""Whatever orders come, in whatever order, nothing that was ever ordered is lost sight of before it is removed."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from placement.objects import ObjectKey
from spoke.distribution.standing import Standing, accept, key_of
from wire.distribution import OLDER, Distribute, DistributionOrder, DistributionRef, Withdraw


def config(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n"}}


KEYS = tuple(key_of(config(name)) for name in "abcd")
files = st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True)
changes = files.map(lambda names: Distribute(tuple(map(config, names)))) | st.just(Withdraw())


@given(st.lists(st.tuples(st.integers(1, 6), changes), max_size=8))
def test_nothing_is_lost_sight_of(orders: list[tuple[int, Distribute | Withdraw]]) -> None:
    standing: Standing | None = None
    ever: set[ObjectKey] = set()
    for generation, change in orders:
        before = standing
        standing, ack = accept(before, DistributionOrder(DistributionRef("x", generation), change))
        if before is not None and generation < before.ref.generation:
            assert (standing, ack.refused_code, ack.known_generation) == (before, OLDER, before.ref.generation)
        elif before is not None and generation == before.ref.generation:
            assert (standing, ack.refused_code) == (before, "")
        else:
            wanted = {key_of(obj) for obj in change.objects} if isinstance(change, Distribute) else set()
            ever |= wanted
            assert {key_of(obj) for obj in standing.objects} == wanted
            assert set(standing.left) == ever - wanted
        assert len(set(standing.left)) == len(standing.left)


def test_what_others_need_is_made_first_and_removed_last() -> None:
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "a.example.com"},
    }
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    given_ = Distribute((config("a"), crd, config("b"), space))
    made, _ = accept(None, DistributionOrder(DistributionRef("x", 1), given_))
    assert [obj["metadata"]["name"] for obj in made.objects] == ["n", "a.example.com", "a", "b"]
    gone, _ = accept(made, DistributionOrder(DistributionRef("x", 2), Withdraw()))
    assert [key.name for key in gone.left] == ["b", "a", "a.example.com", "n"]
    assert not gone.is_over


def test_a_spoke_that_lost_its_ledger_is_told_what_it_may_have() -> None:
    gone, _ = accept(None, DistributionOrder(DistributionRef("x", 2), Withdraw(KEYS[:2])))
    assert gone.left == (KEYS[1], KEYS[0])
