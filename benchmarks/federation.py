"""What a federation pays and waits for a day of gangs, by who places them: `python -m benchmarks.federation --json`.

In virtual time, over the same arrivals, prices, outages and spot losses: Muster's planner, and beside it first-admit
(as MultiKueue), cheapest-first and first-fit. All pay by the same rules, and within a cluster all have the same
scheduler. docs/benchmarks-federation.md says what each knows, and describes the files.

A day begins with the federation as busy as the hours before (`--warm-up-h`) left it. Two days for each seed: one of
`--load`, run to the last job's end, for money and completion times of the jobs of that day; and one of
`--saturated-load` for 24 hours, stopped when the last job arrives, for how much of the GPUs is at work in its second
half.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.simulation import arrivals, availability, federation, files, gavel, report
from benchmarks.simulation.arrivals import DataMix, Mix
from benchmarks.simulation.copies import HOUR_S
from benchmarks.simulation.engine import Policy, Rules, Simulation
from benchmarks.simulation.federation import Federation
from benchmarks.simulation.jobs import Job
from benchmarks.simulation.muster import Muster
from benchmarks.simulation.policies import CheapestFirst, FirstAdmit, FirstFit

MUSTER, FIRST_ADMIT = "muster", "first-admit"
SATURATED_FROM_H, SATURATED_TO_H = 12.0, 24.0


@dataclass(frozen=True, slots=True)
class Day:
    federation: Federation
    jobs: list[Job]


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    began = time.process_time()
    try:
        result = measure(args)
    except ValueError as error:
        parser.error(str(error))
    result["cpu_s"] = round(time.process_time() - began, 1)
    if args.json:
        json.dump(result, sys.stdout, indent=2)
        print()
    else:
        print(report.in_words(result))
    return 0


def policies(args: argparse.Namespace, day: Day, seed: int, pace_s: float = 15.0) -> dict[str, Callable[[], Policy]]:
    made: dict[str, Callable[[], Policy]] = {
        MUSTER: lambda: Muster(day.federation, pace_s=pace_s, checked=args.check),
        FIRST_ADMIT: lambda: FirstAdmit(seed, args.reconcile_s),
        "cheapest-first": CheapestFirst,
        "first-fit": FirstFit,
    }
    unknown = [name for name in args.policies if name not in made]
    if unknown:
        raise ValueError(f"--policies names {', '.join(unknown)}; there are {', '.join(made)}")
    return {name: made[name] for name in args.policies}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    seeds = range(1, args.seeds + 1)
    rules = Rules(failover_s=args.failover_s)
    source = _Source(args)
    figures: dict[str, list[report.Figures]] = {name: [] for name in args.policies}
    saturated: dict[str, list[report.Saturated]] = {name: [] for name in args.policies}
    jobs = 0
    for seed in seeds:
        day = source.day(args.load, seed, source.end_h)
        jobs += sum(job.at_s >= source.warm_up_h * HOUR_S for job in day.jobs)
        for name, policy in policies(args, day, seed).items():
            outcome = Simulation(day.federation, day.jobs, policy(), seed=seed, rules=rules).run()
            figures[name].append(report.of_day(outcome, source.warm_up_h, source.end_h))
    if args.saturated_load and not args.arrivals:
        for seed in seeds[: args.saturated_seeds]:
            day = source.day(args.saturated_load, seed, SATURATED_TO_H)
            for name, policy in policies(args, day, seed, pace_s=60.0).items():
                run = Simulation(day.federation, day.jobs, policy(), seed=seed, rules=rules)
                saturated[name].append(
                    report.of_saturation(run.run(SATURATED_TO_H * HOUR_S), SATURATED_FROM_H, SATURATED_TO_H)
                )
    return _result(args, source, jobs, figures, saturated)


class _Source:
    """The days, one for each load and seed."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self.warm_up_h = 0.0 if args.arrivals else args.warm_up_h
        self.end_h = self.warm_up_h + args.hours
        self.federation = files.read_federation(args.federation) if args.federation else federation.usual()
        self._stream = files.read_arrivals(args.arrivals) if args.arrivals else None
        self._trace = gavel.read(args.gavel, args.throughputs) if args.gavel else None
        self._series = [availability.read(path) for path in args.availability]

    def day(self, load: float, seed: int, hours: float) -> Day:
        args = self._args
        there = arrivals.with_datasets(self.federation, DataMix(), seed)
        if self._series:
            there = availability.given(there, self._series, hours, seed)
            there = availability.with_outages(there, hours, seed, args.outages)
        else:
            there = availability.played(there, availability.Pattern(), hours, seed, args.outages)
        mix = Mix(longest_h=args.longest_h)
        if self._stream is not None:
            jobs = self._stream
        elif self._trace is not None:
            largest = max(site.gpus for site in there.sites.values() if not site.spot)
            fitting = [job for job in self._trace if job.gpus <= largest]
            chosen = arrivals.brought_to(arrivals.cut(fitting, args.longest_h), there, load, hours, seed)
            jobs = arrivals.completed(chosen, mix, there, seed)
        else:
            jobs = arrivals.drawn(mix, there, load, hours, seed)
        return Day(there, jobs)


def _result(
    args: argparse.Namespace,
    source: _Source,
    jobs: int,
    figures: dict[str, list[report.Figures]],
    saturated: dict[str, list[report.Saturated]],
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    mine, first = figures.get(MUSTER), figures.get(FIRST_ADMIT)
    if mine and first:
        result["cost_saving_vs_first_admit"] = report.savings(mine, first)
        result["completion_vs_first_admit"] = report.slower(mine, first)
    if saturated.get(MUSTER):
        result["utilisation_saturated"] = report.spread([run.utilisation for run in saturated[MUSTER]])
    result |= {
        "jobs_from": _names([args.arrivals] if args.arrivals else args.gavel or []),
        "spot_from": _names(args.availability),
        "clusters": len(source.federation.sites),
        "gpus": source.federation.gpus,
        "seeds": args.seeds,
        "jobs_per_seed": round(jobs / args.seeds),
        "load": None if args.arrivals else args.load,
        "policies": {name: report.over_seeds(runs) for name, runs in figures.items()},
    }
    if any(saturated.values()):
        result["saturated_load"] = args.saturated_load
        result["saturated"] = {name: report.over_seeds(runs) for name, runs in saturated.items()}
    return result


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths) or "generator"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.federation", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--federation", type=Path, help="YAML or JSON: clusters, datasets, routes; default: the built-in eight")
    add("--arrivals", type=Path, help="CSV, JSON or YAML: the jobs as they are, no load is applied")
    add("--gavel", type=Path, nargs="+", help="traces of stanford-futuredata/gavel")
    add("--throughputs", type=Path, help="its simulation_throughputs.json; default: found above the first trace")
    add("--availability", type=Path, nargs="+", default=[], help="series of skypilot-org/spot-traces")
    add("--hours", type=_above(1), default=24.0, help="of the day")
    add("--warm-up-h", type=_above(-1), default=24.0, help="of arrivals before it; none with --arrivals")
    add("--load", type=_above(0), default=0.5, help="GPU-hours asked for, over those that there are")
    add("--saturated-load", type=float, default=1.5, help="0: that day is left out")
    add("--seeds", type=_whole, default=5)
    add("--saturated-seeds", type=_whole, default=2, help="of the seeds, how many for the saturated day")
    add("--longest-h", type=_above(0), default=24.0, help="jobs of the generator and of traces are cut off there")
    add("--outages", type=int, default=1, help="whole clusters out of reach for one to three hours")
    add("--failover-s", type=_above(0), default=900.0, help="until jobs of a silent cluster are placed anew")
    add("--reconcile-s", type=_above(0), default=1.0, help="first-admit: mean time until a cluster comes to a job")
    add("--policies", nargs="+", default=[MUSTER, FIRST_ADMIT, "cheapest-first", "first-fit"], metavar="NAME")
    add("--check", action="store_true", help="the invariants on every plan of Muster's")
    add("--json", action="store_true")
    return parser


def _above(least: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not least < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} must be above {least:g}")
        return value

    return number


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be 1 or more")
    return value


if __name__ == "__main__":
    raise SystemExit(main())
