"""What NVIDIA's Xid numbers say of a GPU: whether the card is unfit until it is reset, or only the program erred. Pure.

The driver writes "NVRM: Xid (PCI:0000:0f:00): 79, …" into the kernel's log. Sources of the table: NVIDIA's catalogue
(its "resolution bucket": RESET_GPU, RESTART_BM and CONTACT_SUPPORT against RESTART_APP), the Xids that NVIDIA's device
plugin for Kubernetes leaves to the program (13, 31, 43, 45, 68, 109), and those that the node monitoring agent of EKS
counts as fatal. Where they disagree the narrower one counts: a mark costs a restart, and the plugin takes a card away
by itself. A number that is not in the table marks nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Fault(Enum):
    CARD = "card"  # unfit until it is reset, its node restarted or the card replaced
    PROGRAM = "program"  # an error of what ran there; the card is well
    UNKNOWN = "unknown"  # marks nothing


@dataclass(frozen=True, slots=True)
class Xid:
    code: int
    title: str
    fault: Fault

    def __str__(self) -> str:
        return f"Xid {self.code} ({self.title})" if self.title else f"Xid {self.code}"


_CARD = {
    46: "GPU stopped processing",
    48: "uncorrectable ECC error",
    54: "auxiliary power is not connected",
    62: "internal micro-controller halt",
    63: "a row of memory is to be remapped: reset to activate",
    64: "a row of memory could not be remapped",
    74: "NVLink error",
    79: "GPU has fallen off the bus",
    94: "contained uncorrectable ECC error",
    95: "uncontained uncorrectable ECC error",
    110: "security fault",
    119: "GSP does not answer",
    120: "GSP error",
    136: "link training failed",
    140: "unrecovered ECC error",
    142: "GPU does not respond",
    143: "GPU initialisation failed",
    151: "key rotation failed",
    155: "NVLink: the fabric took it down",
    156: "resource retirement",
    158: "fatal timeout",
}
_PROGRAM = {
    13: "graphics engine exception",
    31: "memory page fault",
    32: "corrupted push buffer",
    43: "reset channel verification error",
    45: "channels removed before the end",
    68: "video decoder exception",
    69: "graphics engine class error",
    109: "context switch timeout",
}
TABLE: Mapping[int, Xid] = {
    **{code: Xid(code, title, Fault.CARD) for code, title in _CARD.items()},
    **{code: Xid(code, title, Fault.PROGRAM) for code, title in _PROGRAM.items()},
}

RECOVERY_ACTION = 154  # says what is to be done about another Xid
_NEEDED = re.compile(r"\((?:GPU Reset Required|Node Reboot Required|Drain and Reset|Drain P2P)\)\s*$", re.IGNORECASE)
_DRIVER = re.compile(r"Xid\s*\((?:PCI:)?[0-9a-f:.]+\)\s*:\s*(\d{1,4})(?!\d)", re.IGNORECASE)
_NAMED = re.compile(r"xid[\s_:=-]*(?:errors?[\s_:=-]+)?(?:code[\s_:=-]*)?(\d{1,4})(?!\d)", re.IGNORECASE)
_NVSENTINEL = re.compile(r"\bErrorCode:(\d{1,4})(?!\d)")


def of(code: int, text: str = "") -> Xid:
    """`text`: what was said with it, which decides for a code that only tells what to do (154)."""
    if code == RECOVERY_ACTION and _NEEDED.search(text.strip()):
        return Xid(code, "recovery needed", Fault.CARD)
    return TABLE.get(code) or Xid(code, "", Fault.UNKNOWN)


def named_in(text: str) -> list[int]:
    """Every code in a log line, or in a reason or message that was made of one; in order, each once."""
    found = [int(code) for code in _DRIVER.findall(text)]
    found = found or [int(code) for code in _NAMED.findall(text)]
    if not found and re.search("xid", text, re.IGNORECASE):
        found = [int(code) for code in _NVSENTINEL.findall(text)]
    return list(dict.fromkeys(found))
