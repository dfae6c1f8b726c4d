"""What people hand in: read as written, or refused with the file, the field and the mend."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path

import pytest

from benchmarks.simulation import availability, files, gavel
from benchmarks.simulation.federation import Availability
from placement.transfers import Route

FEDERATION = """
clusters:
  - {name: own, region: hall, nodes: 4, usd_per_gpu_hour: 1.1}
  - name: spot
    region: east
    nodes: 2
    usd_per_gpu_hour: 1.2
    spot: true
    on_demand_usd_per_gpu_hour: 3.4
    interruptions_per_hour: 0.1
    availability: [{at_h: 2, share: 0.5}, {at_h: 3, share: 1}]
    outages: [{at_h: 5, hours: 1}]
    prices: [{at_h: 6, usd_per_gpu_hour: 1.3}]
datasets: [{name: d, gb: 1.5, regions: [hall]}]
routes: [{from: hall, to: "*", usd_per_gb: 0, gbit_per_s: 2}]
default_route: {usd_per_gb: 0.09, gbit_per_s: 5}
"""


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_federation(tmp_path: Path) -> None:
    there = files.read_federation(written(tmp_path / "f.yaml", FEDERATION))
    assert list(there.sites) == ["own", "spot"]
    assert there.gpus == 48
    spot = there.sites["spot"]
    assert spot.availability == (Availability(2, 0.5), Availability(3, 1))
    assert (spot.outages[0].hours, spot.prices[0].usd_per_gpu_hour) == (1, 1.3)
    assert there.datasets["d"].size_bytes == 1_500_000_000
    assert there.transfers.route("hall", "east") == Route(0, 2)
    assert there.transfers.route("east", "hall") == Route(0.09, 5)


@pytest.mark.parametrize(
    ("change", "with_what", "told"),
    [
        ("nodes: 4", "nodes: -4", r"clusters\.0\.nodes is -4: .*greater than 0"),
        ("nodes: 4", "knots: 4", r"clusters\.0\.nodes .*[Ff]ield required"),
        ("on_demand_usd_per_gpu_hour: 3.4", "product: x", "a spot cluster needs on_demand_usd_per_gpu_hour"),
        ("{at_h: 3, share: 1}", "{at_h: 3, share: 0.5}", "the last step of availability must have share: 1"),
        ("name: spot\n", "name: own\n", "clusters: own is there twice"),
        ("gbit_per_s: 2}", "gbit_per_s: 0}", r"routes\.0\.gbit_per_s is 0"),
        ("clusters:", "clusters: [", "cannot be read"),
        ("usd_per_gpu_hour: 1.1", "usd_per_gpu_hour: .nan", r"clusters\.0\.usd_per_gpu_hour is nan"),
    ],
)
def test_a_bad_federation(tmp_path: Path, change: str, with_what: str, told: str) -> None:
    path = written(tmp_path / "f.yaml", FEDERATION.replace(change, with_what, 1))
    with pytest.raises(ValueError, match=told) as raised:
        files.read_federation(path)
    assert str(path) in str(raised.value)


def test_arrivals_as_csv_and_as_json(tmp_path: Path) -> None:
    header = "job,at_h,gpus,hours,expected_hours,tolerates_spot,checkpoint_minutes,dataset"
    csv = f"{header}\na,0.5,8,2,4,true,30,d\nb,1,1,3,,,,\n"
    a, b = files.read_arrivals(written(tmp_path / "a.csv", csv))
    assert (a.at_s, a.gpus, a.runtime_s, a.expected_hours) == (1800, 8, 7200, 4)
    assert (a.tolerates_spot, a.checkpoint_s, a.dataset) == (True, 1800, "d")
    assert (b.expected_hours, b.tolerates_spot, b.checkpoint_s, b.dataset) == (3, False, inf, "")
    rows = [{"job": "b", "at_h": 1, "gpus": 1, "hours": 3}]
    assert files.read_arrivals(written(tmp_path / "a.json", json.dumps(rows))) == [b]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("job,at_h,gpus,hours\na,0,eight,2\n", r"0\.gpus is 'eight'"),
        ("job,at_h,gpus,hours\na,0,8,0\n", r"0\.hours is '0'"),
        ("job,at_h,gpus,hours\na,0,8,1\na,1,8,1\n", "job 'a' is there twice"),
        ("job,at_h,gpus,hours\n", "there is no job in it"),
        ("job,at_h,gpus,hours\na,0,8,1,extra\n", r"row 1 has more fields than the header names: \['extra'\]"),
    ],
)
def test_bad_arrivals(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        files.read_arrivals(written(tmp_path / "a.csv", text))


MSR = "Net (batch size 8)\tcd x && run\t-n\t1\t7200\t60.5\t4\n"
PHYSICAL = "Net (batch size 8)\trun\tnet\t-n\t1\t3600\t1\t1\t-1.0\t7\n"
RATES = {"v100": {"('Net (batch size 8)', 1)": {"null": 1.0}, "('Net (batch size 8)', 4)": {"null": 2.0}}}


def test_both_forms_of_gavels_traces(tmp_path: Path) -> None:
    written(tmp_path / gavel.THROUGHPUTS, json.dumps(RATES))
    (tmp_path / "traces").mkdir()
    path = written(tmp_path / "traces" / "x.trace", MSR + PHYSICAL)
    later, sooner = sorted(gavel.read([path]), key=lambda job: -job.at_s)
    assert (later.at_s, later.gpus, later.runtime_s) == (60.5, 4, 3600)
    assert (sooner.at_s, sooner.gpus, sooner.runtime_s) == (7, 1, 3600)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a\tb\n", "line 1: 2 fields separated by tabs; a Gavel trace has 7 or 10"),
        (MSR.replace("7200", "many"), "line 1: total steps is 'many'"),
        (MSR.replace("\t4\n", "\t0\n"), "line 1: GPUs is 0; it must be above 0"),
        (MSR.replace("Net", "Other"), "no throughput is known of job type 'Other"),
    ],
)
def test_a_bad_trace(tmp_path: Path, line: str, told: str) -> None:
    written(tmp_path / gavel.THROUGHPUTS, json.dumps(RATES))
    with pytest.raises(ValueError, match=told):
        gavel.read([written(tmp_path / "x.trace", line)])


def test_a_trace_without_throughputs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name one with --throughputs"):
        gavel.read([written(tmp_path / "x.trace", MSR)])
    with pytest.raises(ValueError, match="no object 'v100'"):
        gavel.read([tmp_path / "x.trace"], written(tmp_path / "t.json", "{}"))


def test_an_availability_series(tmp_path: Path) -> None:
    text = json.dumps({"metadata": {"gap_seconds": 1800}, "data": [4, 4, 2, 2, 0, 4, 4, 1]})
    series = availability.read(written(tmp_path / "a.json", text))
    assert series.losses_per_hour == pytest.approx((2 + 2 + 3) / (21 / 2))
    assert series.day(0, 4) == (
        Availability(1.0, 0.5),
        Availability(2.0, 0.0),
        Availability(2.5, 1.0),
        Availability(3.5, 0.25),
        Availability(4.0, 1.0),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1, 2]", "metadata.gap_seconds is None"),
        ('{"metadata": {"gap_seconds": 0}, "data": [1]}', "gap_seconds is 0; it must be seconds above 0"),
        ('{"metadata": {"gap_seconds": 5}, "data": ["a"]}', "data must be a list of whole numbers"),
        ('{"metadata": {"gap_seconds": 5}, "data": [0]}', "no tick at which there was an instance"),
        ("{", "no JSON can be read"),
    ],
)
def test_a_bad_series(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        availability.read(written(tmp_path / "a.json", text))
