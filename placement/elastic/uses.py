"""What a job of another size uses and costs by the hour, where nobody has priced its nodes anew."""

from __future__ import annotations

from dataclasses import dataclass

from placement.queues.tree import CPU_CORES
from placement.queues.usage import of_workload
from placement.resources import CPU
from placement.workload import Workload


@dataclass(frozen=True, slots=True)
class Uses:
    products: tuple[tuple[str, float], ...]  # cards by product, cores of pods without devices
    usd_per_hour: float
    cpu_usd_per_hour: float = 0.0  # of it, for pods without devices

    def __add__(self, other: Uses) -> Uses:
        total = dict(self.products)
        for product, amount in other.products:
            total[product] = total.get(product, 0.0) + amount
        return Uses(
            tuple(sorted(total.items())),
            self.usd_per_hour + other.usd_per_hour,
            self.cpu_usd_per_hour + other.cpu_usd_per_hour,
        )


def scaled(uses: Uses, before: Workload, after: Workload) -> Uses:
    """By how many pods there are: exactly where the workload itself tells which products its roles are on."""
    cards, cores = _ratio(_cards(before), _cards(after)), _ratio(_cores(before), _cores(after))
    products = tuple((name, amount * (cores if name == CPU_CORES else cards)) for name, amount in uses.products)
    if uses.products == of_workload(before):
        products = of_workload(after)
    gpu_usd, cpu_usd = uses.usd_per_hour - uses.cpu_usd_per_hour, uses.cpu_usd_per_hour * cores
    return Uses(tuple(one for one in products if one[1] > 0), gpu_usd * cards + cpu_usd, cpu_usd)


def _ratio(before: float, after: float) -> float:
    return after / before if before else 1.0


def _cards(workload: Workload) -> float:
    """Cards, and what is asked of shared ones, as much as it is of one."""
    return float(sum(role.replicas * sum(each.amount for each in role.devices) for role in workload.roles))


def _cores(workload: Workload) -> float:
    return sum(role.replicas * role.requests[CPU] for role in workload.roles if not role.devices) / 1000
