"""Selectors as drivers and users write them, and what is an error."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.dra import cel
from placement.dra.cel import OfDomains
from placement.dra.cel_syntax import CelError
from placement.dra.cel_values import quantity, semver

DEVICE = {
    "driver": "gpu.nvidia.com",
    "attributes": OfDomains(
        {
            "gpu.nvidia.com": {
                "productName": "NVIDIA H100 80GB HBM3",
                "architecture": "Hopper",
                "index": 3,
                "healthy": True,
                "driverVersion": semver("580.65.6"),
                "names": ["a", "b"],
            },
            "resource.kubernetes.io": {"pcieRoot": "pci0000:01"},
        }
    ),
    "capacity": OfDomains({"gpu.nvidia.com": {"memory": quantity("80Gi")}}),
    "allowMultipleAllocations": False,
}
GPU = 'device.attributes["gpu.nvidia.com"]'


def value(text: str) -> Any:
    return cel.compiled(text)({"device": DEVICE})


@pytest.mark.parametrize(
    "text",
    [
        'device.driver == "gpu.nvidia.com"',
        f'{GPU}.productName == "NVIDIA H100 80GB HBM3"',
        f'{GPU}["productName"].lowerAscii().matches("^.*h100.*$")',
        f"{GPU}.productName.matches('H(100|200)') && {GPU}.index >= 3",
        f'{GPU}.architecture in ["Hopper", "Blackwell"]',
        'device.capacity["gpu.nvidia.com"].memory.compareTo(quantity("40Gi")) >= 0',
        'device.capacity["gpu.nvidia.com"].memory.isGreaterThan(quantity("79.9Gi"))',
        'device.capacity["gpu.nvidia.com"].memory.isLessThan(quantity("80G")) == false',
        f'{GPU}.driverVersion.compareTo(semver("570.0.0")) > 0',
        f'{GPU}.driverVersion.isLessThan(semver("v581", true))',
        f"{GPU}.driverVersion.major() == 580 && {GPU}.driverVersion.minor() == 65",
        f"!({GPU}.index < 3) || false",
        f"{GPU}.healthy",
        f"has({GPU}.index) && !has({GPU}.missing)",
        'device.attributes["resource.kubernetes.io"].pcieRoot.endsWith("01")',
        '"gpu.nvidia.com" in device.attributes && !("other" in device.attributes)',
        f"cel.bind(gpu, {GPU}, gpu.healthy && gpu.index == 3)",
        f'{GPU}.?missing.orValue("none") == "none" && {GPU}[?"index"].hasValue()',
        f'{GPU}.names.exists(n, n == "b") && {GPU}.names.all(n, n.size() == 1)',
        f'{GPU}.exists_one(key, key == "index")',
        f"{GPU}.index * 2 + 1 == 7 && {GPU}.index % 2 == 1 && -7 / 2 == -3 && -7 % 2 == -1",
        f'{GPU}.index > 2 ? true : {GPU}.missing == "x"',
        f'{GPU}.missing == "x" || {GPU}.healthy',  # one side settles it, whatever the other is
        f'!({GPU}.missing == "x" && false)',
        "1 == 1.0 && 2 > 1.5 && !(1 == true) && '1' != 1",
        f"({GPU}.productName // a comment\n .contains('80GB'))",
        r'"a\tb\x41" == "a	bA" && r"\d" == "\\d"',
        'isSemver("1.2.3") && !isSemver("1.2") && isQuantity("1Ki") && !isQuantity("x")',
        'semver("1.0.0-rc.2").isLessThan(semver("1.0.0-rc.10")) && semver("1.0.0-rc").isLessThan(semver("1.0.0"))',
        'quantity("1.5Gi").asInteger() == 1610612736',
        'quantity("1k").add(quantity("24")).compareTo(quantity("1024")) == 0 && quantity("1").sub(2).sign() == -1',
        f"{GPU}.productName.split(' ').size() == 4",
        f'{GPU}.includes("x") == false',
    ],
)
def test_what_holds_for_the_device(text: str) -> None:
    assert value(text) is True


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f'{GPU}.missing == "x"', "no such key: missing"),
        ('device.attributes["other.example.com"].index > 0', "no such key: index"),
        (f"{GPU}.index < '3'", "has no meaning"),
        (f"{GPU}.productName && true", "neither true nor false"),
        (f'{GPU}.driverVersion.isLessThan(quantity("1"))', "versions with versions"),
        (f"{GPU}.missing || false", "no such key"),
        (f"{GPU}.index / 0 == 1", "division by zero"),
        (f"{GPU}.index + 9223372036854775807 > 0", "beyond 64 bits"),
        ("semver('one').major() == 1", "no semantic version"),
    ],
)
def test_what_has_no_value_says_why(text: str, why: str) -> None:
    with pytest.raises(CelError, match=why):
        cel.truth(value(text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a value is expected where its end"),
        ('device.driver = "x"', "cannot be read from"),
        ('device.driver == "x', "cannot be read from"),
        ("(true", r"\) is expected where its end"),
        ("true false", 'its end is expected where "false" stands'),
        ("devise.driver == 'x'", "devise is not defined"),
        ("device.driver.lower() == 'x'", r"lower\(\) is not known"),
        ("device.driver.matches() ", r"matches\(\) takes 1 arguments, not 0"),
        ("has(device)", "takes one field"),
        ("99999999999999999999 > 1", "64-bit"),
        ("(" * 70 + "true" + ")" * 70, "nested"),
        ("!" * 100 + "true", "nested"),
        ("'x'.matches('[') " + "|| true" * 2_000, "characters"),
    ],
)
def test_what_cannot_be_read_is_refused_before_any_device_is_seen(text: str, why: str) -> None:
    with pytest.raises(CelError, match=why):
        cel.compiled(text)


NUMBERS = st.integers(-1000, 1000)


@given(NUMBERS, NUMBERS, st.integers(1, 50))
def test_arithmetic_and_order_are_those_of_whole_numbers(a: int, b: int, c: int) -> None:
    assert value(f"({a}) + ({b}) * {c}") == a + b * c
    assert value(f"({a}) - ({b}) < {c}") == (a - b < c)
    assert value(f"({a}) / {c} * {c} + ({a}) % {c}") == a


@given(
    st.lists(st.sampled_from(["true", "false", f"{GPU}.missing"]), min_size=1, max_size=6),
    st.sampled_from(["&&", "||"]),
)
def test_errors_are_passed_over_where_a_side_decides(sides: list[str], sign: str) -> None:
    decides = "true" if sign == "||" else "false"
    text = f" {sign} ".join(sides)
    if decides in sides:
        assert value(text) is (sign == "||")
    elif f"{GPU}.missing" in sides:
        with pytest.raises(CelError):
            cel.truth(value(text))
    else:
        assert value(text) is (sign == "&&")


@given(st.text(max_size=60))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(CelError):
        cel.compiled(text)({"device": DEVICE})
