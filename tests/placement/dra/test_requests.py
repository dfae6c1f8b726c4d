from __future__ import annotations

from typing import Any

import pytest

from placement.dra.requests import ClaimRefused
from tests.placement.dra.offers import claim, exactly


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (exactly(adminAccess=True), "adminAccess takes devices that others have"),
        (exactly(allocationMode="Some"), "allocationMode Some is not known"),
        (exactly(count=33), "count 33 is more than the 32"),
        (exactly(newField=1), "does not know newField"),
        (exactly(capacity={"requests": {"memory": "x"}}), "capacity"),
        ({"name": "gpu"}, "neither exactly nor firstAvailable"),
        ({"name": "gpu", "exactly": {"deviceClassName": "c", "selectors": [{"rego": {}}]}}, "not in CEL"),
    ],
)
def test_what_muster_does_not_allocate_is_refused_with_the_field(asked: Any, why: str) -> None:
    with pytest.raises(ClaimRefused, match=why):
        claim(asked)


def test_constraints_that_are_not_known_are_refused() -> None:
    from placement.dra import requests

    with pytest.raises(ClaimRefused, match="matchAttribute, not distinctAttribute"):
        requests.read({"devices": {"requests": [exactly()], "constraints": [{"distinctAttribute": "x/y"}]}})


def test_the_defaults_are_those_of_the_api() -> None:
    [request] = claim({"name": "gpu", "exactly": {"deviceClassName": "c"}}).requests
    [alternative] = request.alternatives
    assert (alternative.name, alternative.count, alternative.all) == ("gpu", 1, False)


def test_a_constraint_binds_requests_by_their_name_or_that_of_an_alternative() -> None:
    [constraint] = claim(exactly(), match=[("d/x", ["gpu"])]).constraints
    assert constraint.binds("gpu")
    assert constraint.binds("gpu/first")
    assert not constraint.binds("nic")
