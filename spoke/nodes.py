"""A node's own part of the inventory, read from its JSON; what pods take of it is `inventory`'s.

Read only when the object says something new: most updates of a node are heartbeats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from placement.inventory import HOST_LEVEL, DeviceClass, DeviceForm, Taint
from placement.kinds import quantity
from placement.resources import Resources
from spoke import devices
from spoke.cluster.port import Object

LINKS_ANNOTATION = "muster.dev/gpu-links"  # JSON: a square matrix of link scores, higher is closer
NUMA_ANNOTATION = "muster.dev/gpu-numa"  # "0,0,0,0,1,1,1,1": the NUMA node of each card, by index
NICS_ANNOTATION = "muster.dev/nic-numa"  # JSON: {"rdma/hca": [0, 0, 1, 1]}, the NUMA node of each NIC, by index
UNHEALTHY_ANNOTATION = "muster.dev/unhealthy-gpus"  # "2,5"
HOST_KUBELET = "muster-host"  # what nodes of the host cluster give as their kubelet's version

Levels = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class NodeFacts:
    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    capacity: Resources  # allocatable
    devices: tuple[DeviceClass, ...]
    ready: bool
    condition: str  # the status of its Ready condition; "" where it has none
    domains: Mapping[str, str]
    cards: int  # whole or shared cards that have an index
    card_resource: str  # counts whole cards; "" where they are not given out whole
    share_resource: str  # counts the memory of the same cards; "" where they are not shared
    card_share: int  # units of one card's memory; 0 where cards are not shared
    withdrawn: int  # of the whole cards that it has, how many its device plugin does not give out
    picks: bool  # whether a pod gets the very cards that Muster names, or such as a device plugin chooses
    unhealthy: frozenset[int]
    links: tuple[tuple[int, ...], ...]
    numa: tuple[int, ...]  # of each card; () where the node does not tell
    nics: tuple[tuple[str, tuple[int, ...]], ...]  # resource, and the NUMA node of each


def read(obj: Object, levels: Levels) -> NodeFacts:
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    labels: Mapping[str, str] = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    capacity = _amounts(status.get("allocatable") or status.get("capacity") or {})
    found = devices.classes(labels, capacity)
    installed = _amounts(status.get("capacity") or {})
    cards, whole, shared, units = _cards(found, capacity, installed, labels)
    return NodeFacts(
        name=metadata["name"],
        labels=labels,
        taints=tuple(Taint(t["key"], t.get("value") or "", t["effect"]) for t in spec.get("taints") or ()),
        capacity=capacity,
        devices=found,
        ready=_ready(status) == "True" and not spec.get("unschedulable") and "deletionTimestamp" not in metadata,
        condition=_ready(status),
        domains=_domains(metadata["name"], labels, levels),
        cards=cards,
        card_resource=whole,
        share_resource=shared,
        card_share=units,
        withdrawn=max(installed[whole] - capacity[whole], 0) if whole else 0,
        picks=not whole or (status.get("nodeInfo") or {}).get("kubeletVersion") == HOST_KUBELET,
        unhealthy=indices(annotations.get(UNHEALTHY_ANNOTATION)),
        links=_links(annotations.get(LINKS_ANNOTATION), cards),
        numa=_numa(annotations.get(NUMA_ANNOTATION), cards),
        nics=_nics(annotations.get(NICS_ANNOTATION)),
    )


def _amounts(given: Mapping[str, Any]) -> Resources:
    amounts = {}
    for name, value in given.items():
        try:
            amounts[name] = quantity.amount(name, value, round_up=False)
        except ValueError:
            continue  # a device plugin's nonsense: the node does not have what it cannot say
    return Resources(amounts)


def _ready(status: Mapping[str, Any]) -> str:
    return next((str(c.get("status")) for c in status.get("conditions") or () if c.get("type") == "Ready"), "")


def _domains(name: str, labels: Mapping[str, str], levels: Levels) -> Mapping[str, str]:
    domains = {level: labels[key] for level, key in levels if labels.get(key)}
    if any(level == HOST_LEVEL for level, _ in levels):
        domains.setdefault(HOST_LEVEL, name)
    return domains


def _cards(
    found: Sequence[DeviceClass], allocatable: Resources, installed: Resources, labels: Mapping[str, str]
) -> tuple[int, str, str, int]:
    """(cards, what counts whole ones, what counts their memory, units of it on each).

    Only cards have indices that can be chosen: slices are chosen by their device plugin.
    """
    whole = [d.resource for d in found if d.form in (DeviceForm.WHOLE, DeviceForm.VGPU)]
    shared = [d.resource for d in found if d.form is DeviceForm.SHARED_MEMORY]
    if len(whole) > 1 or len(shared) > 1:
        return 0, "", "", 0
    # A card that its plugin calls unhealthy is missing in what can be allocated, and keeps its index.
    cards = max(installed[whole[0]], allocatable[whole[0]]) if whole else 0
    if not shared:
        return (cards, whole[0], "", 0) if whole else (0, "", "", 0)
    if whole:
        return cards, whole[0], shared[0], max(installed[shared[0]], allocatable[shared[0]]) // cards
    cards, units = devices.shared_cards(allocatable, labels, shared[0])
    return cards, "", shared[0], units


def indices(text: str | None) -> frozenset[int]:
    parts = [part.strip() for part in (text or "").split(",")]
    return frozenset(int(part) for part in parts if part.isascii() and part.isdigit())


def _links(text: str | None, cards: int) -> tuple[tuple[int, ...], ...]:
    """The matrix; () where there is none or it does not describe these cards."""
    if not text:
        return ()
    try:
        rows = orjson.loads(text)
    except orjson.JSONDecodeError:
        return ()
    square = isinstance(rows, list) and len(rows) == cards
    if not square or not all(isinstance(row, list) and len(row) == cards for row in rows):
        return ()
    if not all(isinstance(score, int) for row in rows for score in row):
        return ()
    return tuple(tuple(row) for row in rows)


def _numa(text: str | None, cards: int) -> tuple[int, ...]:
    parts = [part.strip() for part in (text or "").split(",")]
    known = len(parts) == cards and all(part.isascii() and part.isdigit() for part in parts)
    return tuple(int(part) for part in parts) if known else ()


def _nics(text: str | None) -> tuple[tuple[str, tuple[int, ...]], ...]:
    if not text:
        return ()
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError:
        return ()
    if not isinstance(given, dict):
        return ()
    lists = {name: numas for name, numas in given.items() if isinstance(numas, list)}
    return tuple(
        (name, tuple(numas))
        for name, numas in sorted(lists.items())
        if all(isinstance(numa, int) and not isinstance(numa, bool) for numa in numas)
    )
