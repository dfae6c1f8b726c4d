"""All that a policy asks of a job's objects: so every cluster's policy can be asked without the objects."""

from __future__ import annotations

from dataclasses import dataclass

from placement.safety.levels import Breach


@dataclass(frozen=True, slots=True)
class Footprint:
    """Each thing that is asked for once, where it is first asked for."""

    namespace: str = ""  # "": nobody looked
    kinds: tuple[str, ...] = ()  # "batch/v1/Job", of every object
    breaches: tuple[Breach, ...] = ()
