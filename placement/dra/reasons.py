"""Why claims cannot be allocated, with the request, its selectors and the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from placement.verdict import Reason


@dataclass(frozen=True, slots=True)
class DevicesShort(Reason):
    """Devices are counted over all nodes of the cluster that are ready and admit the role."""

    code: ClassVar[str] = "devices-short"
    cluster: str
    role: str
    request: str  # "gpu": 2 × gpu.nvidia.com where device.driver == "gpu.nvidia.com"
    wanted: str
    need: int  # devices, for all pods
    offered: int  # of the class
    matching: int  # of these meet the selectors
    free: int  # of those
    largest: int  # free on one node
    pods_fit: int
    pods_need: int
    ever: bool
    doubt: str = ""  # what may be wrong with the request itself

    @property
    def message(self) -> str:
        tail = "" if self.ever else f"; even empty, {self.cluster} could not hold it"
        doubt = f"; {self.doubt}" if self.doubt else ""
        return (
            f"{self.cluster} has devices for {self.pods_fit} of {self.pods_need} pods "
            f"(request {self.request} of {self.role}, {self.wanted}: needs {self.need}; {self.offered} offered, "
            f"{self.matching} match, {self.free} of them free, at most {self.largest} on one node{doubt}){tail}"
        )


@dataclass(frozen=True, slots=True)
class ClassUnknown(Reason):
    code: ClassVar[str] = "device-class-unknown"
    cluster: str
    request: str
    device_class: str
    known: tuple[str, ...]

    @property
    def message(self) -> str:
        there = ", ".join(self.known) or "none"
        return f"request {self.request}: {self.cluster} has no DeviceClass {self.device_class}; it has {there}"


@dataclass(frozen=True, slots=True)
class SelectorUnreadable(Reason):
    code: ClassVar[str] = "selector-unreadable"
    request: str
    selector: str
    why: str

    @property
    def message(self) -> str:
        return f"request {self.request}: Muster cannot evaluate the selector {self.selector}: {self.why}"


@dataclass(frozen=True, slots=True)
class ClaimUnusable(Reason):
    """A claim that Muster does not allocate, or not yet."""

    code: ClassVar[str] = "claim-unusable"
    claim: str
    why: str

    @property
    def message(self) -> str:
        return f"claim {self.claim}: {self.why}"
