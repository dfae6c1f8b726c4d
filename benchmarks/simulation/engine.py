"""A federation in virtual time: an event queue, one policy, and the rules that every policy pays by.

The rules: a placed gang holds its GPUs, and pays for them at the cluster's price of the moment, until it ends or is
interrupted. Data that is not in the region is brought there first, while the GPUs wait. A gang that loses a node, or
its cluster, loses the work since its last checkpoint and waits anew: at once where a node was lost, after `failover_s`
where a whole cluster fell silent. Starting again takes `restart_s`.

Everything that happens at one moment is applied before the policy is asked once. Where the cluster's own scheduler
finds no room for what a policy sends there, that is counted (`refused`), and the job goes on waiting.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Protocol

from benchmarks.simulation.copies import HOUR_S, Copies
from benchmarks.simulation.federation import Federation
from benchmarks.simulation.jobs import Job
from benchmarks.simulation.ledger import Account, Usage
from benchmarks.simulation.machines import Machines


@dataclass(frozen=True, slots=True)
class Rules:
    restart_s: float = 120.0
    failover_s: float = 900.0  # until jobs of a silent cluster are placed anew; MultiKueue's default


@dataclass(frozen=True, slots=True)
class Waiting:
    job: Job
    epoch: int
    since_s: float
    kept_s: float = 0.0  # work that its last checkpoint saves


@dataclass(slots=True)
class Attempt:
    job: Job
    epoch: int
    site: str
    placed_s: float
    starts_s: float
    ends_s: float
    kept_s: float
    paid_until_s: float
    computing: bool = False


class Policy(Protocol):
    def decide(self, world: World) -> float | None:
        """Sends waiting jobs to clusters by `world.place`.

        Answers the moment at which to be asked again even if nothing happens until then, or None.
        """


@dataclass(slots=True)
class Outcome:
    accounts: Mapping[str, Account]
    usage: Usage
    ended_s: float
    refused: int  # placements that the cluster's own scheduler found no room for
    decisions: int  # how often the policy was asked


@dataclass(slots=True)
class World:
    """What policies see, and the one thing that they can do."""

    federation: Federation
    sites: Mapping[str, Machines]
    prices: dict[str, float]
    copies: Copies
    rules: Rules
    now_s: float = 0.0
    waiting: dict[str, Waiting] = field(default_factory=dict)  # the oldest submission first
    running: dict[str, Attempt] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)  # clusters with other room than at the last decision
    arrived: set[str] = field(default_factory=set)  # jobs that wait since the last decision
    started: list[Attempt] = field(default_factory=list)
    refused: int = 0
    accounts: dict[str, Account] = field(default_factory=dict)

    def place(self, name: str, site: str) -> bool:
        waits, machines = self.waiting[name], self.sites[site]
        if not machines.take(waits.job, waits.epoch):
            self.refused += 1
            return False
        del self.waiting[name]
        job, now = waits.job, self.now_s
        fetched = self.copies.fetch(job.dataset, machines.site.region, now)
        restart_s = self.rules.restart_s if waits.epoch > 1 else 0.0
        starts_s = max(fetched.ready_s, now + restart_s)
        ends_s = starts_s + (job.runtime_s - waits.kept_s) / machines.site.speed
        attempt = Attempt(job, waits.epoch, site, now, starts_s, ends_s, waits.kept_s, now)
        self.running[name] = attempt
        self.started.append(attempt)
        account = self.accounts[name]
        account.attempts += 1
        account.sites.append(site)
        account.egress_gb += fetched.gb
        account.egress_usd += fetched.usd
        return True


_Event = Callable[[], None]


class Simulation:
    def __init__(
        self, federation: Federation, jobs: Iterable[Job], policy: Policy, *, seed: int = 0, rules: Rules | None = None
    ) -> None:
        self._jobs = sorted(jobs, key=lambda job: (job.at_s, job.name))
        self._policy = policy
        sites = {name: Machines(site, seed) for name, site in federation.sites.items()}
        prices = {name: site.usd_per_gpu_hour for name, site in federation.sites.items()}
        self.world = World(federation, sites, prices, Copies(federation), rules or Rules())
        self.usage = Usage()
        self._events: list[tuple[float, int, _Event]] = []
        self._numbers = count()
        self._held = self._computing = 0
        self._unended = len(self._jobs)
        self._check()

    def run(self, until_s: float = inf) -> Outcome:
        """Until the last job is done, or that moment. Raises RuntimeError where jobs wait and nothing more will
        happen."""
        self._schedule_the_day()
        decisions, asked_again = 0, inf
        while self._unended:
            next_s = self._events[0][0] if self._events else inf
            asked = asked_again <= next_s
            now = min(asked_again, next_s)
            if now == inf:
                raise RuntimeError(f"nothing happens any more, and {self._unended} jobs are not done")
            if now >= until_s:
                self._stop(until_s)
                break
            self._pass_time(now)
            while self._events and self._events[0][0] <= now:
                heapq.heappop(self._events)[2]()
            if asked or self.world.changed or self.world.arrived:
                decisions += 1
                asked_again = self._decide()
        return Outcome(self.world.accounts, self.usage, self.world.now_s, self.world.refused, decisions)

    def _check(self) -> None:
        for job in self._jobs:
            if not any(machines.ever_has_room(job) for machines in self.world.sites.values()):
                spot = "" if job.tolerates_spot else " and is not spot"
                raise ValueError(
                    f"job {job.name} asks for {job.pods} pods of {job.gpus_per_pod} GPUs: no cluster is so large{spot}"
                )
            if job.dataset and job.dataset not in self.world.federation.datasets:
                raise ValueError(f"job {job.name} reads {job.dataset!r}, which is none of the federation's datasets")

    def _schedule_the_day(self) -> None:
        for job in self._jobs:
            self.world.accounts[job.name] = Account(job)
            self._at(job.at_s, lambda job=job: self._wait(Waiting(job, 1, job.at_s)))  # type: ignore[misc]
        for name, machines in self.world.sites.items():
            site = machines.site
            for price in site.prices:
                self._at(price.at_h * HOUR_S, lambda n=name, p=price: self._reprice(n, p.usd_per_gpu_hour))  # type: ignore[misc]
            for there in site.availability:
                self._at(there.at_h * HOUR_S, lambda n=name, a=there: self._nodes_there(n, a.share))  # type: ignore[misc]
            for outage in site.outages:
                self._at(outage.at_h * HOUR_S, lambda n=name: self._out(n, down=True))  # type: ignore[misc]
                self._at((outage.at_h + outage.hours) * HOUR_S, lambda n=name: self._out(n, down=False))  # type: ignore[misc]

    def _at(self, at_s: float, event: _Event) -> None:
        heapq.heappush(self._events, (at_s, next(self._numbers), event))

    def _pass_time(self, now_s: float) -> None:
        up = sum(machines.gpus_up for machines in self.world.sites.values())
        self.usage.until(now_s, up=up, held=self._held, computing=self._computing)
        self.world.now_s = now_s

    def _stop(self, at_s: float) -> None:
        """What runs is paid so far."""
        self._pass_time(at_s)
        for attempt in self.world.running.values():
            self._pay(attempt)

    def _decide(self) -> float:
        world = self.world
        again = self._policy.decide(world)
        for attempt in world.started:
            self._held += attempt.job.gpus
            self._at(attempt.starts_s, lambda a=attempt: self._begin(a))  # type: ignore[misc]
            self._at(attempt.ends_s, lambda a=attempt: self._end(a))  # type: ignore[misc]
        world.started.clear()
        world.changed.clear()
        world.arrived.clear()
        if again is not None and again <= world.now_s:
            raise AssertionError(f"a policy asked at {world.now_s} wants to be asked again at {again}")
        return inf if again is None else again

    # ---- events ----

    def _wait(self, waits: Waiting) -> None:
        self.world.waiting[waits.job.name] = waits
        self.world.arrived.add(waits.job.name)
        if waits.epoch > 1:  # it keeps its turn
            ordered = sorted(self.world.waiting.values(), key=lambda each: (each.job.at_s, each.job.name))
            self.world.waiting = {each.job.name: each for each in ordered}

    def _begin(self, attempt: Attempt) -> None:
        if self.world.running.get(attempt.job.name) is attempt:
            attempt.computing = True
            self._computing += attempt.job.gpus
            waited_s = attempt.starts_s - attempt.placed_s - (self.world.rules.restart_s if attempt.epoch > 1 else 0.0)
            self.world.accounts[attempt.job.name].waiting_for_data_s += waited_s

    def _end(self, attempt: Attempt) -> None:
        if self.world.running.get(attempt.job.name) is attempt:
            self._leave(attempt)
            self.world.accounts[attempt.job.name].done_s = self.world.now_s
            self._unended -= 1

    def _interrupt(self, attempt: Attempt, back_s: float) -> None:
        """What its last checkpoint does not save is lost."""
        now = self.world.now_s
        speed = self.world.sites[attempt.site].site.speed
        done_s = attempt.kept_s + max(0.0, now - attempt.starts_s) * speed
        every_s = attempt.job.checkpoint_s
        kept_s = max(attempt.kept_s, done_s // every_s * every_s) if done_s >= every_s else attempt.kept_s
        account = self.world.accounts[attempt.job.name]
        account.interruptions += 1
        account.lost_gpu_hours += (done_s - kept_s) / speed * attempt.job.gpus / HOUR_S
        self._leave(attempt)
        again = Waiting(attempt.job, attempt.epoch + 1, now + back_s, kept_s)
        self._at(now + back_s, lambda: self._wait(again))

    def _leave(self, attempt: Attempt) -> None:
        self._pay(attempt)
        job = attempt.job
        del self.world.running[job.name]
        self.world.sites[attempt.site].release(job.name, attempt.epoch)
        self.world.changed.add(attempt.site)
        self._held -= job.gpus
        self._computing -= job.gpus if attempt.computing else 0

    def _pay(self, attempt: Attempt) -> None:
        now = self.world.now_s
        gpu_hours = (now - attempt.paid_until_s) / HOUR_S * attempt.job.gpus
        account = self.world.accounts[attempt.job.name]
        account.held_gpu_hours += gpu_hours
        account.gpu_usd += gpu_hours * self.world.prices[attempt.site]
        attempt.paid_until_s = now

    def _reprice(self, site: str, usd_per_gpu_hour: float) -> None:
        for attempt in self.world.running.values():
            if attempt.site == site:
                self._pay(attempt)
        self.world.prices[site] = usd_per_gpu_hour
        self.world.changed.add(site)

    def _nodes_there(self, site: str, share: float) -> None:
        self._lose(site, self.world.sites[site].set_present(share), back_s=0.0)

    def _out(self, site: str, *, down: bool) -> None:
        self._lose(site, self.world.sites[site].set_down(down), back_s=self.world.rules.failover_s)

    def _lose(self, site: str, gangs: Iterable[tuple[str, int]], back_s: float) -> None:
        self.world.changed.add(site)
        for name, _ in gangs:
            self._interrupt(self.world.running[name], back_s)
