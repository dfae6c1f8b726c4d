"""The API over the real services: what only their interplay can get wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import httpx
import pytest

from hub.api.app import create_api
from hub.api.services import Services
from hub.crons import Crons
from hub.distributions import Distributions
from hub.endpoints import Endpoints
from hub.happenings import Happenings
from hub.kinds import KindBook
from hub.link.directory import Directory
from hub.models.catalogue import Models
from hub.models.storage import Storage
from hub.overrides import OverrideBook
from hub.rebalancing import Rebalancing
from hub.records import UserRole
from hub.tenants import TenantBook
from hub.tunnels import Tunnels
from hub.usage import Usages
from placement.kinds.catalogue import Catalogue
from tests.hub.loops.rig import FakeSpoke, Hub, a_hub, manifest
from tests.registry.fakes import MemoryBlobs

YAML = {"Content-Type": "application/yaml"}
JSON = {"Content-Type": "application/json"}


async def never() -> None: ...


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with a_hub(tmp_path / "hub.sqlite") as made:
        await made.queues.keep_initial()
        yield made


@asynccontextmanager
async def client(hub: Hub, role: UserRole, tenant: str = "red") -> AsyncIterator[httpx.AsyncClient]:
    token = await hub.access.add_user(None, f"{role.value}-{tenant}", tenant, role)
    rebalancing = Rebalancing(hub.federation, hub.copies.backlog, clock=hub.clock)
    services = Services(
        jobs=hub.jobs,
        crons=Crons(hub.store, hub.jobs, Catalogue.builtin(), clock=hub.clock, rng=Random(3)),
        clusters=hub.clusters,
        access=hub.access,
        prices=hub.prices,
        queues=hub.queues,
        tenants=TenantBook(hub.store, hub.federation),
        distributions=Distributions(hub.store, hub.federation, Catalogue.builtin(), Directory(), clock=hub.clock),
        kinds=KindBook(hub.store, Catalogue.builtin(), Directory(), clock=hub.clock),
        overrides=OverrideBook(hub.store, hub.federation, clock=hub.clock),
        costs=hub.costs,
        datasets=hub.datasets,
        models=Models(hub.store, Storage(hub.store, MemoryBlobs(), clock=hub.clock)),
        rebalancing=rebalancing,
        tunnels=Tunnels(hub.store, hub.jobs, hub.streams, clock=hub.clock),
        usages=Usages(hub.jobs, Directory()),
        happenings=Happenings(hub.jobs, hub.streams, clock=hub.clock),
        endpoints=Endpoints(hub.jobs, hub.streams, hub.federation),
        ca_pem=b"CA",
        last_event=lambda: 0,
        grpc_address=":8443",
        check_ready=never,
    )
    transport = httpx.ASGITransport(create_api(services))
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="https://hub.test/v1", headers=headers) as made:
        yield made


BOOK = """
apiVersion: muster.dev/v1
kind: PriceBook
metadata: {name: default}
spec:
  regions: [mars]
  transfers: {routes: [{source: mars, target: "*", usd_per_gb: 0.5, gbit_per_s: 1}]}
"""
OTHER_BOOK = """
apiVersion: muster.dev/v1
kind: PriceBook
metadata: {name: default}
spec: {usd_per_cpu_hour: 9}
"""
DATASET = """
apiVersion: muster.dev/v1
kind: Dataset
metadata: {name: rocks}
spec: {size: 1GB, replicas: [{region: mars, uri: "s3://rocks"}]}
"""
QUEUE = """
apiVersion: muster.dev/v1
kind: Queue
metadata: {name: team}
spec: {weight: 2}
"""


async def test_a_file_whose_book_drops_the_region_of_its_dataset_is_applied_whole_or_not_at_all(hub: Hub) -> None:
    await FakeSpoke("east").join(hub, region="eu")
    async with client(hub, UserRole.ADMIN) as admin:
        assert (await admin.post("/apply", content=BOOK, headers=YAML)).status_code == 200
        mixed = "---".join((OTHER_BOOK, DATASET, QUEUE))
        answer = await admin.post("/apply", content=mixed, headers=YAML)
        done = (
            hub.federation.prices.usd_per_cpu_hour == 9,
            "rocks" in hub.federation.data.datasets,
            "team" in hub.federation.queues.queues,
        )
        assert done == (answer.status_code == 200,) * 3, answer.text


async def test_a_region_that_a_files_book_names_is_known_to_its_datasets_and_from_then_on(hub: Hub) -> None:
    await FakeSpoke("east").join(hub, region="eu")
    async with client(hub, UserRole.ADMIN) as admin:
        book = BOOK[: BOOK.index("  transfers")]
        for text in ("---".join((DATASET, book, QUEUE)), DATASET.replace("rocks", "stones")):
            answer = await admin.post("/apply", content=text, headers=YAML)
            assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("wrong", [OTHER_BOOK.replace("9", "-9"), DATASET.replace("mars", "venus"), "kind: x"])
async def test_of_a_mixed_file_with_one_wrong_document_nothing_is_applied(hub: Hub, wrong: str) -> None:
    await FakeSpoke("east").join(hub, region="eu")
    async with client(hub, UserRole.ADMIN) as admin:
        for texts in ((QUEUE, BOOK, wrong), (wrong, BOOK, QUEUE)):
            texts = tuple(dict.fromkeys(texts))
            before = hub.federation.prices, hub.federation.queues, dict(hub.federation.data.datasets)
            answer = await admin.post("/apply", content="---".join(texts), headers=YAML)
            assert answer.status_code == 422, answer.text
            assert (hub.federation.prices, hub.federation.queues, dict(hub.federation.data.datasets)) == before


WRITES = [
    ("POST", "/jobs", manifest("x"), JSON),
    ("POST", "/jobs/train/cancel", b"", {}),
    ("POST", "/apply", QUEUE.encode(), YAML),
    ("POST", "/apply", BOOK.encode(), YAML),
    ("POST", "/apply", DATASET.encode(), YAML),
    ("PUT", "/prices", b"{}", JSON),
    ("POST", "/queues", b'{"name": "x"}', JSON),
    ("PUT", "/queues/default", b"{}", JSON),
    ("DELETE", "/queues/default", b"", {}),
    ("PUT", "/tenants/red", b"{}", JSON),
    ("DELETE", "/tenants/red", b"", {}),
    ("PUT", "/kinds/sweep", b'{"text": "kind: Sweep"}', JSON),
    ("DELETE", "/kinds/sweep", b"", {}),
    ("POST", "/datasets", b'{"name": "x", "size": 1, "replicas": [{"cluster": "east"}]}', JSON),
    ("PUT", "/datasets/rocks", b'{"size": 1, "replicas": [{"cluster": "east"}], "tenant": ""}', JSON),
    ("DELETE", "/datasets/rocks", b"", {}),
    ("POST", "/cluster-tokens", b'{"name": "x"}', JSON),
    ("POST", "/clusters/east/cordon", b"", {}),
    ("POST", "/clusters/east/uncordon", b"", {}),
    ("POST", "/clusters/east/drain", b"", {}),
    ("DELETE", "/clusters/east", b"", {}),
    ("POST", "/users", b'{"name": "x", "tenant": "red", "role": "viewer"}', JSON),
    ("DELETE", "/users/admin-red", b"", {}),
    ("GET", "/rebalance", b"", {}),
]


async def test_viewers_change_nothing(hub: Hub) -> None:
    await FakeSpoke("east").join(hub, region="eu")
    async with client(hub, UserRole.ADMIN) as admin, client(hub, UserRole.VIEWER) as viewer:
        for text in (BOOK, DATASET):
            assert (await admin.post("/apply", content=text, headers=YAML)).status_code == 200
        assert (await admin.post("/jobs", content=manifest("train"), headers=JSON)).status_code == 201
        for method, path, body, headers in WRITES:
            answer = await viewer.request(method, path, content=body, headers=headers)
            assert (answer.status_code, method, path) == (403, method, path), answer.text


async def test_a_submitter_learns_no_name_of_another_tenants_jobs_data_or_people(hub: Hub) -> None:
    """Of what stands in the way, or goes for it, the ids; and an id opens nothing."""
    east = FakeSpoke("east", nodes=2)
    await east.join(hub, region="eu")
    await east.connect(hub)
    async with client(hub, UserRole.SUBMITTER, "blue") as blue, client(hub, UserRole.SUBMITTER) as red:
        secret = b'{"name": "secret-data", "size": 1, "replicas": [{"cluster": "east", "uri": "pvc://default/x"}]}'
        assert (await blue.post("/datasets", content=secret, headers=JSON)).status_code == 201
        names = [f"secret-{number}" for number in range(5)]
        for name in names:
            text = manifest(name, gpus=8, data=["secret-data"], expected_hours=2.0)
            assert (await blue.post("/jobs", content=text, headers=JSON)).status_code == 201
            await hub.placing.settle()
        for name, hints in (("mine", {"priority": 0}), ("vip", {"priority": 9})):
            assert (await red.post("/jobs", content=manifest(name, gpus=8, **hints), headers=JSON)).status_code == 201
            await hub.placing.settle()
        foreign = {one["name"]: one["id"] for one in (await blue.get("/jobs")).json()["jobs"]}
        vip = (await red.get("/jobs/vip/explain")).json()
        assert set(vip["decision"]["room"]["victims"]) <= set(foreign.values())
        mine = (await red.get("/jobs/mine/explain")).json()
        assert set(mine["outlook"]["ahead"]) & set(foreign.values())
        for path in (
            "/jobs",
            "/jobs?name=secret",
            "/jobs?tenant=blue",
            "/jobs/mine",
            "/jobs/mine/explain",
            "/jobs/vip/explain",
            "/events?follow=false",
            "/datasets?learned=true",
            *(f"/cost?by={by}" for by in ("queue", "user", "cluster", "job", "day")),
            "/cost?by=job&user=submitter-blue",
        ):
            answer = await red.get(path)
            assert answer.status_code == 200, answer.text
            assert "secret" not in answer.text, path
            assert "blue" not in answer.text, path
        for text in (manifest("mine-2", gpus=8), manifest("mine-3", gpus=8, priority=20, data=["secret-data"])):
            for path in ("/plan", "/jobs?dry=true"):
                planned = await red.post(path, content=text, headers=JSON)
                assert planned.status_code == 200, planned.text
                found = planned.text.replace("secret-data", "") if b"secret-data" in text else planned.text
                assert "secret" not in found, path
                assert "blue" not in found, path
        for id_ in foreign.values():
            for method, path in (("GET", ""), ("GET", "/explain"), ("GET", "/logs"), ("POST", "/cancel")):
                assert (await red.request(method, f"/jobs/{id_}{path}")).status_code == 404
        for path in ("/datasets/secret-data", "/datasets/secret-data?tenant=blue", f"/events?job={foreign[names[0]]}"):
            assert (await red.get(path)).status_code == 404
        assert (await red.get("/rebalance")).status_code == 403
