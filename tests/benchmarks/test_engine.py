"""The simulated federation: what is paid, lost and moved by hand, and what holds of every run whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulation import arrivals, availability
from benchmarks.simulation.engine import Outcome, Policy, Rules, Simulation, World
from benchmarks.simulation.federation import Availability, Dataset, Federation, Outage, PriceChange
from benchmarks.simulation.jobs import Job
from benchmarks.simulation.muster import Muster
from benchmarks.simulation.policies import CheapestFirst, FirstAdmit, FirstFit
from tests.benchmarks.small_federations import CLOUD, GB, HOUR_S, OWN, SPOT, federation, job

POLICIES: dict[str, Callable[[Federation, int], Policy]] = {
    "muster": lambda there, _: Muster(there, checked=True),
    "first-admit": lambda _, seed: FirstAdmit(seed),
    "cheapest-first": lambda *_: CheapestFirst(),
    "first-fit": lambda *_: FirstFit(),
}


def run(there: Federation, *jobs: Job, policy: Policy | None = None, rules: Rules | None = None) -> Outcome:
    return Simulation(there, jobs, policy or FirstFit(), rules=rules).run()


def test_a_gang_pays_for_its_gpus_from_start_to_end() -> None:
    account = run(federation(OWN), job(gpus=16, hours=2)).accounts["j"]
    assert account.usd == pytest.approx(16 * 2 * 1.0)
    assert account.completion_s == pytest.approx(2 * HOUR_S)


def test_a_price_that_changes_is_paid_from_then_on() -> None:
    site = replace(OWN, prices=(PriceChange(1.0, 5.0),))
    assert run(federation(site), job(gpus=8, hours=2)).accounts["j"].usd == pytest.approx(8 * 1.0 + 8 * 5.0)


def test_work_on_quicker_hardware_takes_less() -> None:
    account = run(federation(replace(OWN, speed=2.0)), job(hours=2)).accounts["j"]
    assert account.completion_s == pytest.approx(HOUR_S)


def test_data_elsewhere_is_paid_once_and_waited_for_with_the_gpus_held() -> None:
    there = federation(OWN, datasets=(Dataset("d", 360 * GB, ("east",)),))
    outcome = run(there, job("a", dataset="d", hours=1), job("b", at_h=5, dataset="d", hours=1))
    first, second = outcome.accounts["a"], outcome.accounts["b"]
    assert first.egress_usd == pytest.approx(36.0)
    assert first.egress_gb == pytest.approx(360)
    assert first.completion_s == pytest.approx(1.1 * HOUR_S)  # 360 s at a GB a second
    assert first.gpu_usd == pytest.approx(8 * 1.1)
    assert (second.egress_usd, second.completion_s) == (0.0, pytest.approx(HOUR_S))


def test_a_spot_loss_costs_the_work_since_the_last_checkpoint() -> None:
    site = replace(SPOT, availability=(Availability(1.75, 0.0), Availability(3.0, 1.0)))
    account = run(
        federation(site), job(gpus=16, hours=2, spot=True, checkpoint_h=0.5), rules=Rules(restart_s=0)
    ).accounts["j"]
    assert account.interruptions == 1
    assert account.lost_gpu_hours == pytest.approx(16 * 0.25)
    assert account.completion_s == pytest.approx((3.0 + 0.5) * HOUR_S)
    assert account.usd == pytest.approx(16 * (1.75 + 0.5) * 1.2)


def test_an_outage_sends_a_job_elsewhere_after_the_failover() -> None:
    site = replace(OWN, outages=(Outage(1.0, 10.0),))
    outcome = run(federation(site, CLOUD), job(hours=2), rules=Rules(restart_s=60, failover_s=900))
    account = outcome.accounts["j"]
    assert account.sites == ["own", "cloud"]
    assert account.lost_gpu_hours == pytest.approx(8)  # it writes no checkpoints
    assert account.completion_s == pytest.approx(HOUR_S + 900 + 60 + 2 * HOUR_S)


def test_a_job_that_does_not_tolerate_spot_never_gets_it() -> None:
    for make in POLICIES.values():
        there = federation(SPOT, CLOUD)
        assert run(there, job(), policy=make(there, 0)).accounts["j"].sites == ["cloud"]


def test_what_fits_nowhere_is_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match=r"job j asks for 4 pods of 8 GPUs: no cluster is so large"):
        run(federation(OWN, CLOUD), job(gpus=32))
    with pytest.raises(ValueError, match="none of the federation's datasets"):
        run(federation(OWN), job(dataset="x"))


def test_jobs_that_wait_for_ever_are_told() -> None:
    class Never:
        def decide(self, world: World) -> float | None:
            return None

    with pytest.raises(RuntimeError, match="1 jobs are not done"):
        run(federation(OWN), job(), policy=Never())


def test_the_race_is_won_by_any_cluster_and_by_the_same_one_with_the_same_seed() -> None:
    there = federation(OWN, CLOUD)
    won = [run(there, job(), policy=FirstAdmit(seed)).accounts["j"].sites[0] for seed in range(20)]
    assert set(won) == {"own", "cloud"}
    assert won == [run(there, job(), policy=FirstAdmit(seed)).accounts["j"].sites[0] for seed in range(20)]


def test_muster_takes_the_job_to_its_data_unless_moving_is_cheaper() -> None:
    for gb, site in ((1000, "cloud"), (1, "own")):
        there = federation(OWN, CLOUD, datasets=(Dataset("d", gb * GB, ("east",)),))
        assert run(there, job(dataset="d"), policy=Muster(there)).accounts["j"].sites == [site]


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_whatever_happens_every_job_ends_once_and_the_bill_adds_up(name: str, seed: int) -> None:
    """No GPU is given twice: `Machines` raises where one would be, by count and by card."""
    there, jobs = _day(seed)
    outcome = Simulation(there, jobs, POLICIES[name](there, seed), seed=seed).run()
    accounts = outcome.accounts
    assert outcome.refused == 0  # the hub promises only what the cluster's own scheduler can keep
    assert set(accounts) == {each.name for each in jobs}
    for account in accounts.values():
        assert account.done_s is not None
        assert account.completion_s >= account.job.runtime_s - 1e-3
        assert account.attempts == account.interruptions + 1 == len(account.sites)
        work = account.job.gpus * account.job.runtime_s / HOUR_S
        assert account.held_gpu_hours >= work + account.lost_gpu_hours - 1e-6
        cheapest, dearest = 1.0, 3.0
        assert cheapest * account.held_gpu_hours - 1e-6 <= account.gpu_usd <= dearest * account.held_gpu_hours + 1e-6
    held = sum(hour.held for hour in outcome.usage.hours.values()) / HOUR_S
    assert sum(account.held_gpu_hours for account in accounts.values()) == pytest.approx(held)
    for hour in outcome.usage.hours.values():
        assert hour.computing <= hour.held + 1e-6 <= hour.up + 2e-6


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_seed_gives_the_same_day(name: str) -> None:
    there, jobs = _day(7)
    first, second = (Simulation(there, jobs, POLICIES[name](there, 7), seed=7).run() for _ in range(2))
    assert [(a.done_s, a.usd, a.sites) for a in first.accounts.values()] == [
        (a.done_s, a.usd, a.sites) for a in second.accounts.values()
    ]


def _day(seed: int) -> tuple[Federation, list[Job]]:
    """A few hours of little jobs on three little clusters that come and go."""
    there = arrivals.with_datasets(federation(OWN, CLOUD, SPOT), arrivals.DataMix(count=5), seed)
    pattern = availability.Pattern(whole_h=1.0, short_h=0.5)
    there = availability.played(there, pattern, 6, seed, outages=Random(seed).randint(0, 2))
    mix = arrivals.Mix(sizes=((1, 0.5), (3, 0.1), (8, 0.3), (16, 0.1)), median_h=0.5, longest_h=3.0)
    return there, arrivals.drawn(mix, there, 0.8, 4, seed)
