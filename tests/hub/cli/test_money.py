"""muster price import and muster cost, as a person uses them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import yaml

from hub.cli import exits
from hub.records import CostBy
from placement.money import Price
from tests.hub.cli.conftest import Muster

CATALOGUE = """\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone
p5.48xlarge,H100,8.0,192,2048,"{'Gpus': [{'Name': 'H100', 'MemoryInfo': {'SizeInMiB': 81920}}]}",56.0,16.0,us-east-1,z1
p5.48xlarge,H100,8.0,192,2048,"{'Gpus': [{'Name': 'H100', 'MemoryInfo': {'SizeInMiB': 81920}}]}",56.0,24.0,us-east-1,z2
dl1.24xlarge,Gaudi HL-205,8.0,96,768,,13.1,3.9,us-east-1,z1
p4d.24xlarge,A100,8.0,96,1152,"{'Gpus': [{'Name': 'A100', 'MemoryInfo': {'SizeInMiB': 40960}}]}",32.0,,eu-west-1,z1
"""
H100 = ("cloud-b", "NVIDIA-H100-80GB-HBM3")


@pytest.fixture
def admin(muster: Muster) -> Muster:
    return replace(muster, as_="admin")


@pytest.fixture
def catalogue(tmp_path: Path) -> str:
    path = tmp_path / "vms.csv"
    path.write_text(CATALOGUE)
    return str(path)


def into(catalogue: str, *more: str) -> tuple[str, ...]:
    return ("price", "import", catalogue, "--cloud", "aws", "--region", "us-east-1=cloud-b", *more)


def test_an_import_is_shown_and_changes_nothing_until_somebody_says_yes(admin: Muster, catalogue: str) -> None:
    before = admin.hub.prices.kept
    looked = admin(*into(catalogue, "--dry-run"))
    assert looked.exit_code == exits.OK
    assert "NVIDIA-H100-80GB-HBM3" in looked.stdout
    assert "left out, since no product is known for them: Gaudi HL-205" in looked.stderr
    asked = admin(*into(catalogue))
    assert (asked.exit_code, "--yes applies it" in asked.stderr) == (exits.USAGE, True)
    assert admin.hub.prices.kept == before
    assert admin(*into(catalogue, "--yes", "--interruptions", "0.2", "--public")).exit_code == exits.OK
    kept = admin.hub.prices.kept
    assert kept.prices == {**before.prices, H100: Price(7.0, 2.0, 0.2)}
    assert kept.public == {"cloud-b"}
    again = admin(*into(catalogue, "--yes"))
    assert "nothing to change" in again.stderr


def test_names_by_hand_and_several_regions(admin: Muster, catalogue: str) -> None:
    more = ("--region", "eu-west-1=cloud-e", "--product", "gaudi hl-205=habana.ai/gaudi")
    assert admin(*into(catalogue, "-y", *more)).exit_code == exits.OK
    prices = admin.hub.prices.kept.prices
    assert prices["cloud-b", "habana.ai/gaudi"].on_demand_usd_per_gpu_hour == pytest.approx(13.1 / 8)
    assert prices["cloud-e", "NVIDIA-A100-SXM4-40GB"] == Price(4.0)


def test_an_import_as_json(admin: Muster, catalogue: str) -> None:
    (change,) = json.loads(admin(*into(catalogue, "--dry-run", "-o", "json")).stdout)["changes"]
    assert change["on_demand"] == {"before": None, "after": 7.0, "change_percent": None}
    assert change["machine"] == "p5.48xlarge"


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--region", "us-est-1=x"), exits.USAGE, "did you mean us-east-1?"),
        (("--region", "us-east-1"), exits.USAGE, "is no pair"),
        (("--region", "eu-west-1=cloud-b"), exits.USAGE, "names a cluster twice"),
        (("--present",), exits.FAILED, "no card that a product is known for"),
    ],
)
def test_what_cannot_be_imported_is_named(
    admin: Muster, catalogue: str, flags: tuple[str, ...], code: int, said: str
) -> None:
    before = admin.hub.prices.kept
    result = admin(*into(catalogue, "--yes", *flags))
    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr
    assert admin.hub.prices.kept == before


def test_a_price_that_can_be_none_changes_nothing(admin: Muster, tmp_path: Path) -> None:
    path = tmp_path / "vms.csv"
    path.write_text(CATALOGUE.replace("56.0,16.0", "-56.0,16.0"))
    result = admin(*into(str(path), "--yes"))
    assert result.exit_code == exits.FAILED
    assert "line 2, Price: '-56.0' is no amount" in result.stderr


def test_set_tells_what_it_set_and_what_is_doubtful(admin: Muster, tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(
        "prices: [{cluster: nowhere, on_demand: 1}]\n"
        "transfers: {routes: [{source: a, target: b, usd_per_gb: 0.1, gbit_per_s: 1}]}\n"
    )
    result = admin("price", "set", str(path))
    assert result.stdout == "1 price and 1 route set\n"
    assert "there is no cluster nowhere yet" in result.stderr
    shown = yaml.safe_load(admin("price", "show", "-o", "yaml").stdout)
    path.write_text(yaml.safe_dump(shown))
    before = admin.hub.prices.kept
    assert admin("price", "set", str(path)).exit_code == exits.OK
    assert admin.hub.prices.kept == before


def test_cost_by_queue_and_what_it_asks_for(muster: Muster) -> None:
    result = muster("cost", "--since", "2026-02-01", "--until", "2026-03-01", "--by", "queue")
    assert result.exit_code == exits.OK
    assert result.stdout.splitlines()[0].split() == ["QUEUE", "GPU-HOURS", "GPU", "CPU", "EGRESS", "TOTAL", "LOST"]
    assert [line.split()[0] for line in result.stdout.splitlines()[1:4]] == ["team-a", "default", "total"]
    muster("cost", "--since", "7d", "--until", "2026-03-07", "--by", "job", "-q", "q", "-u", "u", "-c", "c")
    asked = muster.hub.costs.asked[-1]
    assert (asked.since, asked.until, asked.by) == (date(2026, 3, 1), date(2026, 3, 7), CostBy.JOB)
    assert (asked.queue, asked.user, asked.cluster) == ("q", "u", "c")
    muster("cost", "--since", "month", "--until", "2026-03-07")
    assert muster.hub.costs.asked[-1].since == date(2026, 3, 1)


def test_cost_for_machines(muster: Muster) -> None:
    found = json.loads(muster("cost", "-o", "json").stdout)
    assert found["total"]["usd"] == pytest.approx(1244.0)
    rows = list(csv.DictReader(io.StringIO(muster("cost", "-o", "csv").stdout)))
    assert [(row["key"], float(row["usd"]), float(row["lost_usd"])) for row in rows] == [
        ("team-a", 1235.25, 120.0),
        ("default", 8.75, 0.0),
    ]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--since", "yesterday"), "--since yesterday is no day"),
        (("--until", "7d"), "--until 7d is no day"),
        (("--since", "2026-03-02", "--until", "2026-03-01"), "is after --until"),
    ],
)
def test_wrong_days_are_usage_errors(muster: Muster, flags: tuple[str, ...], said: str) -> None:
    result = muster("cost", *flags)
    assert (result.exit_code, said in result.stderr) == (exits.USAGE, True)
