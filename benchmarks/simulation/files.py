"""Federations and job streams of one's own: YAML, JSON or CSV, described in docs/benchmarks-federation.md.

Everything is checked where it is read; an error names the file, the field, the value and what it should be.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from benchmarks.simulation.copies import HOUR_S
from benchmarks.simulation.federation import (
    A100,
    Availability,
    Dataset,
    Federation,
    Outage,
    PriceChange,
    Site,
)
from benchmarks.simulation.jobs import Job
from placement.transfers import Route, Transfers

_BYTES_PER_GB = 10**9


class _Read(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Price(_Read):
    at_h: float = Field(ge=0)
    usd_per_gpu_hour: float = Field(ge=0)


class _Outage(_Read):
    at_h: float = Field(ge=0)
    hours: float = Field(gt=0)


class _Availability(_Read):
    at_h: float = Field(ge=0)
    share: float = Field(ge=0, le=1)


class _Cluster(_Read):
    name: str = Field(min_length=1)
    region: str = Field(min_length=1)
    nodes: int = Field(gt=0, le=10_000)
    gpus_per_node: int = Field(default=8, gt=0, le=16)
    nodes_per_rack: int = Field(default=4, gt=0)
    product: str = A100
    usd_per_gpu_hour: float = Field(ge=0)
    spot: bool = False
    on_demand_usd_per_gpu_hour: float | None = Field(default=None, ge=0)
    interruptions_per_hour: float = Field(default=0.0, ge=0)
    speed: float = Field(default=1.0, gt=0)
    prices: tuple[_Price, ...] = ()
    outages: tuple[_Outage, ...] = ()
    availability: tuple[_Availability, ...] = ()

    @model_validator(mode="after")
    def _spot_is_told(self) -> _Cluster:
        if self.spot and self.on_demand_usd_per_gpu_hour is None:
            raise ValueError("a spot cluster needs on_demand_usd_per_gpu_hour, what the same GPU costs without spot")
        if self.availability and not self.spot:
            raise ValueError("availability is for spot clusters; use outages, or set spot: true")
        if self.availability and max(self.availability, key=lambda step: step.at_h).share < 1:
            raise ValueError("the last step of availability must have share: 1, or jobs may never end")
        return self


class _Route(_Read):
    source: str = Field(alias="from")
    target: str = Field(alias="to")
    usd_per_gb: float = Field(ge=0)
    gbit_per_s: float = Field(gt=0)


class _Default(_Read):
    usd_per_gb: float = Field(ge=0)
    gbit_per_s: float = Field(gt=0)


class _Dataset(_Read):
    name: str = Field(min_length=1)
    gb: float = Field(ge=0)
    regions: tuple[str, ...] = Field(min_length=1)


class _Federation(_Read):
    clusters: tuple[_Cluster, ...] = Field(min_length=1)
    datasets: tuple[_Dataset, ...] = ()
    routes: tuple[_Route, ...] = ()
    default_route: _Default | None = None

    @model_validator(mode="after")
    def _named_once(self) -> _Federation:
        for what, names in (
            ("clusters", [c.name for c in self.clusters]),
            ("datasets", [d.name for d in self.datasets]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what}: {', '.join(twice)} is there twice; names must differ")
        return self


class _Job(_Read):
    job: str = Field(min_length=1)
    at_h: float = Field(ge=0)
    gpus: int = Field(gt=0)
    hours: float = Field(gt=0)
    expected_hours: float | None = Field(default=None, gt=0)
    tolerates_spot: bool = False
    checkpoint_minutes: float | None = Field(default=None, gt=0)
    dataset: str = ""


_JOBS = TypeAdapter(list[_Job])
_Value = TypeVar("_Value")


def read_federation(path: Path) -> Federation:
    found = _checked(path, _Federation.model_validate, _load(path))
    routes = {(each.source, each.target): Route(each.usd_per_gb, each.gbit_per_s) for each in found.routes}
    default = found.default_route
    transfers = Transfers(routes) if default is None else Transfers(routes, default=Route(**default.model_dump()))
    datasets = {each.name: Dataset(each.name, round(each.gb * _BYTES_PER_GB), each.regions) for each in found.datasets}
    return Federation({each.name: _site(each) for each in found.clusters}, datasets, transfers)


def read_arrivals(path: Path) -> list[Job]:
    """CSV with a header line, or a JSON or YAML list of the same fields."""
    value = _load_csv(path) if path.suffix.lower() == ".csv" else _load(path)
    rows = _checked(path, _JOBS.validate_python, value)
    names = [row.job for row in rows]
    if not rows:
        raise ValueError(f"{path}: there is no job in it")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path}: job {twice!r} is there twice; names must differ")
    return [_job(row) for row in rows]


def _site(read: _Cluster) -> Site:
    values = read.model_dump(exclude={"prices", "outages", "availability", "on_demand_usd_per_gpu_hour"})
    return Site(
        **values,
        on_demand_usd_per_gpu_hour=read.on_demand_usd_per_gpu_hour or 0.0,
        prices=tuple(PriceChange(each.at_h, each.usd_per_gpu_hour) for each in read.prices),
        outages=tuple(Outage(each.at_h, each.hours) for each in read.outages),
        availability=tuple(Availability(each.at_h, each.share) for each in read.availability),
    )


def _job(row: _Job) -> Job:
    return Job(
        name=row.job,
        at_s=row.at_h * HOUR_S,
        gpus=row.gpus,
        runtime_s=row.hours * HOUR_S,
        expected_hours=row.expected_hours or row.hours,
        tolerates_spot=row.tolerates_spot,
        checkpoint_s=inf if row.checkpoint_minutes is None else row.checkpoint_minutes * 60,
        dataset=row.dataset,
    )


def _load(path: Path) -> Any:
    try:
        text = path.read_text()
        return json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error


def _load_csv(path: Path) -> Any:
    """Empty fields are as if they were not there."""
    try:
        with path.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    for number, row in enumerate(rows, 1):
        if None in row:
            raise ValueError(f"{path}: row {number} has more fields than the header names: {row[None]!r}")
    return [{name: value for name, value in row.items() if value} for row in rows]


def _checked(path: Path, check: Callable[[Any], _Value], value: Any) -> _Value:
    try:
        return check(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ValueError(f"{path}: {place} is {first['input']!r}: {first['msg']}{more}") from error
