"""A sign that a GPU is unfit, and how texts of other people's agents name the card. Pure.

A card is named by its index, its UUID or its place on the PCI bus. A sign that names none means every card of the node:
whoever wrote it did not know better either, and a job must not be given the sick one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TEXT_LIMIT = 4096  # of a message that is read
WHY_LIMIT = 200  # of what is kept of it

_UUID = re.compile(r"GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PCI = re.compile(r"(?<![0-9a-f])([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})(?:\.[0-7])?(?![0-9a-f:])", re.IGNORECASE)
_INDEX = re.compile(
    r"(?<![0-9a-z])(?:gpus?|gpu[ _]?(?:index|id)|device|nvidia)[\s:=#]*(\d{1,2})(?![0-9a-z])", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Card:
    """By whichever name it has. With none of them: every card of the node."""

    index: int | None = None
    uuid: str = ""
    pci: str = ""  # "0000:0f:00", as `pci` writes it

    def __str__(self) -> str:
        if self.index is not None:
            return f"GPU {self.index}"
        return self.uuid or (f"the GPU at PCI {self.pci}" if self.pci else "the GPUs")

    @property
    def every(self) -> bool:
        return self == EVERY


EVERY = Card()


@dataclass(frozen=True, slots=True)
class Sign:
    card: Card
    why: str  # "Xid 79 (GPU has fallen off the bus)"
    pods: frozenset[tuple[str, str]] = frozenset()  # (namespace, name) of who has the card, where the source knows


def pci(text: str) -> str:
    """One spelling for "00000000:0F:00.0", "PCI:0000:0f:00" and their like; "" for what is none."""
    match = _PCI.search(text)
    return f"{match[1][-4:]}:{match[2]}:{match[3]}".lower() if match else ""


def cards_in(text: str) -> list[Card]:
    """The cards that a text names, by the surest kind of name that it has; none where it names none."""
    text = text[:TEXT_LIMIT]
    if uuids := dict.fromkeys("GPU-" + found[4:].lower() for found in _UUID.findall(text)):
        return [Card(uuid=uuid) for uuid in uuids]
    if places := dict.fromkeys(f"{d[-4:]}:{b}:{s}".lower() for d, b, s in _PCI.findall(text)):
        return [Card(pci=place) for place in places]
    return [Card(index=index) for index in dict.fromkeys(int(found) for found in _INDEX.findall(text))]


def shortened(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= WHY_LIMIT else one_line[: WHY_LIMIT - 1] + "…"
