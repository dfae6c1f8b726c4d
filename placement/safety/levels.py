"""How much a pod may ask of the machine under it, and one thing that an object asks for.

The levels are Kubernetes' Pod Security Standards (v1.36): `baseline` forbids the known ways out of a container,
`restricted` asks for today's hardening on top. What is forbidden at `privileged` is forbidden always: those are not
questions of a pod's rights, but of whose object it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_LONGEST_VALUE = 80


class Level(StrEnum):
    PRIVILEGED = "privileged"
    BASELINE = "baseline"
    RESTRICTED = "restricted"

    @property
    def strictness(self) -> int:
        return _ORDER[self]

    def forbids(self, breach: Breach) -> bool:
        return self.strictness >= breach.level.strictness


_ORDER = {Level.PRIVILEGED: 0, Level.BASELINE: 1, Level.RESTRICTED: 2}


@dataclass(frozen=True, slots=True)
class Breach:
    """`level` is the most permissive level that forbids it."""

    control: str  # "hostPath": what an exemption names
    level: Level
    path: str  # of the field, in the object
    value: str  # as it is written there, shortened
    name: str = ""  # what of the control, for exemptions: the capability, the path on the node, the namespace
    read_only: bool = False  # hostPath: nothing mounts it to write
    of: str = ""  # "Job train": the object


def shown(value: object) -> str:
    text = (
        value if isinstance(value, str) else ("true" if value is True else "false" if value is False else repr(value))
    )
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
