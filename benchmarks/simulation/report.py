"""Figures of one run, and of several with different seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from benchmarks.measure import percentile
from benchmarks.simulation.copies import HOUR_S
from benchmarks.simulation.engine import Outcome


@dataclass(frozen=True, slots=True)
class Figures:
    usd_per_job: float
    gpu_usd_per_job: float
    egress_usd_per_job: float
    mean_completion_h: float  # from arrival to end
    p95_completion_h: float
    mean_wait_h: float  # from arrival to end, without the hours of work
    gpu_utilisation: float  # GPUs at work, of those up, while jobs arrive
    egress_gb: float
    lost_gpu_hours: float  # work done again after interruptions by spot and outages
    data_wait_gpu_hours: float  # GPUs held while data came
    interruptions: float
    refused: float  # placements that the cluster found no room for


def of_day(outcome: Outcome, from_h: float, to_h: float) -> Figures:
    """Of the jobs that arrive in these hours, in a run to the last job's end."""
    accounts = [account for account in outcome.accounts.values() if from_h * HOUR_S <= account.job.at_s]
    count = len(accounts)
    done_h = [account.completion_s / HOUR_S for account in accounts]
    work_h = sum(account.job.runtime_s for account in accounts) / HOUR_S
    if not count:
        raise ValueError(f"no job arrives between hours {from_h:g} and {to_h:g}: there is nothing to report")
    gpu_usd, egress_usd = (sum(getattr(a, name) for a in accounts) for name in ("gpu_usd", "egress_usd"))
    return Figures(
        usd_per_job=(gpu_usd + egress_usd) / count,
        gpu_usd_per_job=gpu_usd / count,
        egress_usd_per_job=egress_usd / count,
        mean_completion_h=sum(done_h) / count,
        p95_completion_h=percentile(done_h, 0.95),
        mean_wait_h=(sum(done_h) - work_h) / count,
        gpu_utilisation=outcome.usage.share(round(from_h), max(round(from_h) + 1, round(to_h))),
        egress_gb=sum(account.egress_gb for account in accounts),
        lost_gpu_hours=sum(account.lost_gpu_hours for account in accounts),
        data_wait_gpu_hours=sum(a.waiting_for_data_s * a.job.gpus for a in accounts) / HOUR_S,
        interruptions=sum(account.interruptions for account in accounts),
        refused=outcome.refused,
    )


@dataclass(frozen=True, slots=True)
class Saturated:
    """Of a run that is stopped when the last job arrives: GPUs at work, of those up."""

    utilisation: float
    lowest_hour: float


def of_saturation(outcome: Outcome, from_h: float, to_h: float) -> Saturated:
    hours = round(from_h), max(round(from_h) + 1, round(to_h))
    return Saturated(outcome.usage.share(*hours), outcome.usage.lowest_share(*hours))


Spread = dict[str, float]


def spread(values: Sequence[float], digits: int = 3) -> Spread:
    found = {"mean": sum(values) / len(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def over_seeds(runs: Sequence[Figures] | Sequence[Saturated]) -> dict[str, Spread]:
    rows = [asdict(run) for run in runs]
    return {each.name: spread([row[each.name] for row in rows]) for each in fields(runs[0])}


def savings(mine: Sequence[Figures], others: Sequence[Figures]) -> Spread:
    """Of the dollars for a job, seed by seed."""
    return spread([1 - a.usd_per_job / b.usd_per_job for a, b in zip(mine, others, strict=True)])


def slower(mine: Sequence[Figures], others: Sequence[Figures]) -> Spread:
    """Mean completion time over the other's, seed by seed: below 1 is quicker."""
    return spread([a.mean_completion_h / b.mean_completion_h for a, b in zip(mine, others, strict=True)])


def in_words(result: Mapping[str, object], indent: str = "") -> str:
    lines = []
    for name, value in result.items():
        if isinstance(value, Mapping):
            if set(value) == {"mean", "min", "max"}:
                lines.append(f"{indent}{name:<28}{value['mean']:>12} ({value['min']} – {value['max']})")
            else:
                lines += [f"{indent}{name}", in_words(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name:<28}{value!s:>12}")
    return "\n".join(lines)
