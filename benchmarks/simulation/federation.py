"""What the simulated federation is: clusters, what lies where, and what moving it costs. All of it plain values.

A cluster has one kind of node and one way of being paid. A spot cluster's nodes carry a taint, as autoscaled spot pools
do, so that only jobs that tolerate interruptions are admitted, whoever decides; how many of its nodes there are follows
an availability series. Times are hours from the beginning of the day that is simulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from placement.transfers import ANY_REGION, Route, Transfers

A100 = "NVIDIA-A100-SXM4-80GB"


@dataclass(frozen=True, slots=True)
class Outage:
    at_h: float
    hours: float


@dataclass(frozen=True, slots=True)
class PriceChange:
    at_h: float
    usd_per_gpu_hour: float


@dataclass(frozen=True, slots=True)
class Availability:
    """From then on so many of the nodes exist."""

    at_h: float
    share: float


@dataclass(frozen=True, slots=True)
class Site:
    name: str
    region: str
    nodes: int
    usd_per_gpu_hour: float  # what is paid; for a spot cluster the spot price
    spot: bool = False
    on_demand_usd_per_gpu_hour: float = 0.0  # of a spot cluster: what the same GPU costs without interruptions
    interruptions_per_hour: float = 0.0  # of a spot cluster: how often a node is taken away, as its owner was told
    product: str = A100
    gpus_per_node: int = 8
    nodes_per_rack: int = 4
    speed: float = 1.0  # work done in an hour, of the hours that jobs say
    prices: tuple[PriceChange, ...] = ()
    outages: tuple[Outage, ...] = ()
    availability: tuple[Availability, ...] = ()

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node


@dataclass(frozen=True, slots=True)
class Dataset:
    name: str
    size_bytes: int
    regions: tuple[str, ...]  # where a copy lies in the morning


@dataclass(frozen=True, slots=True)
class Federation:
    sites: Mapping[str, Site]  # first-fit asks them in this order
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    transfers: Transfers = field(default_factory=Transfers)

    @property
    def gpus(self) -> int:
        return sum(site.gpus for site in self.sites.values())

    def with_sites(self, *changed: Site) -> Federation:
        return replace(self, sites={**self.sites, **{site.name: site for site in changed}})


def usual() -> Federation:
    """Eight unlike clusters: two on premise, two clouds with and without spot, in six regions.

    Prices are of the order of what GPUs of this class cost by the hour in 2025: own hardware over its life with power
    and people, list prices of large clouds, and spot at a third to two fifths of them. Clouds bill what leaves them at
    the usual $0.09/GB, less between their own regions, and nothing for what comes in.
    """
    sites = (
        Site("onprem-main", "dc-main", 24, 1.10),
        Site("onprem-lab", "dc-lab", 12, 1.35),
        Site("alpha-east", "alpha-east", 16, 3.40),
        Site("alpha-east-spot", "alpha-east", 16, 1.30, True, 3.40, 0.18),
        Site("alpha-west", "alpha-west", 12, 3.55),
        Site("beta-eu", "beta-eu", 12, 3.67),
        Site("beta-eu-spot", "beta-eu", 16, 1.20, True, 3.67, 0.18),
        Site("beta-asia", "beta-asia", 8, 4.00),
    )
    return Federation({site.name: site for site in sites}, {}, _routes())


def _routes() -> Transfers:
    inside_alpha = Route(usd_per_gb=0.02, gbit_per_s=5.0)
    inside_beta = Route(usd_per_gb=0.05, gbit_per_s=4.0)
    own_line = Route(usd_per_gb=0.0, gbit_per_s=2.0)  # out of the own halls: the line is paid for, and shared
    return Transfers(
        {
            ("alpha-east", "alpha-west"): inside_alpha,
            ("alpha-west", "alpha-east"): inside_alpha,
            ("beta-eu", "beta-asia"): inside_beta,
            ("beta-asia", "beta-eu"): inside_beta,
            ("dc-main", ANY_REGION): own_line,
            ("dc-lab", ANY_REGION): own_line,
        },
        default=Route(usd_per_gb=0.09, gbit_per_s=2.0),
    )
