"""Percentiles by nearest rank, and processes that end while they are watched."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measure import Watched, latency_ms, percentile


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_at_least_the_share_of_all_values_is_no_larger(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_milliseconds() -> None:
    assert latency_ms([0.001 * value for value in range(1, 101)]) == {"p50": 50.0, "p99": 99.0}
    assert latency_ms([]) == {"p50": None, "p99": None}


def test_a_process_that_ends_is_no_error() -> None:
    program = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it runs
        with Watched({"it": [process.pid]}) as watched:
            process.communicate(b"\n")
        assert watched.costs()["it"].peak_rss_mib > 0
