"""Divided works as the API tells of them and the screen shows them, over the real services."""

from __future__ import annotations

import io
import json
from pathlib import Path
from textwrap import dedent

import pytest
from rich.console import Console, RenderableType

from hub.api import present, schemas
from hub.cli import division_tables, tables
from hub.endpoints import Endpoints
from hub.records import JobFilter
from placement.lifecycle import Phase
from tests.hub.loops.divided import World, a_world, service
from tests.hub.loops.rig import ANN, START_OF_TIME
from wire.orders import LogLines


def drawn(table: RenderableType, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def golden(text: str) -> str:
    return dedent(text).removeprefix("\n")


async def shown(world: World, ref: str) -> schemas.JobDetailOut:
    work = await world.hub.jobs.show(ANN, ref)
    return present.job_detail(work, await world.hub.jobs.part_states(ANN, work))


async def test_the_whole_with_its_parts(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 3, "us-b": 1}) as world:
        id_ = await world.submit(service(divide="weights"))
        work = await shown(world, id_)
        assert (work.whole, work.shares, work.cluster) == (id_, {"eu-a": 3, "us-b": 1}, None)
        assert work.division is not None
        parts = {part.cluster: part for part in work.division.parts}
        assert {name: (part.region, part.ready, part.replicas, part.phase) for name, part in parts.items()} == {
            "eu-a": ("eu", 3, 3, Phase.RUNNING),
            "us-b": ("us", 1, 1, Phase.RUNNING),
        }
        assert [reason.code for reason in work.division.reasons] == ["division-short"]
        assert schemas.JobDetailOut.model_validate_json(work.model_dump_json()) == work
        lines = drawn(division_tables.division(work.division), 120)
        for name, part in parts.items():
            lines = lines.replace(part.job, f"j-of-{name}")
        assert lines == golden(
            """
            6 replicas, divided by weights
            CLUSTER  REGION  READY  PHASE    AN HOUR  PART          WHY
            eu-a     eu        3/3  RUNNING    $6.00  j-of-eu-a  running
            us-b     us        1/1  RUNNING    $2.00  j-of-us-b  running
            ! 4 of 6 replicas have a place: eu-a has room for 3, us-b has room for 1
            """
        )


async def test_a_list_shows_the_shares_in_place_of_a_cluster(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.submit(service(divide="weights"))
        (work,) = present.page(await world.hub.jobs.list(ANN, JobFilter()), 0).jobs
        line = drawn(tables.jobs([work], START_OF_TIME, 80), 80).splitlines()[1]
        assert " ".join(line.replace(work.id, "ID").split()) == "ID web RUNNING eu-a 3, us-b 3 6 6/6 0s"


async def test_a_plan_on_the_screen(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 8, "us-b": 0, "ap-c": 8}) as world:
        weights = "eu-a=2,us-b=1,ap-c=1"
        (planned,) = await world.hub.jobs.plan(ANN, service(divide="weights", divide_weights=weights))
        out = present.plan(planned)
        assert (out.verdict, out.chosen) == ("placed", None)
        assert out.division is not None
        lines = drawn(division_tables.planned(out.division), 140).splitlines()
        assert lines[0] == "✔ divided by weights: 6 of 6 replicas have a place"
        assert lines[2:5] == [
            "CLUSTER  REGION  REPLICAS  ROOM FOR  EACH, AN HOUR  WHY",
            "eu-a     eu             4         8          $2.00",
            "ap-c     ap             2         8          $2.00",
        ]
        assert lines[5].startswith("us-b     us             0         0              –  us-b has ")


async def test_a_plan_in_part_says_what_is_lacking(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 2}) as world:
        (planned,) = await world.hub.jobs.plan(ANN, service(divide="free"))
        out = present.plan(planned)
        assert out.verdict == "waiting"
        assert out.division is not None
        assert "… waiting in part by free: 2 of 6 replicas have a place" in drawn(division_tables.planned(out.division))


async def test_endpoints_on_the_screen(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.submit(service(divide="weights"))
        told = {"kind": "Service", "name": "web", "namespace": "default", "ports": ["http 80/TCP"]}
        world.hub.streams.logs = {"eu-a": [LogLines("", json.dumps({**told, "addresses": ["203.0.113.7"]}).encode())]}
        found = await Endpoints(world.hub.jobs, world.hub.streams, world.hub.federation).of(ANN, "web")
        out = schemas.EndpointsOut(
            endpoints=[
                schemas.EndpointOut(
                    **{name: getattr(one, name) for name in ("cluster", "region", "job", "kind", "name", "namespace")},
                    addresses=list(one.addresses),
                    ports=list(one.ports),
                )
                for one in found.endpoints
            ],
            notes=list(found.notes),
        )
        assert drawn(division_tables.endpoints(out)) == golden(
            """
            CLUSTER  REGION  KIND     NAME  ADDRESS      PORTS
            eu-a     eu      Service  web   203.0.113.7  http 80/TCP
            ! us-b is not connected now
            """
        )


@pytest.mark.parametrize("shares", [{}, None])
def test_what_lies_nowhere_has_a_dash(shares: dict[str, int] | None) -> None:
    job = schemas.JobOut.model_construct(shares=shares, cluster=None)
    assert division_tables.place(job) == "–"
