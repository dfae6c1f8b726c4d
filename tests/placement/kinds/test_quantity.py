import contextlib
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.kinds import quantity


@pytest.mark.parametrize(
    ("resource", "value", "amount"),
    [
        ("cpu", "64", 64_000),
        ("cpu", "500m", 500),
        ("cpu", "0.1", 100),
        ("cpu", 0.25, 250),
        ("cpu", "1u", 1),
        ("cpu", "1500000n", 2),
        ("memory", "512Gi", 524_288),
        ("memory", "1G", 954),
        ("memory", 1, 1),
        ("memory", "1e3", 1),
        ("memory", "1.5Gi", 1536),
        ("ephemeral-storage", "1Ti", 1 << 20),
        ("nvidia.com/gpu", "8", 8),
        ("nvidia.com/gpu", 8, 8),
        ("nvidia.com/gpu", "8.0", 8),
        ("nvidia.com/gpu", "2000m", 2),
        ("aliyun.com/gpu-mem", "7162", 7162),
        ("hugepages-2Mi", "4Mi", 4 << 20),
        ("pods", "110", 110),
        ("cpu", 0, 0),
    ],
)
def test_quantities(resource: str, value: object, amount: int) -> None:
    assert quantity.amount(resource, value) == amount


@pytest.mark.parametrize(
    ("resource", "value", "said"),
    [
        ("cpu", "-1", "negative"),
        ("nvidia.com/gpu", -1, "negative"),
        ("nvidia.com/gpu", "0.5", "whole"),
        ("nvidia.com/gpu", "500m", "whole"),
        ("memory", "12 GB", "not a quantity"),
        ("memory", "16g", "not a quantity"),
        ("cpu", "", "not a quantity"),
        ("cpu", "four", "not a quantity"),
        ("cpu", True, "not a quantity"),
        ("cpu", None, "not a quantity"),
        ("cpu", [1], "not a quantity"),
        ("memory", "1e999", "more than any node has"),
        ("memory", "9" * 65, "not a quantity"),
    ],
)
def test_what_is_no_quantity(resource: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        quantity.amount(resource, value)


_SUFFIXES = {
    "": Fraction(1),
    "m": Fraction(1, 1000),
    "k": Fraction(1000),
    "Mi": Fraction(1 << 20),
    "Gi": Fraction(1 << 30),
}


@settings(deadline=None)
@given(
    st.integers(0, 10**6), st.integers(0, 999), st.sampled_from(sorted(_SUFFIXES)), st.sampled_from(["cpu", "memory"])
)
def test_rounding_is_up_for_requests_and_down_for_capacity(whole: int, part: int, suffix: str, resource: str) -> None:
    text = f"{whole}.{part:03}{suffix}"
    exact = (whole + Fraction(part, 1000)) * _SUFFIXES[suffix] / (Fraction(1, 1000) if resource == "cpu" else 1 << 20)
    if exact > quantity.MAX_AMOUNT:
        with pytest.raises(ValueError, match="more than any node has"):
            quantity.amount(resource, text)
        return
    up = quantity.amount(resource, text)
    down = quantity.amount(resource, text, round_up=False)
    assert down <= exact <= up
    assert up - down == (0 if exact.denominator == 1 else 1)


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert quantity.amount("cpu", text) >= 0
