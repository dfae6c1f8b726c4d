from __future__ import annotations

from dataclasses import replace

import pytest

from hub.cli import exits
from placement.data import Dataset, Replica
from tests.hub.cli.conftest import Muster

FLAGS = "--replica", "cluster=onprem-a,uri=pvc://ml/x", "--replica", "region=us-east,uri=s3://b/a,b=c"


@pytest.fixture
def admin(muster: Muster) -> Muster:
    return replace(muster, as_="admin")


def test_create_edit_show_delete(admin: Muster) -> None:
    made = admin("dataset", "create", "x", "--size", "1.2TB", *FLAGS, "--residency", "us-east", "--secret", "keys")
    assert made.stdout == "x created\n"
    replicas = Replica("", "onprem-a", "pvc://ml/x"), Replica("us-east", "", "s3://b/a,b=c")
    assert admin.hub.datasets.known["x"] == Dataset("x", 1_200_000_000_000, replicas, ("us-east",), secret="keys")
    # What is not given stays; copies are not anybody's to declare.
    copy = Replica("us", "cloud-b", "pvc://default/dataset-x", copied=True)
    admin.hub.datasets.known["x"] = replace(admin.hub.datasets.known["x"], replicas=(*replicas, copy))
    assert admin("dataset", "edit", "x", "--size", "7GiB", "--residency", "none").stdout == "x changed\n"
    assert admin.hub.datasets.known["x"] == Dataset("x", 7 << 30, (*replicas, copy), secret="keys")
    assert admin("dataset", "edit", "x", "--forget-copies").stdout == "x changed\n"
    assert admin.hub.datasets.known["x"] == Dataset("x", 7 << 30, replicas, secret="keys")
    rows = [line.split() for line in admin("dataset", "list", columns=120).stdout.splitlines()]
    assert rows == [
        ["DATASET", "TENANT", "SIZE", "RESIDENCY", "WHERE"],
        ["x", "(everybody)", "7.52", "GB", "anywhere", "onprem-a,", "us-east"],
    ]
    shown = admin("dataset", "show", "x", columns=120).stdout
    assert "7,516,192,768 bytes" in shown
    assert "pvc://ml/x" in shown
    assert admin("dataset", "delete", "x").stdout == "x deleted\n"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--size", "1TB"), "where it lies is missing"),
        (FLAGS, "its size is missing"),
        (("--size", "1XB", *FLAGS), "'1XB' is no size"),
        (("--size", "1TB", "--replica", "node=x"), "'node=x' is neither cluster, region nor uri"),
    ],
)
def test_flags_that_cannot_be_read_say_so(admin: Muster, flags: tuple[str, ...], said: str) -> None:
    result = admin("dataset", "create", "x", *flags)
    assert result.exit_code == exits.USAGE
    assert said in result.stderr
    assert admin.hub.datasets.known == {}
