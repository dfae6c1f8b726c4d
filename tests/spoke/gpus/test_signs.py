"""How cards are named, and what nodes and Events say of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.inventory import DEFAULT_LEVELS
from spoke import nodes
from spoke.gpus import event_signs, node_signs, signs
from spoke.gpus.node_signs import NodeSigns
from spoke.gpus.signs import EVERY, Card, Sign
from tests.spoke.stage import node

UUID = "GPU-455d8f70-2051-db6c-0430-ffc457bff834"


@pytest.mark.parametrize(
    ("text", "cards"),
    [
        ("NVRM: Xid (PCI:0000:0f:00): 79", [Card(pci="0000:0f:00")]),
        ("00000000:0F:00.0 is gone", [Card(pci="0000:0f:00")]),
        (f"ErrorCode:48 PCI:0002:00:00 GPU_UUID:{UUID}", [Card(uuid=UUID)]),
        ("GPUs 3 and GPU:5", [Card(index=3), Card(index=5)]),
        ("Device=2; health check failed", [Card(index=2)]),
        ("the driver is not well", []),
        ("GPU has fallen off the bus at 10:15:32", []),
    ],
)
def test_cards_in_texts(text: str, cards: list[Card]) -> None:
    assert signs.cards_in(text) == cards


@given(st.text(max_size=300))
def test_any_text_names_cards_or_none(text: str) -> None:
    assert not any(card.every for card in signs.cards_in(text))


def read(*conditions: dict[str, Any], **more: Any) -> NodeSigns:
    obj = node("n1", **more)
    obj["status"]["conditions"] += conditions
    return node_signs.read(obj, nodes.read(obj, DEFAULT_LEVELS))


def condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


XID_79 = "Xid 79 (GPU has fallen off the bus)"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (condition("AcceleratedHardwareReady", "False", "NvidiaXID79Error", "XID 79"), [Sign(EVERY, XID_79)]),
        (condition("AcceleratedHardwareReady", "True", "NvidiaAcceleratedHardwareIsReady"), []),
        (condition("AcceleratedHardwareReady", "Unknown"), []),
        (
            condition("SysLogsXIDError", "True", "SysLogsXIDErrorIsNotHealthy", f"ErrorCode:79 GPU_UUID:{UUID}"),
            [Sign(Card(uuid=UUID), XID_79)],
        ),
        (
            condition("GPUMissing", "True", "GPUMissing", "expected 8, found 7"),
            [Sign(EVERY, "GPUMissing is True: GPUMissing: expected 8, found 7")],
        ),
        (condition("GPUMissing", "False", "NoGPUMissing"), []),
        (
            condition("GpuMemWatch", "True", "", "GPU:3 row remap failure"),
            [Sign(Card(index=3), "GpuMemWatch is True: GPU:3 row remap failure")],
        ),
        (condition("GPUHealthy", "False", "Xid79"), [Sign(EVERY, XID_79)]),
        # A program's error says nothing of the card, whoever makes a condition of it.
        (condition("NvidiaXidError", "True", "", "NVRM: Xid (PCI:0000:0f:00): 31, MMU fault"), []),
        # What is called by nothing bad is not known to be bad when true.
        (condition("NvidiaDriverInstalled", "True"), []),
        (condition("DiskPressure", "True"), []),
    ],
)
def test_conditions(given: dict[str, Any], found: list[Sign]) -> None:
    assert list(read(given).by_monitors) == found


def test_taints_of_monitors_and_of_others() -> None:
    def taints(key: str, effect: str = "NoSchedule") -> tuple[Sign, ...]:
        return read(spec={"taints": [{"key": key, "value": "true", "effect": effect}]}).by_monitors

    assert taints("nvidia.com/syslog-xid-error") == (Sign(EVERY, "taint nvidia.com/syslog-xid-error=true:NoSchedule"),)
    assert taints("nvidia.com/gpu") == ()
    assert taints("nvidia.com/syslog-xid-error", "PreferNoSchedule") == ()


def test_missing_cards() -> None:
    assert read().missing == 0
    gone = node("n1")
    gone["status"]["allocatable"]["nvidia.com/gpu"] = "7"
    assert node_signs.read(gone, nodes.read(gone, DEFAULT_LEVELS)).missing == 1
    counted = read(labels={"nvidia.com/gpu.count": "8"}, allocatable={"nvidia.com/gpu": "6"})
    assert counted.missing == 2
    sliced = {"nvidia.com/gpu.count": "8", "nvidia.com/gpu.sharing-strategy": "time-slicing"}
    assert read(labels=sliced, allocatable={"nvidia.com/gpu": "6"}).missing == 0
    gone["status"]["allocatable"]["nvidia.com/gpu"] = "0"
    assert node_signs.read(gone, nodes.read(gone, DEFAULT_LEVELS)).missing == 0  # its plugin is being started anew


def test_owners_words() -> None:
    told = read(annotations={"muster.dev/unhealthy-gpus": "5,2", "muster.dev/gpus-repaired-at": "2026-02-03T04:05:06Z"})
    assert [sign.card.index for sign in told.by_owner] == [2, 5]
    assert told.repaired_at == datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


def event(message: str, reason: str = "XidError", **about: str) -> dict[str, Any]:
    return {
        "involvedObject": {"kind": "Node", "name": "n1"} | about,
        "reason": reason,
        "message": message,
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "metadata": {},
    }


def test_events() -> None:
    told = event_signs.read(event("NVRM: Xid (PCI:0000:0f:00): 79, pid=1, GPU has fallen off the bus."))
    assert told is not None
    assert (told.node, told.signs) == ("n1", (Sign(Card(pci="0000:0f:00"), XID_79),))
    assert told.at == datetime(2026, 1, 1, tzinfo=UTC)
    assert event_signs.read(event("NVRM: Xid (PCI:0000:0f:00): 31, MMU Fault")) is None
    assert event_signs.read(event("Node n1 status is now: NodeReady", "NodeReady")) is None
    assert event_signs.read(event("Xid 79", kind="Pod")) is None
    rebooted = event_signs.read(event("Node n1 has been rebooted, boot id: 1", "Rebooted"))
    assert rebooted is not None
    assert rebooted.rebooted
