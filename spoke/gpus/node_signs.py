"""What a Node object says of its GPUs: monitors' conditions and taints, the owner's annotations, and the count. Pure.

Conditions of GPU monitors have no common names, but common sense: what is called Ready or Healthy is bad when False,
what is called by a trouble is bad when True. Read are AcceleratedHardwareReady (EKS; its reason is "NvidiaXID79Error"),
GPUMissing and GPUXIDErrors (node-problem-detector in AKS), SysLogsXIDError and Gpu…Watch (NVSentinel),
NodeHasNvidiaXidError (ACK) and a node-problem-detector's own plugins. Where a condition tells an Xid, the Xid decides:
one that is a program's marks nothing.

A taint is a monitor's where its key names a GPU and a trouble. It excludes the node by itself; here it is the reason
why jobs are moved away.

Cards are missing where the node can allocate fewer than it has, or has fewer than GPU Feature Discovery counted. Which
ones nobody says, so it moves jobs only where more cards are given out than are left. A node that can allocate none at
all is one whose device plugin is starting anew: what runs goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spoke import checkpoints
from spoke.cluster.port import Object
from spoke.gpus import signs, xids
from spoke.gpus.signs import EVERY, Card, Sign
from spoke.gpus.xids import Fault
from spoke.nodes import UNHEALTHY_ANNOTATION, NodeFacts, indices

REPAIRED_ANNOTATION = "muster.dev/gpus-repaired-at"  # RFC 3339: signs from before it count no more

_ABOUT_GPUS = re.compile(r"gpu|nvidia|nvlink|xid|accelerat|dcgm", re.IGNORECASE)
_GOOD = re.compile(r"(ready|healthy|ok)$", re.IGNORECASE)
_TROUBLE = re.compile(
    r"xid|error|missing|fail|unhealthy|inactive|fallen|lost|fault|problem|degraded|ecc|watch$", re.IGNORECASE
)
_GPU_COUNT = "nvidia.com/gpu.count"
_WHOLE_CARDS = "nvidia.com/gpu"
# Where the device plugin gives out something else than whole cards, counts cannot be compared.
_SHARING = (
    ("nvidia.com/gpu.sharing-strategy", "none"),
    ("nvidia.com/mig.strategy", "none"),
    ("nvidia.com/gpu.replicas", "1"),
)


@dataclass(frozen=True, slots=True)
class NodeSigns:
    """`by_owner` hold while they are written; `by_monitors` may flap."""

    node: str
    boot: str  # changes when the node is started anew
    by_owner: tuple[Sign, ...]
    by_monitors: tuple[Sign, ...]
    missing: int  # cards
    repaired_at: datetime | None


def read(obj: Object, facts: NodeFacts) -> NodeSigns:
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    annotations = metadata.get("annotations") or {}
    return NodeSigns(
        node=metadata["name"],
        boot=f"{metadata.get('uid', '')}/{(status.get('nodeInfo') or {}).get('bootID', '')}",
        by_owner=_by_owner(annotations),
        by_monitors=(*_conditions(status.get("conditions") or ()), *_taints(spec.get("taints") or ())),
        missing=_missing(facts),
        repaired_at=checkpoints.moment(annotations.get(REPAIRED_ANNOTATION)),
    )


def _by_owner(annotations: Mapping[str, Any]) -> tuple[Sign, ...]:
    marked = sorted(indices(annotations.get(UNHEALTHY_ANNOTATION)))
    return tuple(Sign(Card(index=index), f"marked by {UNHEALTHY_ANNOTATION} on its node") for index in marked)


def _conditions(conditions: Iterable[Mapping[str, Any]]) -> Iterable[Sign]:
    for condition in conditions:
        kind, status = str(condition.get("type") or ""), condition.get("status")
        if not _ABOUT_GPUS.search(kind):
            continue
        bad = "False" if _GOOD.search(kind) else "True" if _TROUBLE.search(kind) else ""
        if not bad or status != bad:
            continue
        reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
        yield from of_text(": ".join(filter(None, (reason, message))), about=kind, unless_xid=f"{kind} is {status}")


def of_text(text: str, *, about: str, unless_xid: str) -> Iterable[Sign]:
    """Signs in what a monitor wrote `about` something bad; `unless_xid` is said of it where it tells no Xid."""
    text = text[: signs.TEXT_LIMIT]
    codes = xids.named_in(f"{about} {text}") or xids.named_in(text)
    fatal = [xid for xid in (xids.of(code, text) for code in codes) if xid.fault is Fault.CARD]
    if codes and not fatal:
        return
    why = ", ".join(map(str, fatal)) or signs.shortened(f"{unless_xid}: {text}" if text else unless_xid)
    for card in signs.cards_in(text) or [EVERY]:
        yield Sign(card, why)


def _taints(taints: Iterable[Mapping[str, Any]]) -> Iterable[Sign]:
    for taint in taints:
        key, effect = str(taint.get("key") or ""), taint.get("effect")
        if effect in ("NoSchedule", "NoExecute") and _ABOUT_GPUS.search(key) and _TROUBLE.search(key):
            value = f"={taint['value']}" if taint.get("value") else ""
            yield Sign(EVERY, signs.shortened(f"taint {key}{value}:{effect}"))


def _missing(facts: NodeFacts) -> int:
    """Cards. None where the node can allocate none: then its device plugin is not there."""
    if not facts.card_resource:
        return 0
    left = facts.capacity[facts.card_resource]
    expected = left + facts.withdrawn
    if facts.card_resource == _WHOLE_CARDS and all(facts.labels.get(key, plain) == plain for key, plain in _SHARING):
        counted = facts.labels.get(_GPU_COUNT, "")
        expected = (
            max(expected, int(counted)) if counted.isascii() and counted.isdigit() and len(counted) < 4 else expected
        )
    return expected - left
