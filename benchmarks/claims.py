"""How long the spoke takes to allocate the claims of a gang: `python -m benchmarks.claims --json`.

A cluster of nodes with eight devices each, behind two PCIe roots. Gangs come whose pods each claim devices by a
selector and a constraint, and are allocated until nothing is free; every gang is decided on everything that the earlier
ones took, as in the agent. Measured is CPU time per gang, through slices, claims and inventory as the spoke keeps them,
with no API server: what writing costs there is `benchmarks.binding`'s subject. No device may be given twice.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.measure import latency_ms
from placement.assignment import PodToPlace, Shortfall
from placement.dra import requests
from placement.inventory import DEFAULT_LEVELS
from placement.resources import Resources
from placement.workload import Role, Workload
from spoke.claims import Claims
from spoke.device_book import DeviceBook
from spoke.inventory import Inventory
from wire.orders import JobRef

DRIVER = "gpu.example.com"
ROOT = "resource.kubernetes.io/pcieRoot"
SELECTOR = f'device.attributes["{DRIVER}"].productName.lowerAscii().matches("^h100")'


def measure(nodes: int, pods: int, per_pod: int) -> dict[str, Any]:
    inventory, book = Inventory(DEFAULT_LEVELS), DeviceBook()
    book.put = inventory.put_stock
    for number in range(nodes):
        inventory.put_node(_node(number))
    reading = time.process_time()
    for (_, sink), objects in zip(
        book.sinks(), ([_device_class()], [_slice(n) for n in range(nodes)], []), strict=True
    ):
        sink.reset(objects)
    read_s = time.process_time() - reading
    claims = Claims(book, inventory)
    workload = _gang(pods)
    described = [PodToPlace(f"worker-{i}", "worker") for i in range(pods)]
    took_s: list[float] = []
    given: list[Any] = []
    while True:
        began = time.process_time()
        found = claims.hold(workload, described, {"worker": (_claim(per_pod),)})
        took_s.append(time.process_time() - began)
        if isinstance(found, Shortfall):
            break
        inventory.hold(JobRef(f"j-{len(took_s)}", 1), found)
        given += [device for slot in found for device in slot.usage.devices]
    assert len(set(given)) == len(given), "a device was given twice"
    return {
        "nodes": nodes,
        "devices": 8 * nodes,
        "gangs": len(took_s) - 1,
        "pods_per_gang": pods,
        "devices_per_pod": per_pod,
        "given_pct": round(100 * len(given) / (8 * nodes), 1),
        "read_ms": round(read_s * 1000),
        "first_gang_ms": round(took_s[0] * 1000, 1),
        "gang_ms": latency_ms(took_s[1:-1]),
        "refusal_ms": round(took_s[-1] * 1000, 1),
        "pods_per_cpu_s": round(pods * (len(took_s) - 1) / sum(took_s[:-1])),
    }


def _node(number: int) -> dict[str, Any]:
    amounts = {"cpu": "96", "memory": "768Gi", "pods": "110"}
    labels = {"kubernetes.io/hostname": f"n{number}", "topology.muster.dev/rack": f"r{number // 16}"}
    status = {"allocatable": amounts, "capacity": amounts, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": f"n{number}", "labels": labels}, "spec": {}, "status": status}


def _device_class() -> dict[str, Any]:
    selector = {"cel": {"expression": f'device.driver == "{DRIVER}"'}}
    return {"metadata": {"name": "gpu"}, "spec": {"selectors": [selector]}}


def _slice(node: int) -> dict[str, Any]:
    devices = [
        {"name": f"d{i}", "attributes": {"productName": {"string": "H100 SXM"}, ROOT: {"string": f"r{i // 4}"}}}
        for i in range(8)
    ]
    pool = {"name": f"n{node}", "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": DRIVER, "nodeName": f"n{node}", "pool": pool, "devices": devices}
    return {"metadata": {"name": f"n{node}"}, "spec": spec}


def _claim(count: int) -> requests.ClaimSpec:
    exactly = {"deviceClassName": "gpu", "count": count, "selectors": [{"cel": {"expression": SELECTOR}}]}
    constraint = {"requests": ["gpu"], "matchAttribute": ROOT}
    return requests.read({"devices": {"requests": [{"name": "gpu", "exactly": exactly}], "constraints": [constraint]}})


def _gang(pods: int) -> Workload:
    role = Role("worker", pods, pods, Resources({"cpu": 4000, "memory": 16384, "pods": 1}))
    return Workload("batch/v1", "Job", "gang", "team", (role,), pods)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=64, help="of each gang")
    parser.add_argument("--devices", type=int, default=2, help="that each pod claims")
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")
    given = parser.parse_args(argv)
    found = measure(given.nodes, given.pods, given.devices)
    print(json.dumps(found, indent=None if given.json else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
