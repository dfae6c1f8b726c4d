"""Resource vectors: the arithmetic that every promise rests on."""

from hypothesis import given
from hypothesis import strategies as st

from placement.resources import Resources, amount_in_words

vectors = st.dictionaries(st.sampled_from(["cpu", "memory", "nvidia.com/gpu", "pods"]), st.integers(0, 100)).map(
    Resources
)


@given(vectors, vectors)
def test_adding_then_subtracting_changes_nothing(a: Resources, b: Resources) -> None:
    assert a + b - b == a
    assert hash(a + b - b) == hash(a)


@given(vectors, vectors, st.integers(0, 50))
def test_so_many_copies_fit_and_not_one_more(free: Resources, need: Resources, at_most: int) -> None:
    copies = free.copies_of(need, at_most)
    assert free.covers(need * copies)
    assert copies == at_most or not free.covers(need * (copies + 1))


def test_zero_amounts_are_the_same_as_absent_ones() -> None:
    assert Resources({"cpu": 0}) == Resources()
    assert Resources()["nvidia.com/gpu"] == 0


def test_people_read_cores_and_gib() -> None:
    assert amount_in_words("cpu", 192_500) == "192.5 cores"
    assert amount_in_words("memory", 98_304) == "96 GiB"
    assert amount_in_words("nvidia.com/gpu", 8) == "8"
