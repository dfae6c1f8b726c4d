"""Manifests as people have them, read and planned: what each asks for, or what to do with it where it is no job.

`MUSTER_MANIFESTS=DIR` runs the same over a directory of one's own, by the table `expected.yaml` in it, or by the one
that `MUSTER_EXPECTED` names; `tests/manifests/expected.yaml` says what such a table holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from hub.api import present
from hub.cli import tables
from hub.records import Planned
from placement.fleet import Cluster, Fleet, Health, PendingJob
from placement.inventory import DeviceClass, DeviceForm, Gpu, Node
from placement.kinds import reader
from placement.kinds.catalogue import Catalogue
from placement.kinds.problems import ManifestError
from placement.kinds.reader import Submission
from placement.planner import plan_fully
from placement.queues.tree import Queue, QueueTree
from placement.resources import Resources
from placement.summary import summarise
from placement.workload import Role

OURS = Path(__file__).parents[1] / "manifests"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CATALOGUE = Catalogue.builtin()
Row = Mapping[str, Any]


def test_ours(fleet: Fleet) -> None:
    assert wrong(OURS, OURS / "expected.yaml", fleet) == []


@pytest.mark.skipif("MUSTER_MANIFESTS" not in os.environ, reason="MUSTER_MANIFESTS names no directory")
def test_those_of_a_directory(fleet: Fleet) -> None:
    directory = Path(os.environ["MUSTER_MANIFESTS"])
    table = Path(os.environ.get("MUSTER_EXPECTED", directory / "expected.yaml"))
    assert wrong(directory, table, fleet) == []


def test_what_differs_from_the_table_is_told(tmp_path: Path, fleet: Fleet) -> None:
    (tmp_path / "a.yaml").write_text((OURS / "ddp.yaml").read_text())
    (tmp_path / "b.yaml").write_text((OURS / "alerts.yaml").read_text())
    (tmp_path / "c.yaml").write_text("kind: x")
    row = {"kind": "PyTorchJob", "roles": {"Master": "1x4", "Worker": "3x4"}, "gang": 4, "gpus": 15, "says": ["x"]}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump({"a.yaml": {"workloads": [row]}, "b.yaml": {"workloads": []}}))
    assert [one.partition(" (")[0] for one in wrong(tmp_path, tmp_path / "t.yaml", fleet)] == [
        "a.yaml: gpus is 16, not 15",
        "a.yaml: no warning says x",
        "b.yaml: refused",
        "c.yaml: is not in the table",
    ]


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """One cluster that serves every kind and has a few nodes of each sort."""
    others = {f"{version}/{other.kind}" for other in CATALOGUE.others.dependencies for version in other.versions}
    summary = summarise([*nodes()], {kind.resource_kind for kind in CATALOGUE.kinds} | others)
    cluster = Cluster("paris", "eu", {}, Health.READY, cordoned=False, summary=summary)
    return Fleet({cluster.name: cluster}, queues=QueueTree.of([Queue("default"), Queue("research")]))


def nodes() -> Iterator[Node]:
    labels = {"gpu-type": "nvidia", "nvidia.com/gpu.count": "8", "nvidia.com/gpu.present": "true"}
    labels |= {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB", "topology.kubernetes.io/zone": "a"}
    whole = DeviceClass("nvidia.com/gpu", "nvidia", "NVIDIA-A100-SXM4-80GB", 81_920, DeviceForm.WHOLE)
    shared = DeviceClass("aliyun.com/gpu-mem", "nvidia", "Tesla-T4", 16_384, DeviceForm.SHARED_MEMORY, 1)
    rest = {"cpu": 128_000, "memory": 1 << 20, "pods": 110, "ephemeral-storage": 1 << 20}
    network = {"rdma/hca": 8, "rdma/rdma_shared_device_a": 64}
    for index in range(16):
        name = f"gpu-{index}"
        has = Resources(rest | network | {whole.resource: 8})
        cards = tuple(Gpu(card) for card in range(8))
        yield Node(
            name, labels | {"kubernetes.io/hostname": name}, (), has, has, (whole,), cards, domains={"host": name}
        )
    has = Resources(rest | {shared.resource: 16_384})
    yield Node("small", {}, (), has, has, (shared,), (Gpu(0, free_share=16_384),), domains={"host": "small"})


def wrong(directory: Path, table: Path, fleet: Fleet) -> list[str]:
    """Everything in which the files of the directory differ from the table, each with its file's name."""
    rows: dict[str, Row] = yaml.safe_load(table.read_text())
    there = sorted({path.name for path in directory.glob("*.yaml") if path != table and path.name != "expected.yaml"})
    found = [f"{name}: is in the table and not there" for name in rows if name not in there]
    for name in there:
        if name not in rows:
            found.append(f"{name}: is not in the table")
        else:
            found += (f"{name}: {one}" for one in _of_file((directory / name).read_bytes(), rows[name], fleet))
    return found


def _of_file(text: bytes, row: Row, fleet: Fleet) -> Iterator[str]:
    try:
        submissions = reader.read(text, CATALOGUE)
    except ManifestError as error:
        words = " ".join(f"{one.path} {one.message} {one.mend}" for one in error.problems)
        if "refused" not in row:
            yield f"refused ({words})"
        yield from (
            f"the answer does not say {word!r} ({words})" for word in row.get("refused", ()) if word not in words
        )
        return
    wanted = row.get("workloads", ())
    if "refused" in row or len(wanted) != len(submissions):
        yield f"holds {len(submissions)} workloads, not {len(wanted)}"
        return
    for number, (submission, one) in enumerate(zip(submissions, wanted, strict=True)):
        yield from _of_workload(submission, one)
        yield from _of_plan(submission, one, fleet, number)


def _of_workload(submission: Submission, row: Row) -> Iterator[str]:
    workload = submission.workload
    ranged = {role.name: f"{role.minimum}-{role.maximum}" for role in workload.roles if role.maximum is not None}
    is_: dict[str, Any] = {
        "kind": workload.kind,
        "roles": {role.name: f"{role.replicas}x{role.gpus_per_pod}" for role in workload.roles},
        "ranges": ranged,
        "gang": workload.min_pods,
        "gpus": workload.total_gpus,
        "queue": "" if workload.hints.queue == "default" else workload.hints.queue,
        "needs": sorted(f"{one.kind}/{one.name}" for one in workload.references),
        "data": sorted(one.name for one in workload.data),
        "products": sorted({product for role in workload.roles for product in role.products}),
        "travels": sorted(one["kind"] for one in submission.dependencies),
        "shares": {role.name: share for role in workload.roles if (share := _share(role))},
    }
    for what, value in is_.items():
        given = row.get(what, type(value)())
        if value != (sorted(given) if isinstance(given, list) else given):
            yield f"{what} is {value}, not {given}"
    asked = {role.name: role.requests for role in workload.roles}
    for name, resources in row.get("asks", {}).items():
        for resource, amount in resources.items():
            if asked[name].get(resource, 0) != amount:
                yield f"{name} asks {asked[name].get(resource, 0)} of {resource}, not {amount}"
    warnings = " ".join(workload.warnings)
    yield from (f"no warning says {words} ({warnings})" for words in row.get("says", ()) if words not in warnings)


def _share(role: Role) -> int:
    return sum(device.amount for device in role.devices if device.is_share)


def _of_plan(submission: Submission, row: Row, fleet: Fleet, number: int) -> Iterator[str]:
    """As `muster plan` shows it."""
    [decision] = plan_fully(fleet, [PendingJob(f"plan-{number}", 1, submission.workload, "red", NOW)], NOW).decisions
    out = present.plan(Planned(submission.workload, decision))
    written = StringIO()
    Console(file=written, width=200, color_system=None, highlight=False).print(tables.plan(out))
    shown = written.getvalue()
    if out.verdict != ("placed" if "waits" not in row else "waiting"):
        yield f"the plan says {out.verdict}: {[reason.message for one in out.candidates for reason in one.reasons]}"
    yield from (f"the plan does not say {words}" for words in row.get("waits", ()) if words not in shown)
    yield from (f"the plan does not name the role {name}" for name in row["roles"] if name not in shown)
