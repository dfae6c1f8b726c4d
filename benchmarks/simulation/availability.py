"""How much of a spot cluster exists, hour by hour: read from measured series, or drawn like them.

Measured series: repository skypilot-org/spot-traces (of "Can't Be Late", NSDI 2024); each file is
`{"metadata": {"gap_seconds": 300}, "data": [16, 16, 12, 0, …]}`, how many instances there were at each tick. Its
multi-node series (4 and 16 V100 in five zones of AWS, 2023) are whole for 1.7 to 8.5 hours on average and less than
whole for 1.0 to 3.7; when less, there is nothing about half of the time. `Pattern` has these as parameters; its
defaults are the better half of those zones, which is what people keep using.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from benchmarks.simulation.federation import Availability, Federation, Outage, Site

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Pattern:
    whole_h: float = 6.0  # mean, exponential
    short_h: float = 1.2
    nothing: float = 0.45  # of the times that it is short: none left; otherwise some quarters of it


def drawn(pattern: Pattern, hours: float, rng: Random) -> tuple[Availability, ...]:
    """For so many hours; whole at the beginning and, so that every job ends, after the end."""
    found, at = [], rng.expovariate(1 / pattern.whole_h)
    while at < hours:
        share = 0.0 if rng.random() < pattern.nothing else rng.choice((0.25, 0.5, 0.75))
        found.append(Availability(at, share))
        at += rng.expovariate(1 / pattern.short_h)
        found.append(Availability(at, 1.0))
        at += rng.expovariate(1 / pattern.whole_h)
    return tuple(found)


def losses_per_hour(pattern: Pattern) -> float:
    """How often a node that is there is taken away."""
    share_lost = pattern.nothing + (1 - pattern.nothing) * 0.5
    return share_lost / pattern.whole_h


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    gap_s: float
    counts: tuple[int, ...]

    @property
    def most(self) -> int:
        return max(self.counts)

    @property
    def losses_per_hour(self) -> float:
        """How often a node that was there was taken away."""
        lost = sum(max(before - after, 0) for before, after in zip(self.counts, self.counts[1:], strict=False))
        there_h = sum(self.counts) * self.gap_s / HOUR_S
        return lost / there_h if there_h else 0.0

    def day(self, begin: int, hours: float) -> tuple[Availability, ...]:
        """From the given tick on; whole after the end."""
        ticks = self.counts[begin : begin + round(hours * HOUR_S / self.gap_s)]
        found, before = [], self.most
        for index, now in enumerate(ticks):
            if now != before:
                found.append(Availability(index * self.gap_s / HOUR_S, now / self.most))
            before = now
        if before != self.most:
            found.append(Availability(len(ticks) * self.gap_s / HOUR_S, 1.0))
        return tuple(found)


def read(path: Path) -> Series:
    """Raises ValueError that names the file, the field and what it should be."""
    try:
        value = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: no JSON can be read from it: {error}") from error
    gap = value.get("metadata", {}).get("gap_seconds") if isinstance(value, dict) else None
    counts = value.get("data") if isinstance(value, dict) else None
    if not isinstance(gap, int | float) or gap <= 0:
        raise ValueError(f"{path}: metadata.gap_seconds is {gap!r}; it must be seconds above 0")
    if not isinstance(counts, list) or not all(isinstance(each, int) and each >= 0 for each in counts):
        raise ValueError(f"{path}: data must be a list of whole numbers of instances")
    if not counts or max(counts) == 0:
        raise ValueError(f"{path}: data has no tick at which there was an instance")
    return Series(path.stem, float(gap), tuple(counts))


def given(federation: Federation, series: Sequence[Series], hours: float, seed: int) -> Federation:
    """Every spot cluster follows one of the series, from a random tick on; what the price book is told of
    interruptions is what the series shows before that tick."""
    rng = Random(f"availability/{seed}")
    changed = []
    for index, site in enumerate(site for site in federation.sites.values() if site.spot):
        chosen = series[index % len(series)]
        ticks = round(hours * HOUR_S / chosen.gap_s)
        begin = rng.randint(len(chosen.counts) // 3, max(len(chosen.counts) // 3, len(chosen.counts) - ticks))
        past = replace(chosen, counts=chosen.counts[:begin] if any(chosen.counts[:begin]) else chosen.counts)
        changed.append(
            replace(site, availability=chosen.day(begin, hours), interruptions_per_hour=past.losses_per_hour)
        )
    return federation.with_sites(*changed)


def played(federation: Federation, pattern: Pattern, hours: float, seed: int, outages: int = 1) -> Federation:
    """Spot by the pattern, and so many whole clusters out of reach for one to three hours. Spot clusters for which
    the file tells a series keep it."""
    rng = Random(f"availability/{seed}")
    changed: dict[str, Site] = {}
    for name, site in federation.sites.items():
        days = drawn(pattern, hours, rng)
        if site.spot and not site.availability:
            changed[name] = replace(site, availability=days, interruptions_per_hour=losses_per_hour(pattern))
    return with_outages(federation.with_sites(*changed.values()), hours, seed, outages)


def with_outages(federation: Federation, hours: float, seed: int, outages: int) -> Federation:
    rng = Random(f"outages/{seed}")
    for name in rng.sample(sorted(federation.sites), min(outages, len(federation.sites))):
        site = federation.sites[name]
        out = Outage(rng.uniform(0, hours), rng.uniform(1.0, 3.0))
        federation = federation.with_sites(replace(site, outages=(*site.outages, out)))
    return federation
