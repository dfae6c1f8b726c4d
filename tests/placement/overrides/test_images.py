from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.overrides.images import rewrite, rewritten
from placement.overrides.override import ImageRewrite

HUB = ImageRewrite("docker.io", "mirror.eu/hub")
TEAM = ImageRewrite("ghcr.io/team", "mirror.eu/team")
ANY = ImageRewrite("*", "registry.local:5000")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("nginx", "mirror.eu/hub/library/nginx"),
        ("nginx:1.29@sha256:ab", "mirror.eu/hub/library/nginx:1.29@sha256:ab"),
        ("pytorch/pytorch:2.9", "mirror.eu/hub/pytorch/pytorch:2.9"),
        ("docker.io/pytorch/pytorch", "mirror.eu/hub/pytorch/pytorch"),
        ("docker.io/nginx", "mirror.eu/hub/library/nginx"),
        ("ghcr.io/team/trainer:1", "mirror.eu/team/trainer:1"),
        ("ghcr.io/teams/trainer:1", "ghcr.io/teams/trainer:1"),
        ("localhost/own", "localhost/own"),
        ("quay.io:443/a/b", "quay.io:443/a/b"),
    ],
)
def test_the_first_rewrite_that_fits_has_its_way(image: str, expected: str) -> None:
    assert rewritten(image, (HUB, TEAM)) == expected


@pytest.mark.parametrize("image", ["nginx", "quay.io:443/a/b:1", "localhost/own"])
def test_a_star_takes_every_registry(image: str) -> None:
    assert rewritten(image, (TEAM, ANY)).startswith("registry.local:5000/")


@given(st.from_regex(r"([a-z]+\.io/)?[a-z]+(/[a-z]+)?(:[a-z0-9]+)?", fullmatch=True))
def test_what_is_rewritten_once_stays(image: str) -> None:
    once = rewritten(image, (HUB, TEAM))
    assert rewritten(once, (HUB, TEAM)) == once


def test_images_are_found_wherever_a_kind_names_them() -> None:
    obj: dict[str, Any] = {
        "metadata": {"annotations": {"image": "nginx"}},
        "spec": {
            "image": "nginx",
            "driver": {"image": "nginx", "env": [{"name": "image", "value": "nginx"}]},
            "containers": [{"image": "nginx", "args": ["nginx"]}],
            "initContainers": [{"image": "nginx"}],
            "volumes": [{"name": "model", "image": {"reference": "nginx", "pullPolicy": "Always"}}],
            "storageUri": "oci://nginx",
            "initImage": "nginx",
            "imagePullPolicy": "nginx",
        },
    }
    rewrite(obj, (HUB,))
    spec, there = obj["spec"], "mirror.eu/hub/library/nginx"
    assert obj["metadata"]["annotations"]["image"] == "nginx"
    assert (spec["image"], spec["driver"]["image"], spec["initImage"]) == (there, there, there)
    assert spec["containers"] == [{"image": there, "args": ["nginx"]}]
    assert spec["initContainers"][0]["image"] == there
    assert spec["volumes"][0]["image"] == {"reference": there, "pullPolicy": "Always"}
    assert spec["storageUri"] == f"oci://{there}"
    assert spec["driver"]["env"][0]["value"] == "nginx"
    assert spec["imagePullPolicy"] == "nginx"
