"""What jobs use is measured through the cluster; what counters say of a card moves its job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from placement.lifecycle import Event
from spoke.cluster.fake import DEFAULT_KINDS
from spoke.cluster.port import ObjectKey
from spoke.gpus import meter
from tests.spoke.gpus.dcgm_text import page
from tests.spoke.stage import Stage, eventually, node, stage
from tests.spoke.test_sick_gpus import running
from wire.orders import JobRef

POD_METRICS = "metrics.k8s.io/v1beta1/PodMetrics"


def exporter(on: Stage, at: str, text: bytes, labels: dict[str, str] | None = None) -> None:
    on.cluster.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"dcgm-{at}",
                "namespace": "gpu-operator",
                "labels": labels or {"app": "nvidia-dcgm-exporter"},
            },
            "spec": {
                "nodeName": at,
                "containers": [{"name": "c", "ports": [{"name": "metrics", "containerPort": 9401}]}],
            },
            "status": {"phase": "Running"},
        }
    )
    on.cluster.pod_pages["gpu-operator", f"dcgm-{at}", 9401, "metrics"] = text


def pod_metrics(name: str, cpu: str, memory: str) -> dict[str, Any]:
    return {
        "apiVersion": "metrics.k8s.io/v1beta1",
        "kind": "PodMetrics",
        "metadata": {"name": name, "namespace": "team", "labels": {"muster.dev/job": "j-1"}},
        "containers": [{"name": "main", "usage": {"cpu": cpu, "memory": memory}}],
    }


async def test_the_sums_of_a_job(tmp_path: Path) -> None:
    kinds = DEFAULT_KINDS | {POD_METRICS}
    async with stage(tmp_path, node("n1"), node("n2"), kinds=kinds) as on:
        where = await running(on, "j-1", "train", gpus=4, pods=2)
        held = {("n1", "train-0"): range(4), ("n1", "train-1"): range(4, 8)}
        for at in set(where.values()):
            names = sorted(pod for pod, there in where.items() if there == at)
            pods = {i: ("team", pod) for k, pod in enumerate(names) for i in range(4 * k, 4 * k + 4)}
            exporter(on, at, page(pods, util=dict.fromkeys(range(8), 30.0) | {0: 10.0}))
        del held
        on.cluster.put(pod_metrics("train-0", "1500m", "2Gi"))
        on.cluster.put(pod_metrics("train-1", "250000000n", "512Mi"))
        usage = await on.agent.usage([])
        [use] = usage.jobs
        assert (use.ref, use.gpus, use.measured, use.idle) == (JobRef("j-1", 1), 8, 8, 0)
        low = len(set(where.values()))
        assert use.util_percent == pytest.approx((30.0 * (8 - low) + 10.0 * low) / 8)
        assert (use.used_mib, use.total_mib, use.power_w) == (320_000, 648_000, 4100.0)
        assert (use.cpu_millicores, use.ram_mib) == (1750, 2560)
        assert usage.notes == ()


async def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await running(on, "j-1", "train")
        usage = await on.agent.usage([JobRef("j-1", 1)])
        assert [(use.gpus, use.measured, use.util_percent) for use in usage.jobs] == [(8, 0, None)]
        assert usage.notes == ("n1: no DCGM exporter runs there",)
        assert (await on.agent.usage([JobRef("j-1", 2)])).jobs == ()


async def test_nothing_is_read_where_no_job_runs(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        exporter(on, "n1", page({}))
        assert (await on.agent.usage([])).jobs == ()
        assert on.cluster.calls.get("proxy_get", 0) == 0


async def test_a_page_that_was_just_read_is_not_read_again(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        exporter(on, "n1", page(dict.fromkeys(range(8), ("team", "train-0"))))
        await running(on, "j-1", "train")
        for _ in range(5):
            await on.agent.usage([])
        assert on.cluster.calls["proxy_get"] == 1


async def test_cards_that_are_hardly_used_for_ten_minutes_are_idle(tmp_path: Path) -> None:
    now = 0.0
    async with stage(tmp_path, node("n1")) as on:
        on.agent._meter._clock = lambda: now
        on.agent._meter._looked_at = float("-inf")
        exporter(on, "n1", page(dict.fromkeys(range(8), ("team", "train-0")), util={1: 0.0, 2: 4.9}))
        await running(on, "j-1", "train")
        assert [use.idle for use in (await on.agent.usage([])).jobs] == [0]
        now = meter.IDLE_AFTER_S - 1
        assert [use.idle for use in (await on.agent.usage([])).jobs] == [0]
        now += 10
        assert [use.idle for use in (await on.agent.usage([])).jobs] == [2]


async def test_a_counter_that_says_xid_79_moves_the_job_that_has_the_card(tmp_path: Path) -> None:
    """By the pod that the exporter names: the device plugin gave it other cards than the binding says."""
    async with stage(tmp_path, node("n1")) as on:
        await running(on, "j-1", "one", gpus=4)
        await running(on, "j-2", "two", gpus=4)
        swapped = dict.fromkeys(range(4), ("team", "two-0")) | dict.fromkeys(range(4, 8), ("team", "one-0"))
        exporter(on, "n1", page(swapped, xid={2: 79}))
        assert on.bound("j-1")["one-0"][1] == "0,1,2,3"
        await on.agent.usage([])
        told = await on.told("j-2", Event.INTERRUPTED)
        assert told.reason == "a GPU of n1: Xid 79 (GPU has fallen off the bus); the job is restarted whole"
        await eventually("it is told", lambda: on.agent._gpus.unusable()[0] == 1)
        assert on.events("j-1")[-1] is Event.RUNNING


async def test_an_exporter_that_was_replaced_is_found_again(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await running(on, "j-1", "train")
        exporter(on, "n1", page(dict.fromkeys(range(8), ("team", "train-0"))))
        on.cluster.pod_pages.clear()
        [note] = (await on.agent.usage([])).notes
        assert note.startswith("n1: its DCGM exporter cannot be read: ")
        on.cluster.remove(ObjectKey("v1", "Pod", "gpu-operator", "dcgm-n1"))
