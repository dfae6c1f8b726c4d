"""A day of jobs, drawn with the distributions of Gavel's MSR traces, and any stream of jobs brought to a given load.

Source: repository stanford-futuredata/gavel, `scheduler/traces/msr/seed=0` (15 virtual clusters of Microsoft's Philly,
15,264 jobs; steps are turned into hours by its `simulation_throughputs.json` for V100). Seen there: the sizes' shares
below; hours that are log-normal with median 3.0 and sigma 2.2 (10 % are under 0.2 h, 10 % over 54 h), hardly
dependent on size; gaps between arrivals far from Poisson (coefficient of variation 3 to 12 in each virtual cluster).

A day cannot hold jobs of a month, so hours are cut off at `longest_h`. What the traces do not tell is chosen here:
which jobs tolerate spot, how often they write checkpoints, how long users say that they take, which data they read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import exp, inf, log
from random import Random

from benchmarks.simulation.copies import HOUR_S
from benchmarks.simulation.federation import Dataset, Federation
from benchmarks.simulation.jobs import Job

# Users say one of these.
USUAL_HOURS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0, 48.0, 96.0)
_GB = 10**9


@dataclass(frozen=True, slots=True)
class Mix:
    sizes: tuple[tuple[int, float], ...] = (
        (1, 0.687),
        (2, 0.030),
        (4, 0.134),
        (8, 0.126),
        (16, 0.017),
        (32, 0.006),
    )
    median_h: float = 3.0
    sigma: float = 2.2
    shortest_h: float = 0.05
    longest_h: float = 24.0
    gap_variation: float = 3.0  # standard deviation of the gaps, over their mean
    # Not from the traces:
    tolerate_spot: float = 0.6
    checkpoint_min: tuple[float, ...] = (10.0, 30.0, 60.0)  # of those that tolerate spot; the others: four times that
    said_sigma: float = 0.5  # users are wrong about the hours by a log-normal factor
    read_data: float = 0.9


@dataclass(frozen=True, slots=True)
class DataMix:
    """Datasets lie where they were made: mostly in the own halls, some in clouds; few are large, few are popular."""

    count: int = 300
    median_gb: float = 40.0
    sigma: float = 1.6
    largest_gb: float = 2000.0
    weights: tuple[float, ...] = (0.40, 0.10, 0.25, 0.05, 0.15, 0.05)  # by region, in the federation's order
    second_copy: float = 0.15


def with_datasets(federation: Federation, mix: DataMix, seed: int) -> Federation:
    """Unless the federation has datasets of its own."""
    if federation.datasets:
        return federation
    rng = Random(f"datasets/{seed}")
    regions = list(dict.fromkeys(site.region for site in federation.sites.values()))
    weights = [mix.weights[index % len(mix.weights)] for index in range(len(regions))]
    made = {}
    for index in range(mix.count):
        gb = min(mix.median_gb * exp(rng.gauss(0, mix.sigma)), mix.largest_gb)
        homes = set(rng.choices(regions, weights, k=1 + (rng.random() < mix.second_copy)))
        made[f"d{index:02}"] = Dataset(f"d{index:02}", round(gb * _GB), tuple(sorted(homes)))
    return replace(federation, datasets=made)


def drawn(mix: Mix, federation: Federation, load: float, hours: float, seed: int) -> list[Job]:
    """As many jobs as ask for `load` times what all GPUs can do in these hours, when run without interruption."""
    rng = Random(f"arrivals/{seed}")
    asked, wanted = 0.0, load * federation.gpus * hours
    made: list[Job] = []
    while asked < wanted:
        size = rng.choices([gpus for gpus, _ in mix.sizes], [share for _, share in mix.sizes])[0]
        took_h = _hours(mix, rng)
        made.append(Job(f"j{len(made):05}", 0.0, size, took_h * HOUR_S, took_h))
        asked += size * took_h
    moments = _moments(mix, len(made), hours, rng)
    placed = [replace(job, at_s=at) for job, at in zip(made, moments, strict=True)]
    return completed(placed, mix, federation, seed)


def completed(jobs: Iterable[Job], mix: Mix, federation: Federation, seed: int) -> list[Job]:
    """With what traces do not tell: spot, checkpoints, what the user says, and the data."""
    rng = Random(f"habits/{seed}")
    names = list(federation.datasets)
    popularity = [1 / (rank + 1) for rank in range(len(names))]
    return [_with_habits(job, mix, names, popularity, rng) for job in jobs]


def brought_to(jobs: Sequence[Job], federation: Federation, load: float, hours: float, seed: int) -> list[Job]:
    """A stretch of a longer stream, squeezed or stretched in time so that it asks for the load within these hours.

    Raises ValueError where all of it is less than that.
    """
    wanted = load * federation.gpus * hours
    work = [job.gpus * job.runtime_s / HOUR_S for job in jobs]
    if sum(work) < wanted:
        raise ValueError(
            f"the jobs ask for {sum(work):.0f} GPU-hours, a load of {load:g} for {hours:g} hours on "
            f"{federation.gpus} GPUs is {wanted:.0f}: give more files, or lower --load or --hours"
        )
    sums = [0.0, *accumulate(work)]
    last = max(index for index, before in enumerate(sums[:-1]) if sums[-1] - before >= wanted)
    begin = Random(f"stretch/{seed}").randint(0, last)
    end = next(index for index, total in enumerate(sums) if total - sums[begin] >= wanted and index > begin)
    chosen = jobs[begin:end]
    first, span = chosen[0].at_s, max(chosen[-1].at_s - chosen[0].at_s, 1.0)
    return [replace(job, at_s=(job.at_s - first) / span * hours * HOUR_S) for job in chosen]


def cut(jobs: Iterable[Job], longest_h: float) -> list[Job]:
    return [replace(job, runtime_s=min(job.runtime_s, longest_h * HOUR_S)) for job in jobs]


def _hours(mix: Mix, rng: Random) -> float:
    return min(max(mix.median_h * exp(rng.gauss(0, mix.sigma)), mix.shortest_h), mix.longest_h)


def _moments(mix: Mix, count: int, hours: float, rng: Random) -> Iterator[float]:
    """Log-normal gaps, scaled so that the last arrives at the end of the hours."""
    sigma = log(1 + mix.gap_variation**2) ** 0.5
    sums = list(accumulate(exp(rng.gauss(0, sigma)) for _ in range(count)))
    return (at / sums[-1] * hours * HOUR_S for at in sums)


def _with_habits(job: Job, mix: Mix, names: list[str], popularity: list[float], rng: Random) -> Job:
    tolerates = rng.random() < mix.tolerate_spot
    every_s = rng.choice(mix.checkpoint_min) * 60 * (1 if tolerates else 4)
    said = job.runtime_s / HOUR_S * exp(rng.gauss(0, mix.said_sigma))
    reads = bool(names) and rng.random() < mix.read_data
    dataset = rng.choices(names, popularity)[0] if reads else ""
    return replace(
        job,
        tolerates_spot=tolerates,
        checkpoint_s=every_s if every_s > 0 else inf,
        expected_hours=rounded_up(said),
        dataset=dataset,
    )


def rounded_up(hours: float) -> float:
    return next((usual for usual in USUAL_HOURS if usual >= hours), USUAL_HOURS[-1])
