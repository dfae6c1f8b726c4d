"""Federations and jobs small enough to work out by hand."""

from __future__ import annotations

from math import inf

from benchmarks.simulation.federation import Dataset, Federation, Site
from benchmarks.simulation.jobs import Job
from placement.transfers import Route, Transfers

HOUR_S = 3600.0
GB = 10**9

OWN = Site("own", "hall", 2, 1.0)
CLOUD = Site("cloud", "east", 2, 3.0)
SPOT = Site("spot", "east", 2, 1.2, True, 3.0, 0.1)


def federation(*sites: Site, datasets: tuple[Dataset, ...] = ()) -> Federation:
    transfers = Transfers(default=Route(usd_per_gb=0.1, gbit_per_s=8.0))  # a GB a second
    return Federation({site.name: site for site in sites}, {each.name: each for each in datasets}, transfers)


def job(
    name: str = "j",
    *,
    at_h: float = 0.0,
    gpus: int = 8,
    hours: float = 2.0,
    spot: bool = False,
    checkpoint_h: float = inf,
    dataset: str = "",
) -> Job:
    return Job(name, at_h * HOUR_S, gpus, hours * HOUR_S, hours, spot, checkpoint_h * HOUR_S, dataset)
