"""Devices by claim (DRA): the spoke allocates the claims of a gang from what drivers offer, all of them or none.

The controller-manager makes the claims from templates and takes them back; the API server checks what is written.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e import drivers, manifests, truth
from e2e.drivers import PCIE_ROOT, claiming, claims_of, devices_of
from e2e.federation import Federation
from e2e.objects import Object
from e2e.processes import ProcessFederation
from e2e.provider import MemberCluster
from e2e.waiting import holds_for, until
from placement.lifecycle import Phase

pytestmark = pytest.mark.standard_shapes  # the API server must serve resource.k8s.io/v1, and the nodes be these

CLASS = "gpu.example.com"
NEW_NODES = [f"a100-1-{n}" for n in range(1, 5)]  # eight H100 each
OLD_NODES = [f"a100-2-{n}" for n in range(1, 5)]  # four V100 each
IS_H100 = f'device.attributes["{drivers.DRIVER}"].productName.lowerAscii().matches("^h100")'
IS_LARGE = f'device.capacity["{drivers.DRIVER}"].memory.compareTo(quantity("40Gi")) >= 0'
IS_RECENT = f'device.attributes["{drivers.DRIVER}"].driverVersion.compareTo(semver("570.0.0")) > 0'


def exactly(name: str, count: int, *selectors: str) -> Object:
    asked: Object = {"deviceClassName": CLASS, "allocationMode": "ExactCount", "count": count}
    if selectors:
        asked["selectors"] = [{"cel": {"expression": expression}} for expression in selectors]
    return {"name": name, "exactly": asked}


@pytest.fixture
def onprem(federation: Federation) -> Iterator[MemberCluster]:
    """Muster's cluster with a driver in it."""
    cluster = federation.clusters["onprem-a"]
    slices = [drivers.resource_slice(node, drivers.gpus(8, "H100 SXM", "80Gi")) for node in NEW_NODES]
    slices += [drivers.resource_slice(node, drivers.gpus(4, "V100", "32Gi")) for node in OLD_NODES]
    of_driver = drivers.device_class(CLASS, f'device.driver == "{drivers.DRIVER}"')
    before = free_gpus(federation)
    with drivers.offered(cluster, of_driver, *slices):
        until("the hub to know of the devices", lambda: free_gpus(federation) == before + 4 * 8 + 4 * 4)
        yield cluster
        until("no claim to be left", lambda: not claims_of(cluster))
    until("the hub to know that they are gone", lambda: free_gpus(federation) == before)


def test_every_claim_of_a_gang_is_allocated_before_its_pods_are_bound(
    federation: Federation, onprem: MemberCluster
) -> None:
    asks = exactly("gpu", 2, IS_H100, IS_LARGE, IS_RECENT)
    template = drivers.template("pairs", [asks], [{"requests": ["gpu"], "matchAttribute": PCIE_ROOT}])
    job = claiming(manifests.indexed_job("by-claim", pods=12, gpus=0, run_for="4s"), "pairs")

    submitted = federation.submit(template, job)
    assert federation.wait_phase(submitted.id, Phase.RUNNING).cluster == "onprem-a"
    pods = {pod["metadata"]["name"]: pod for pod in truth.pods_of(onprem, submitted.id)}
    claims = claims_of(onprem)
    assert len(claims) == len(pods) == 12
    given: list[tuple[str, str]] = []
    for claim in claims:
        pod = pods[claim["metadata"]["ownerReferences"][0]["name"]]
        node = pod["spec"]["nodeName"]
        devices = devices_of(claim)
        assert [request for request, _, _ in devices] == ["gpu", "gpu"]
        assert {pool for _, pool, _ in devices} == {node}
        assert node in NEW_NODES
        assert len({int(device.removeprefix("gpu-")) // 4 for _, _, device in devices}) == 1, "of one PCIe root"
        assert claim["status"]["reservedFor"] == [
            {"resource": "pods", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        ]
        [term] = claim["status"]["allocation"]["nodeSelector"]["nodeSelectorTerms"]
        assert term["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": [node]}]
        assert "resource.kubernetes.io/delete-protection" in claim["metadata"]["finalizers"]
        given += [(node, device) for _, _, device in devices]
    assert len(set(given)) == len(given) == 24

    federation.wait_phase(submitted.id, Phase.SUCCEEDED)


def test_a_claim_that_cannot_be_met_is_refused_with_request_selector_and_numbers(
    federation: Federation, onprem: MemberCluster
) -> None:
    template = drivers.template("many", [exactly("gpu", 4, IS_H100)])
    job = claiming(manifests.indexed_job("too-many", pods=9, gpus=0), "many")

    # By number there are enough, 48 of the class: only the spoke, which sees the devices, knows that 32 match.
    submitted = federation.submit(template, job)
    reason = " ".join(federation.reasons(submitted.id)["onprem-a"].values())
    assert "devices for 8 of 9 pods" in reason
    assert f"request gpu of role worker, 4 × {CLASS} where {IS_H100}" in reason
    assert "needs 36; 48 offered, 32 match, 32 of them free, at most 8 on one node" in reason
    assert "gpu.example.com" in federation.reasons(submitted.id)["cloud-b"]["device-missing"]
    holds_for("nothing of it bound or allocated", lambda: not any(map(devices_of, claims_of(onprem))), 1.0)
    assert federation.bound_anywhere(submitted.id) == {}


def test_the_first_alternative_that_the_gang_can_have_is_given(federation: Federation, onprem: MemberCluster) -> None:
    alternatives = [
        {"name": "new", "deviceClassName": CLASS, "count": 4, "selectors": [{"cel": {"expression": IS_H100}}]},
        {"name": "old", "deviceClassName": CLASS, "allocationMode": "All"},
    ]
    template = drivers.template("either", [{"name": "gpu", "firstAvailable": alternatives}])

    def gang(name: str, pods: int) -> Object:
        return claiming(manifests.indexed_job(name, pods=pods, gpus=0, run_for="30s"), "either")

    first = federation.submit(template, gang("first", 7))
    federation.wait_phase(first.id, Phase.RUNNING)
    assert {request for claim in claims_of(onprem) for request, _, _ in devices_of(claim)} == {"gpu/new"}
    # One place for four H100 is left: of these five pods four take all the devices of an old node.
    second = federation.submit(template, gang("second", 5))
    federation.wait_phase(second.id, Phase.RUNNING)
    mine = [claim for claim in claims_of(onprem) if claim["metadata"]["name"].startswith("second")]
    asked = sorted(request for claim in mine for request in {request for request, _, _ in devices_of(claim)})
    assert asked == ["gpu/new", "gpu/old", "gpu/old", "gpu/old", "gpu/old"]
    taken = [(pool, device) for claim in claims_of(onprem) for _, pool, device in devices_of(claim)]
    assert len(set(taken)) == len(taken) == 7 * 4 + 4 + 4 * 4
    for job in (first, second):
        federation.admin.cancel(job.id)
    for job in (first, second):
        federation.wait_phase(job.id, Phase.CANCELLED)


@pytest.mark.processes
def test_no_device_is_given_twice_by_a_spoke_that_was_killed_in_between(
    federation: ProcessFederation, onprem: MemberCluster
) -> None:
    template = drivers.template("whole", [exactly("gpu", 8, IS_H100)])

    def one(name: str) -> Object:
        return claiming(manifests.indexed_job(name, pods=1, gpus=0, run_for="30s"), "whole")

    first = federation.submit(
        template, claiming(manifests.indexed_job("before", pods=3, gpus=0, run_for="30s"), "whole")
    )
    federation.wait_phase(first.id, Phase.RUNNING)
    spoke = federation.spokes["onprem-a"]
    spoke.kill()
    spoke.start()
    second = federation.submit(template, one("after-1"))
    federation.wait_phase(second.id, Phase.RUNNING)
    third = federation.submit(template, one("after-2"))
    assert "(dra/gpu.example.com: needs 8, 16 free" in " ".join(federation.reasons(third.id)["onprem-a"].values())
    taken = [(pool, device) for claim in claims_of(onprem) for _, pool, device in devices_of(claim)]
    assert len(set(taken)) == len(taken) == 32
    # What ends is given back by the cluster, and the one that waits takes it.
    federation.admin.cancel(second.id)
    federation.wait_phase(third.id, Phase.RUNNING)
    for job in (first, third):
        federation.admin.cancel(job.id)
    for job in (first, third):
        federation.wait_phase(job.id, Phase.CANCELLED)


def test_parts_of_one_card_are_given_as_far_as_its_counters_go(federation: Federation) -> None:
    """Two cards of four slices each, on one node: to be had whole, in halves, or in quarters."""
    edge, sizes = federation.clusters["edge-c"], {"whole": 4, "half": 2, "quarter": 1}

    def part(card: int, kind: str, number: int) -> Object:
        uses = [{"counterSet": f"card-{card}", "counters": {"slices": {"value": str(sizes[kind])}}}]
        return {"name": f"{kind}-{card}-{number}", "attributes": {"kind": {"string": kind}}, "consumesCounters": uses}

    parts = [part(c, kind, i) for c in (0, 1) for kind, size in sizes.items() for i in range(4 // size)]
    shared = [{"name": f"card-{card}", "counters": {"slices": {"value": "4"}}} for card in (0, 1)]
    halves = exactly("gpu", 1, f'device.attributes["{drivers.DRIVER}"].kind == "half"')
    whole = exactly("gpu", 1, f'device.attributes["{drivers.DRIVER}"].kind == "whole"')
    of_driver = drivers.device_class(CLASS, f'device.driver == "{drivers.DRIVER}"')
    counters, devices = (drivers.resource_slice("edge-t4-1-1", found, of=2) for found in ([], parts))
    counters["metadata"]["name"] += "-counters"
    counters["spec"] = {key: value for key, value in counters["spec"].items() if key != "devices"}
    counters["spec"]["sharedCounters"] = shared
    with drivers.offered(edge, of_driver, counters, devices):
        until("the hub to know of them", lambda: free_gpus(federation, "edge-c") == 7 + 8)
        gang = claiming(manifests.indexed_job("halves", pods=2, gpus=0, run_for="30s"), "halves")
        first = federation.submit(drivers.template("halves", [halves]), gang)
        assert federation.wait_phase(first.id, Phase.RUNNING).cluster == "edge-c"
        # The second half was cut of the card that was begun, so the other one is to be had whole: once.
        one = claiming(manifests.indexed_job("whole", pods=1, gpus=0, run_for="30s"), "whole")
        second = federation.submit(drivers.template("whole", [whole]), one)
        federation.wait_phase(second.id, Phase.RUNNING)
        given = sorted(device for claim in claims_of(edge) for _, _, device in devices_of(claim))
        assert [device.split("-")[0] for device in given] == ["half", "half", "whole"]
        assert len({device.split("-")[1] for device in given}) == 2
        until("the hub to know that both cards are given", lambda: free_gpus(federation, "edge-c") == 7)
        for job in (first, second):
            federation.admin.cancel(job.id)
        for job in (first, second):
            federation.wait_phase(job.id, Phase.CANCELLED)
        until("no claim to be left", lambda: not claims_of(edge))
    until("the hub to know that they are gone", lambda: free_gpus(federation, "edge-c") == 7)


def test_admin_access_is_refused_at_the_door(federation: Federation) -> None:
    asks = exactly("gpu", 1)
    asks["exactly"] |= {"adminAccess": True}
    job = claiming(manifests.indexed_job("admin", pods=1, gpus=0), "admin")
    with pytest.raises(Exception, match="adminAccess takes devices that others have"):
        federation.submit(drivers.template("admin", [asks]), job)


def free_gpus(federation: Federation, name: str = "onprem-a") -> int:
    return next(cluster.gpus_free for cluster in federation.admin.clusters() if cluster.name == name)
