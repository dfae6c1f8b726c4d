"""A catalogue's CSV, one line for each machine type and zone, as values.

The columns are those of SkyPilot's catalogue (`vms.csv` of a cloud): InstanceType, AcceleratorName, AcceleratorCount,
vCPUs, MemoryGiB, GpuInfo, Price, SpotPrice, Region, AvailabilityZone, in any order, with others beside them. Prices are
dollars per hour of the whole machine; an empty one is not offered. Only lines of the regions asked for are looked at.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from placement.kinds.problems import ManifestError, Problem, did_you_mean

COLUMNS = ("InstanceType", "AcceleratorName", "AcceleratorCount", "GpuInfo", "Price", "SpotPrice", "Region")
_ZONE = "AvailabilityZone"
_MOST_PROBLEMS = 20
_MEMORY = re.compile(r"SizeInMiB['\"]?\s*:\s*([0-9.]+)")
_NAME = re.compile(r"['\"]Name['\"]\s*:\s*['\"]([^'\"]*)['\"]")
_GIB_BELOW = 2048  # some catalogues write GiB under SizeInMiB: no card has so little memory


@dataclass(frozen=True, slots=True)
class Listed:
    """One machine in one zone. What is known of a card is its catalogue's words."""

    line: int
    machine: str  # "" where cards are priced apart from machines
    accelerator: str  # "" for a machine without
    count: float
    memory_gib: float | None  # of one card
    words: str  # small letters: all that might tell a card's form
    region: str
    zone: str
    usd_per_hour: float | None
    spot_usd_per_hour: float | None


@dataclass(frozen=True, slots=True)
class Listing:
    lines: tuple[Listed, ...]
    regions: frozenset[str]  # all that the file has, and their zones


def read(text: Iterable[str], wanted: Collection[str]) -> Listing:
    """`wanted`: names of regions or zones. Raises ManifestError where the file is no such catalogue, or lists a price
    that can be none."""
    rows = csv.DictReader(text)
    if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
        raise ManifestError([_no_column(name, rows.fieldnames or ()) for name in missing])
    found: list[Listed] = []
    problems: list[Problem] = []
    regions: set[str] = set()
    try:
        for row in rows:
            here = {row["Region"] or "", row.get(_ZONE) or ""} - {""}
            regions |= here
            if here & set(wanted):
                found.append(_listed(rows.line_num, row, problems))
            if len(problems) >= _MOST_PROBLEMS:
                break
    except csv.Error as error:
        problems.append(Problem(0, f"line {rows.line_num}", str(error), "is it a CSV file, whole and unpacked?"))
    if problems:
        raise ManifestError(problems)
    return Listing(tuple(found), frozenset(regions))


def _no_column(name: str, there: Sequence[str]) -> Problem:
    close = did_you_mean(name, there)
    mend = f"there is {close}: rename it" if close else "give a catalogue's vms.csv"
    return Problem(0, name, "the file has no such column", mend)


def _listed(line: int, row: Mapping[str, str | None], problems: list[Problem]) -> Listed:
    info, machine = row["GpuInfo"] or "", (row["InstanceType"] or "").strip()
    accelerator = (row["AcceleratorName"] or "").strip()
    name = _NAME.search(info)
    return Listed(
        line=line,
        machine=machine,
        accelerator=accelerator,
        count=_amount(line, row, "AcceleratorCount", problems) or 0.0,
        memory_gib=_memory_gib(info),
        words=f"{machine} {accelerator} {name.group(1) if name else ''}".casefold(),
        region=row["Region"] or "",
        zone=row.get(_ZONE) or "",
        usd_per_hour=_amount(line, row, "Price", problems),
        spot_usd_per_hour=_amount(line, row, "SpotPrice", problems),
    )


def _amount(line: int, row: Mapping[str, str | None], column: str, problems: list[Problem]) -> float | None:
    text = (row[column] or "").strip()
    if not text:
        return None
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not isfinite(amount) or amount < 0:
        problems.append(Problem(0, f"line {line}, {column}", f"{text!r} is no amount", "mend or delete the line"))
        return None
    return amount


def _memory_gib(info: str) -> float | None:
    found = _MEMORY.search(info)
    size = float(found.group(1)) if found else 0.0
    if size <= 0:
        return None
    return size if size < _GIB_BELOW else size / 1024
