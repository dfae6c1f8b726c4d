"""Gavel's traces (repository stanford-futuredata/gavel), read by path; their data are not kept here.

One job a line, fields separated by tabs. `scheduler/traces/msr/*/*.trace` has seven: job type, command, argument for
the steps, whether it needs a data directory, total steps, arrival in seconds, GPUs. `scheduler/traces/physical_cluster`
has ten: job type, command, working directory, argument for the steps, whether it needs a data directory, total steps,
GPUs, priority, SLO, arrival. Hours are steps over the throughput (steps/s) of that job type on so many V100s, from
`scheduler/simulation_throughputs.json`; where it has none for so many GPUs, that of one.
"""

from __future__ import annotations

import json
from ast import literal_eval
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.simulation.jobs import Job

THROUGHPUTS = "simulation_throughputs.json"
_REFERENCE = "v100"
_ALONE = "null"
# By the number of fields: where steps, GPUs and arrival are.
_COLUMNS = {7: (4, 6, 5), 10: (5, 6, 9)}

Throughputs = Mapping[tuple[str, int], float]


def read(traces: Sequence[Path], throughputs: Path | None = None) -> list[Job]:
    """All of them as one stream, by arrival. Raises ValueError that names the file, the line and the field."""
    rates = read_throughputs(throughputs or _beside(traces[0]))
    found = [job for number, path in enumerate(traces) for job in _read_one(path, rates, f"g{number}")]
    return sorted(found, key=lambda job: (job.at_s, job.name))


def read_throughputs(path: Path) -> Throughputs:
    try:
        value = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: no JSON can be read from it: {error}") from error
    if not isinstance(value, dict) or not isinstance(value.get(_REFERENCE), dict):
        raise ValueError(f"{path}: it has no object {_REFERENCE!r}; {THROUGHPUTS} of Gavel has one")
    found: dict[tuple[str, int], float] = {}
    for key, entry in value[_REFERENCE].items():
        try:
            kind, gpus = literal_eval(key)
            found[str(kind), int(gpus)] = float(entry[_ALONE])
        except (ValueError, SyntaxError, TypeError, KeyError) as error:
            raise ValueError(f"{path}: {_REFERENCE}.{key!r} is not (job type, GPUs) with a rate {_ALONE!r}") from error
    return found


def _beside(trace: Path) -> Path:
    for folder in trace.resolve().parents:
        if (folder / THROUGHPUTS).is_file():
            return folder / THROUGHPUTS
    raise ValueError(f"{trace}: no {THROUGHPUTS} in any folder above it: name one with --throughputs")


def _read_one(path: Path, rates: Throughputs, prefix: str) -> list[Job]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    return [
        _job(line.split("\t"), rates, f"{path}, line {number}", f"{prefix}-{number:05}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def _job(fields: list[str], rates: Throughputs, where: str, name: str) -> Job:
    if len(fields) not in _COLUMNS:
        raise ValueError(f"{where}: {len(fields)} fields separated by tabs; a Gavel trace has 7 or 10")
    steps_at, gpus_at, arrival_at = _COLUMNS[len(fields)]
    steps = _number(fields[steps_at], float, f"{where}: total steps", above=0)
    gpus = int(_number(fields[gpus_at], int, f"{where}: GPUs", above=0))
    at_s = _number(fields[arrival_at], float, f"{where}: arrival", above=-1)
    rate = rates.get((fields[0], gpus)) or rates.get((fields[0], 1))
    if not rate:
        raise ValueError(f"{where}: no throughput is known of job type {fields[0]!r}")
    return Job(name, at_s, gpus, steps / rate, steps / rate / 3600)


def _number(text: str, kind: Any, what: str, *, above: float) -> float:
    try:
        value = float(kind(text))
    except ValueError:
        raise ValueError(f"{what} is {text!r}; it must be a number") from None
    if not above < value < float("inf"):
        raise ValueError(f"{what} is {text}; it must be above {above:g} and finite")
    return value
