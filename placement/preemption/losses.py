"""What evicting a running attempt costs: the work since its last checkpoint, done again, and its restart.

The last checkpoint is what the job told of (`Progress.checkpoint_at`). Of one that told of none, all since it began to
run is lost; of one that did not begin yet, nothing but the restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from placement.fleet import Progress, Reservation
from placement.money import PriceBook
from placement.queues.spending import hours_between
from placement.queues.tree import CPU_CORES
from placement.queues.usage import of_reservation
from placement.spot import RESTART_HOURS


@dataclass(frozen=True, slots=True)
class Loss:
    gpu_hours: float  # of work that has to be done again; without the restart
    usd: float  # of both
    hours: float  # of the gang's time that is lost
    by_checkpoint: bool  # whether the job told of one

    @property
    def message(self) -> str:
        since = "since its last checkpoint" if self.by_checkpoint else "since it began"
        return f"{self.gpu_hours:.2f} GPU-hours {since}, {self.usd:.2f} USD with its restart"


def loss(held: Reservation, progress: Progress | None, prices: PriceBook, now: datetime) -> Loss:
    """`progress` of another epoch says nothing."""
    known = progress if progress is not None and progress.epoch == held.epoch else Progress(held.epoch)
    since = began(held, known)
    by_checkpoint = known.checkpoint_at is not None and (since is None or known.checkpoint_at >= since)
    if by_checkpoint:
        since = known.checkpoint_at
    # Clocks of spokes may be ahead: nothing is lost then, and never less.
    hours = max(0.0, hours_between(since, now)) if since is not None else 0.0
    gpus = cards(held)
    return Loss(gpus * hours, usd_per_hour(held, prices) * (hours + RESTART_HOURS), hours, by_checkpoint)


def began(held: Reservation, progress: Progress | None) -> datetime | None:
    """None: it does not run yet, or nobody knows since when. Without progress, the placing is the best guess."""
    return progress.running_since if progress is not None and progress.running_since is not None else held.began


def safe_until(held: Reservation, progress: Progress | None, now: datetime) -> datetime | None:
    """Until when its min-runtime protects it; None where it does not. One that does not run yet is protected all of it
    from now on."""
    hours = held.workload.hints.min_runtime_hours
    if hours <= 0:
        return None
    running = progress.running_since if progress is not None and progress.epoch == held.epoch else None
    until = (running or now) + timedelta(hours=hours)
    return until if until > now else None


def cards(held: Reservation) -> float:
    counted = sum(amount for product, amount in of_reservation(held) if product != CPU_CORES)
    return counted or float(held.workload.total_gpus)


def usd_per_hour(held: Reservation, prices: PriceBook) -> float:
    """As noted when it was placed; else by what it asks for, at the cluster's price for any card."""
    if held.usd_per_hour > 0:
        return held.usd_per_hour
    price, _ = prices.price_of(held.cluster, "*")
    cores = sum(amount for product, amount in of_reservation(held) if product == CPU_CORES)
    return cards(held) * price.on_demand_usd_per_gpu_hour + cores * prices.usd_per_cpu_hour
