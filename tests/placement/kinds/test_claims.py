"""Devices that a manifest asks for by claim: what the hub can count, what it cannot, what is refused at the door."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from placement.inventory import DeviceForm
from placement.kinds import claims
from placement.kinds.catalogue import Catalogue
from placement.kinds.devices import classify
from placement.kinds.problems import ManifestError
from placement.kinds.reader import Submission, read
from placement.kinds.render import render
from placement.workload import DeviceNeed, Reference

CATALOGUE = Catalogue.builtin()


def exactly(name: str, device_class: str, count: int = 1, **more: Any) -> dict[str, Any]:
    return {"name": name, "exactly": {"deviceClassName": device_class, "count": count, **more}}


def template(*requests: Any, name: str = "two", kind: str = "ResourceClaimTemplate") -> dict[str, Any]:
    spec = {"devices": {"requests": list(requests)}}
    body = {"spec": spec} if kind == "ResourceClaimTemplate" else spec
    return {"apiVersion": "resource.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": body}


def job(*claims: dict[str, str], pods: int = 4) -> dict[str, Any]:
    pod = {
        "restartPolicy": "Never",
        "resourceClaims": list(claims),
        "containers": [
            {"name": "main", "image": "x", "resources": {"claims": [{"name": each["name"]} for each in claims]}}
        ],
    }
    spec = {"completions": pods, "parallelism": pods, "completionMode": "Indexed", "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train"}, "spec": spec}


def by_template(name: str = "two") -> dict[str, str]:
    return {"name": "devices", "resourceClaimTemplateName": name}


def submitted(*documents: Any) -> Submission:
    [found] = read(yaml.safe_dump_all(documents).encode(), CATALOGUE)
    return found


def test_a_template_of_the_file_is_counted_like_any_device() -> None:
    found = submitted(
        template(exactly("gpu", "gpu.nvidia.com", 2), exactly("nic", "rdma.example.com")), job(by_template())
    )
    [role] = found.workload.roles
    assert role.devices == (DeviceNeed("dra/gpu.nvidia.com", 2),)
    assert (role.requests["dra/gpu.nvidia.com"], role.requests["dra/rdma.example.com"]) == (2, 1)
    assert found.workload.total_gpus == 8
    assert not found.workload.warnings
    assert [each["kind"] for each in found.dependencies] == ["ResourceClaimTemplate"]
    assert found.workload.references == ()


def test_all_devices_are_at_least_one_and_claims_of_a_pod_add_up() -> None:
    every, one = template(exactly("gpu", "g", 1, allocationMode="All")), template(exactly("gpu", "g", 3), name="more")
    found = submitted(every, one, job(by_template(), {"name": "more", "resourceClaimTemplateName": "more"}))
    assert found.workload.roles[0].devices == (DeviceNeed("dra/g", 4),)


def test_alternatives_of_one_class_count_as_the_least_and_of_several_not_at_all() -> None:
    def either(*classes: tuple[str, int]) -> dict[str, Any]:
        options = [{"name": f"o{i}", "deviceClassName": c, "count": n} for i, (c, n) in enumerate(classes)]
        return {"name": "gpu", "firstAvailable": options}

    same = submitted(template(either(("g", 4), ("g", 2))), job(by_template()))
    assert same.workload.roles[0].devices == (DeviceNeed("dra/g", 2),)
    other = submitted(template(either(("g", 4), ("h", 2))), job(by_template()))
    assert other.workload.roles[0].devices == ()
    assert "takes g or h" in other.workload.warnings[0]


def test_what_is_not_in_the_file_is_referred_to_and_warned_about() -> None:
    found = submitted(job(by_template("theirs"), {"name": "c", "resourceClaimName": "shared"}))
    assert found.workload.references == (
        Reference("ResourceClaimTemplate", "theirs"),
        Reference("ResourceClaim", "shared"),
    )
    assert ["theirs" in w or "shared" in w for w in found.workload.warnings] == [True, True]


def test_a_claim_that_pods_share_travels_and_is_not_counted_for_each() -> None:
    shared = template(exactly("gpu", "g"), name="shared", kind="ResourceClaim")
    found = submitted(shared, job({"name": "c", "resourceClaimName": "shared"}))
    assert found.workload.roles[0].devices == ()
    assert [each["kind"] for each in found.dependencies] == ["ResourceClaim"]


@pytest.mark.parametrize(
    ("asked", "message", "mend"),
    [
        (exactly("gpu", "g", adminAccess=True), "adminAccess takes devices that others have", "remove adminAccess"),
        (
            exactly("gpu", "g", selectors=[{"cel": {"expression": "device.x("}}]),
            "cannot be evaluated",
            "docs/devices.md",
        ),
        (exactly("gpu", "g", 99), "count 99", "32"),
        ({"name": "gpu"}, "neither exactly nor firstAvailable", ""),
        ("gpu", "no claim of devices", "kubectl explain"),
    ],
)
def test_what_could_never_be_allocated_is_refused_at_the_door(asked: Any, message: str, mend: str) -> None:
    with pytest.raises(ManifestError) as error:
        submitted(template(asked), job(by_template()))
    [problem] = error.value.problems
    assert problem.path == "spec.spec.devices"
    assert message in problem.message
    assert mend in problem.message + problem.mend


def test_what_the_spoke_holds_devices_for_is_read_from_rendered_objects() -> None:
    found = submitted(template(exactly("gpu", "g", 2)), job(by_template()))
    objects = render((*found.dependencies, found.manifest), CATALOGUE, job="j", epoch=1)
    [(role, specs)] = claims.by_role(objects, CATALOGUE).items()
    assert role == found.workload.roles[0].name
    assert specs[0].requests[0].alternatives[0].count == 2
    assert claims.by_role(objects[-1:], CATALOGUE) == {}


@pytest.mark.parametrize("name", ["gpu.nvidia.com", "mig.nvidia.com", "gpu.amd.com", "h100-pairs", "tpu.google.com"])
def test_classes_count_as_accelerators(name: str) -> None:
    device = classify(f"dra/{name}")
    assert device is not None
    assert device.form is DeviceForm.DRA


@pytest.mark.parametrize(
    "name", ["rdma.example.com", "dranet", "mlx-nic", "dra.cpu", "compute-domain-channel.nvidia.com"]
)
def test_classes_of_what_goes_beside_them_do_not(name: str) -> None:
    assert classify(f"dra/{name}") is None
