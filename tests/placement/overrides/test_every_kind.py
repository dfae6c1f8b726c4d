"""An override reaches the pods of every kind, as that kind's own reader sees them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from e2e.kinds.rows import ROWS, Row
from e2e.pods import Course
from hub.admission import footprint_of
from placement.kinds import reader
from placement.kinds.catalogue import Catalogue
from placement.overrides import variants
from placement.overrides.applying import applied
from placement.overrides.override import Clusters, ImageRewrite, Override
from placement.overrides.variants import Judge
from placement.safety.policy import Policy

CATALOGUE = Catalogue.builtin()
JUDGE = Judge(CATALOGUE, lambda submission: footprint_of(submission, CATALOGUE), Policy())
OVERRIDE = Override(
    "all",
    Clusters(names=("*",)),
    images=(ImageRewrite("*", "mirror.example.com"),),
    env=({"name": "NCCL_SOCKET_IFNAME", "value": "eth1"},),
    tolerations=({"key": "example.com/reserved", "operator": "Exists"},),
    node_selector={"example.com/pool": "training"},
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_it_reaches_every_role_and_makes_no_other_job_of_it(row: Row) -> None:
    text = yaml.safe_dump_all(row.manifest("x", Course())).encode()
    (submission,) = reader.read(text, CATALOGUE)
    workload = replace(submission.workload, footprint=JUDGE.footprint_of(submission))
    objects = (*submission.dependencies, submission.manifest)
    found = variants.of(workload, objects, {"east": (OVERRIDE,)}, JUDGE)["east"]
    if row.kind == "TrainJob" and not row.variant:  # its runtime lies in the cluster
        assert found.refusal is not None
        assert "a runtime that is not in the file" in found.refusal.message
        return
    assert found.refusal is None, found.refusal
    assert found.workload is not None
    for role in found.workload.roles:
        assert "example.com/reserved" in [one.key for one in role.constraint.tolerations], role.name
        assert all("example.com/pool" in [one.key for one in term] for term in role.constraint.terms), role.name
        assert role.constraint.terms, role.name
    made = applied(objects, CATALOGUE, (OVERRIDE,))
    assert isinstance(made, tuple)
    for container in containers(made[-1]):
        assert "NCCL_SOCKET_IFNAME" in [one["name"] for one in container["env"]], container
        assert container.get("image", "mirror.example.com/").startswith("mirror.example.com/"), container


def containers(value: Any) -> list[dict[str, Any]]:
    """Whatever is listed as one, wherever."""
    if isinstance(value, list):
        return [found for each in value for found in containers(each)]
    if not isinstance(value, dict):
        return []
    listed = [each for key in ("containers", "initContainers") for each in value.get(key) or ()]
    return listed + [found for each in value.values() for found in containers(each)]
