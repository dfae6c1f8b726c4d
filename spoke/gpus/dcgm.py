"""What NVIDIA's DCGM exporter tells of the cards of a node: their use, and whether they are unfit. Pure.

The Xid metric keeps the last code until the exporter is started anew, so a mark that it makes stays as long. Volatile
ECC errors count since the driver was loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from spoke.gpus import exposition, signs, xids
from spoke.gpus.book import Names
from spoke.gpus.signs import Card, Sign
from spoke.gpus.xids import Fault

MOST_CARDS = 512  # of one node, MIG instances counted

_UTIL = "DCGM_FI_DEV_GPU_UTIL"  # percent
_ACTIVE = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"  # a ratio
_USED, _FREE = "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"  # MiB
_POWER = "DCGM_FI_DEV_POWER_USAGE"  # W
_XID = "DCGM_FI_DEV_XID_ERRORS"
_DBE = "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"
_REMAP = "DCGM_FI_DEV_ROW_REMAP_FAILURE"
WANTED = frozenset({_UTIL, _ACTIVE, _USED, _FREE, _POWER, _XID, _DBE, _REMAP})


@dataclass(frozen=True, slots=True)
class Reading:
    """Of one card, or of one MIG instance of it (`instance`). None: it was not told."""

    index: int | None = None
    uuid: str = ""
    pci: str = ""
    instance: str = ""
    pod: tuple[str, str] | None = None  # (namespace, name) of who has it
    util_percent: float | None = None
    active_percent: float | None = None
    used_mib: float | None = None
    free_mib: float | None = None
    power_w: float | None = None
    xids: frozenset[int] = frozenset()
    uncorrectable: int = 0
    remap_failed: bool = False

    @property
    def busy_percent(self) -> float | None:
        """How busy it is, by the finer measure where there is one."""
        return self.active_percent if self.active_percent is not None else self.util_percent


def read(text: str) -> tuple[Reading, ...]:
    cards: dict[tuple[str, str], Reading] = {}
    for name, labels, value in exposition.samples(text, WANTED):
        key = labels.get("UUID") or labels.get("gpu", ""), labels.get("GPU_I_ID", "")
        if not key[0] or not math.isfinite(value) or (key not in cards and len(cards) == MOST_CARDS):
            continue
        cards[key] = _with(cards.get(key) or _named(labels), name, value, labels)
    return tuple(cards.values())


def _named(labels: Mapping[str, str]) -> Reading:
    index = labels.get("gpu", "")
    return Reading(
        index=int(index) if index.isascii() and index.isdigit() and len(index) < 4 else None,
        uuid=next((card.uuid for card in signs.cards_in(labels.get("UUID", ""))), ""),
        pci=signs.pci(labels.get("pci_bus_id", "")),
        instance=labels.get("GPU_I_ID", ""),
    )


def _with(card: Reading, name: str, value: float, labels: Mapping[str, str]) -> Reading:
    pod = labels.get("pod") or labels.get("pod_name")
    if pod and card.pod is None:
        card = replace(card, pod=(labels.get("namespace") or labels.get("pod_namespace") or "", pod))
    match name:
        case "DCGM_FI_DEV_GPU_UTIL":
            return replace(card, util_percent=value)
        case "DCGM_FI_PROF_GR_ENGINE_ACTIVE":
            return replace(card, active_percent=100 * value)
        case "DCGM_FI_DEV_FB_USED":
            return replace(card, used_mib=value)
        case "DCGM_FI_DEV_FB_FREE":
            return replace(card, free_mib=value)
        case "DCGM_FI_DEV_POWER_USAGE":
            return replace(card, power_w=value)
        case "DCGM_FI_DEV_XID_ERRORS":
            return replace(card, xids=card.xids | {int(value)}) if value > 0 else card
        case "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL":
            return replace(card, uncorrectable=max(card.uncorrectable, int(value)))
        case _:
            return replace(card, remap_failed=card.remap_failed or value > 0)


def unfit(readings: Iterable[Reading]) -> tuple[Sign, ...]:
    found = []
    for card in readings:
        whys = [str(xid) for xid in map(xids.of, sorted(card.xids)) if xid.fault is Fault.CARD]
        if card.uncorrectable:
            whys.append(f"{card.uncorrectable} uncorrectable ECC errors since its driver was loaded")
        if card.remap_failed:
            whys.append("a row of its memory could not be remapped")
        if whys:
            named = Card(index=card.index) if card.index is not None else Card(uuid=card.uuid, pci=card.pci)
            pods = frozenset({card.pod} if card.pod is not None else ())
            found.append(Sign(named, "; ".join(whys), pods))
    return tuple(found)


def names(readings: Sequence[Reading]) -> Mapping[int, Names]:
    return {card.index: Names(card.uuid, card.pci) for card in readings if card.index is not None}
