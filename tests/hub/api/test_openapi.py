"""The API describes itself; what is in here is what clients were written against."""

from __future__ import annotations

from typing import Any

from hub.api.app import create_api
from tests.hub.api.conftest import As
from tests.hub.api.fakes import FakeHub

ROUTES = """
DELETE /v1/clusters/{name}
DELETE /v1/crons/{ref}
DELETE /v1/datasets/{name}
DELETE /v1/distributions/{name}
DELETE /v1/kinds/{name}
DELETE /v1/models/{name}
DELETE /v1/models/{name}/-/aliases/{alias}
DELETE /v1/models/{name}/-/versions/{number}
DELETE /v1/overrides/{name}
DELETE /v1/queues/{name}
DELETE /v1/tenants/{name}
DELETE /v1/users/{name}
GET /v1/audit
GET /v1/ca
GET /v1/clusters
GET /v1/clusters/{name}
GET /v1/cost
GET /v1/crons
GET /v1/crons/{ref}
GET /v1/datasets
GET /v1/datasets/{name}
GET /v1/distributions
GET /v1/distributions/{name}
GET /v1/events
GET /v1/healthz
GET /v1/jobs
GET /v1/jobs/{ref}
GET /v1/jobs/{ref}/endpoints
GET /v1/jobs/{ref}/events
GET /v1/jobs/{ref}/explain
GET /v1/jobs/{ref}/logs
GET /v1/kinds
GET /v1/kinds/{name}
GET /v1/model-storage
GET /v1/models
GET /v1/models/{name}
GET /v1/models/{name}/-/files/{revision}/{path}
GET /v1/models/{name}/-/manifests/{revision}
GET /v1/overrides
GET /v1/overrides/{name}
GET /v1/prices
GET /v1/queues
GET /v1/queues/{name}
GET /v1/readyz
GET /v1/rebalance
GET /v1/tenants
GET /v1/tenants/{name}
GET /v1/top
GET /v1/users
GET /v1/whoami
POST /v1/apply
POST /v1/cluster-tokens
POST /v1/clusters/{name}/cordon
POST /v1/clusters/{name}/drain
POST /v1/clusters/{name}/labels
POST /v1/clusters/{name}/uncordon
POST /v1/crons/{ref}/resume
POST /v1/crons/{ref}/run
POST /v1/crons/{ref}/suspend
POST /v1/datasets
POST /v1/jobs
POST /v1/jobs/{ref}/cancel
POST /v1/jobs/{ref}/logs
POST /v1/join
POST /v1/models/{name}/-/versions
POST /v1/plan
POST /v1/plan/manifest
POST /v1/queues
POST /v1/users
PUT /v1/datasets/{name}
PUT /v1/distributions/{name}
PUT /v1/kinds/{name}
PUT /v1/model-chunks/{blake3}
PUT /v1/model-files/{sha256}
PUT /v1/models/{name}/-/aliases/{alias}
PUT /v1/overrides/{name}
PUT /v1/prices
PUT /v1/queues/{name}
PUT /v1/tenants/{name}
"""
OPEN = {"/v1/ca", "/v1/join", "/v1/healthz", "/v1/readyz"}


def described(hub: FakeHub) -> dict[str, Any]:
    return create_api(hub.services()).openapi()


def test_the_routes_are_these(hub: FakeHub) -> None:
    found = [f"{verb.upper()} {path}" for path, verbs in described(hub)["paths"].items() for verb in verbs]
    assert sorted(found) == ROUTES.split("\n")[1:-1]


def test_every_route_but_the_open_ones_wants_a_bearer_and_says_how_it_refuses(hub: FakeHub) -> None:
    for path, verbs in described(hub)["paths"].items():
        for operation in verbs.values():
            assert ("security" in operation) == (path not in OPEN), path
            assert operation["responses"]["default"]["content"]["application/json"]["schema"] == {
                "$ref": "#/components/schemas/ErrorBody"
            }
            assert operation["tags"]


def test_a_submit_says_what_it_takes(hub: FakeHub) -> None:
    submit = described(hub)["paths"]["/v1/jobs"]["post"]
    assert set(submit["requestBody"]["content"]) == {"application/yaml", "application/json"}
    parameters = {one["name"] for one in submit["parameters"]}
    assert parameters == {"namespace", "if_too_large", "dry", "idempotency-key"}


def test_every_reference_leads_somewhere(hub: FakeHub) -> None:
    document = described(hub)
    for reference in _references(document):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


async def test_it_is_served(as_: As) -> None:
    assert (await as_("").get("/openapi.json")).json()["info"]["title"] == "Muster"


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for one in value.values() for ref in _references(one)]
    if isinstance(value, list):
        return [ref for one in value for ref in _references(one)]
    return []
