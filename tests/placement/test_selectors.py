from __future__ import annotations

import pytest

from placement import selectors
from placement.selectors import BadSelector


@pytest.mark.parametrize(
    ("selector", "holds"),
    [
        ("env=prod", True),
        ("env==prod, tier", True),
        ("env!=prod", False),
        ("gone!=prod", True),
        ("env in (dev, prod),!gone", True),
        ("env notin (dev, prod)", False),
        ("tier=gold", False),
        ("", True),
    ],
)
def test_a_selector_means_what_it_means_to_kubectl(selector: str, holds: bool) -> None:
    labels = {"env": "prod", "tier": "lead"}
    assert all(one.holds(labels) for one in selectors.parse(selector)) is holds


@pytest.mark.parametrize("selector", ["a b", "in (", "a in (b", "=b", "a=b=c", "a=b,", "a=b,,c", "a in b"])
def test_what_cannot_be_read_is_told_with_its_place(selector: str) -> None:
    with pytest.raises(BadSelector, match="label selector"):
        selectors.parse(selector)
