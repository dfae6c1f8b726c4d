from __future__ import annotations

import json

import pytest

from hub.api.schemas import PlanOut
from tests.hub.api.conftest import As
from tests.hub.api.fakes import FakeHub

YAML = {"Content-Type": "application/yaml"}
JSON = {"Content-Type": "application/json"}


async def test_a_submit_passes_the_text_on_as_it_is_and_answers_the_job(as_: As, hub: FakeHub) -> None:
    text = b"train # a comment\r\n"
    answer = await as_("alice-token").post("/jobs?namespace=ml&if_too_large=reject", content=text, headers=YAML)
    assert answer.status_code == 201
    (one,) = answer.json()["jobs"]
    assert one["created"]
    assert one["job"]["name"] == "train"
    assert one["job"]["phase"] == "QUEUED"
    assert one["job"]["owner"] == "alice"
    assert hub.jobs.calls == [("submit", text, "ml", None, "reject")]


@pytest.mark.parametrize("content_type", ["application/yaml", "text/yaml; charset=utf-8", "application/x-yaml"])
async def test_yaml_by_any_of_its_names(as_: As, content_type: str) -> None:
    answer = await as_("alice-token").post("/jobs", content=b"a", headers={"Content-Type": content_type})
    assert answer.status_code == 201


async def test_one_object_as_json_is_one_file(as_: As, hub: FakeHub) -> None:
    text = b'{"kind": "PyTorchJob", "manifests": []}'
    assert (await as_("alice-token").post("/jobs", content=text, headers=JSON)).status_code == 201
    assert hub.jobs.calls[0][1] == text


async def test_a_key_seen_before_answers_the_same_job(as_: As) -> None:
    client = as_("alice-token")
    first = await client.post("/jobs", content=b"a", headers={**YAML, "Idempotency-Key": "k1"})
    again = await client.post("/jobs", content=b"a", headers={**YAML, "Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["jobs"][0]["job"]["id"] == again.json()["jobs"][0]["job"]["id"]
    assert not again.json()["jobs"][0]["created"]


async def test_bulk_takes_all_or_nothing(as_: As, hub: FakeHub) -> None:
    client, headers = as_("alice-token"), {"Idempotency-Key": "nightly"}
    before = len(hub.jobs.jobs)
    refused = await client.post("/jobs", json={"manifests": ["one", "bad"]}, headers=headers)
    assert (refused.status_code, refused.json()["error"]["problems"][0]["path"]) == (422, "spec.replicas")
    assert len(hub.jobs.jobs) == before
    taken = await client.post("/jobs", json={"manifests": ["one", "two"]}, headers=headers)
    assert (taken.status_code, [one["job"]["name"] for one in taken.json()["jobs"]]) == (201, ["one", "two"])
    again = await client.post("/jobs", json={"manifests": ["one", "two"]}, headers=headers)
    assert (again.status_code, [one["created"] for one in again.json()["jobs"]]) == (200, [False, False])


async def test_a_thousand_in_bulk(as_: As) -> None:
    answer = await as_("alice-token").post("/jobs", json={"manifests": [f"job-{n}" for n in range(1000)]})
    assert answer.status_code == 201
    assert [one["job"]["name"] for one in answer.json()["jobs"]] == [f"job-{n}" for n in range(1000)]


@pytest.mark.parametrize("manifests", [[], [1], "one", None])
async def test_a_bulk_body_that_is_none(as_: As, manifests: object) -> None:
    answer = await as_("alice-token").post("/jobs", json={"manifests": manifests})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "invalid-bulk"
    assert "manifests" in answer.json()["error"]["message"]


async def test_a_dry_run_plans_and_stores_nothing(as_: As, hub: FakeHub) -> None:
    before = dict(hub.jobs.jobs)
    answer = await as_("alice-token").post("/jobs?dry=true", content=b"many", headers=YAML)
    assert answer.status_code == 200
    assert [one["workload"]["name"] for one in answer.json()["plan"]] == ["one", "two"]
    assert hub.jobs.jobs == before


async def test_the_plan_of_one_workload_has_exactly_this_form(as_: As) -> None:
    answer = await as_("vic-token").post("/plan", content=b"train", headers=YAML)
    assert answer.status_code == 200
    assert answer.json() == {
        "workload": {
            "kind": "PyTorchJob",
            "name": "train",
            "namespace": "ml",
            "roles": [
                {
                    "name": "Master",
                    "replicas": 1,
                    "min": 1,
                    "gpus_per_pod": 8,
                    "device_class": "NVIDIA-A100-SXM4-80GB",
                    "topology": None,
                    "slices": None,
                    "sizes": None,
                },
                {
                    "name": "Worker",
                    "replicas": 3,
                    "min": 3,
                    "gpus_per_pod": 8,
                    "device_class": "NVIDIA-A100-SXM4-80GB",
                    "topology": None,
                    "slices": None,
                    "sizes": None,
                },
            ],
            "gang": {"min_pods": 4, "groups": 1, "awaited": None, "topology": None},
            "total_gpus": 32,
            "expected_hours": 1.0,
            "long_running": False,
        },
        "verdict": "placed",
        "chosen": "onprem-a",
        "candidates": [
            {
                "cluster": "onprem-a",
                "feasible": True,
                "reasons": [],
                "score": {"total_usd": 38.4, "terms": {"gpu": 36.0, "spot-risk": 2.4}},
                "domain": "rack r1",
                "usd_per_hour": 36.0,
                "spot": True,
                "own": False,
                "expected_hours": 1 + 2.4 / 36,
                "at_least": False,
                "moves": [],
                "overrides": [],
                "without": [],
            },
            {
                "cluster": "cloud-b",
                "feasible": True,
                "reasons": [],
                "score": {"total_usd": 131.2, "terms": {"gpu": 131.2}},
                "domain": "rack b7",
                "usd_per_hour": 131.2,
                "spot": False,
                "own": False,
                "expected_hours": 1.0,
                "at_least": False,
                "moves": [],
                "overrides": [],
                "without": [],
            },
            {
                "cluster": "edge-c",
                "feasible": False,
                "reasons": [
                    {
                        "code": "device-missing",
                        "message": "edge-c has no nvidia.com/gpu NVIDIA-A100-SXM4-80GB; it has Tesla-T4",
                    }
                ],
                "score": None,
                "domain": "",
                "usd_per_hour": None,
                "spot": False,
                "own": False,
                "expected_hours": None,
                "at_least": False,
                "moves": [],
                "overrides": [],
                "without": [],
            },
        ],
        "reasons": [],
        "warnings": [],
        "domain": "rack r1",
        "start": None,
        "room": None,
        "outlook": None,
        "division": None,
        "starts_with": None,
    }


async def test_the_plan_of_several_workloads_is_a_list(as_: As) -> None:
    answer = await as_("alice-token").post("/plan", content=b"many", headers=YAML)
    assert [PlanOut.model_validate_json(json.dumps(one)).workload.name for one in answer.json()] == ["one", "two"]


@pytest.mark.parametrize("verdict", ["waiting", "rejected"])
async def test_the_plan_says_why_not(as_: As, hub: FakeHub, verdict: str) -> None:
    hub.jobs.verdict = verdict
    body = (await as_("alice-token").post("/plan", content=b"train", headers=YAML)).json()
    assert (body["verdict"], body["chosen"]) == (verdict, None)
    assert [reason["code"] for reason in body["reasons"]] == ["topology-short", "device-missing"]


async def test_a_plan_takes_one_file(as_: As) -> None:
    answer = await as_("alice-token").post("/plan", json={"manifests": ["a", "b"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "one-file-only")


async def test_the_list_is_filtered_and_paged(as_: As, hub: FakeHub) -> None:
    client = as_("alice-token")
    first = (await client.get("/jobs?limit=1")).json()
    assert [one["name"] for one in first["jobs"]] == ["llama-70b"]
    assert (first["total"], first["as_of"]) == (2, 4)
    second = (await client.get("/jobs", params={"limit": 1, "cursor": first["next_cursor"]})).json()
    assert [one["name"] for one in second["jobs"]] == ["mistral"]
    assert second["next_cursor"] is None
    queued = (await client.get("/jobs?phase=QUEUED&phase=PLACED&name=mis&cluster=a&queue=q&tenant=red")).json()
    assert [one["phase"] for one in queued["jobs"]] == ["QUEUED"]
    asked = hub.jobs.calls[-1][1]
    assert (asked.cluster, asked.queue, asked.tenant, len(asked.phases)) == ("a", "q", "red", 2)  # type: ignore[attr-defined]  # a JobFilter


async def test_an_unknown_filter_is_refused_not_ignored(as_: As) -> None:
    answer = await as_("alice-token").get("/jobs?phases=RUNNING")
    assert answer.status_code == 422
    assert answer.json()["error"]["problems"][0]["path"] == "query.phases"


async def test_a_tenant_sees_its_own_and_an_admin_all(as_: As) -> None:
    assert (await as_("bob-token").get("/jobs")).json()["total"] == 1
    assert (await as_("admin-token").get("/jobs")).json()["total"] == 3
    assert (await as_("bob-token").get("/jobs/j-0000000001")).status_code == 404
    assert (await as_("bob-token").post("/jobs/j-0000000001/cancel")).status_code == 404
    assert (await as_("bob-token").get("/jobs/j-0000000001/explain")).status_code == 404
    assert (await as_("admin-token").get("/jobs/j-0000000001")).status_code == 200


async def test_show_has_the_pods_with_their_gpus(as_: As) -> None:
    body = (await as_("alice-token").get("/jobs/llama-70b")).json()
    assert body["pods"] == [
        {"pod": "llama-70b-master-0", "role": "Master", "node": "gpu-01", "gpus": [0, 1, 2, 3, 4, 5, 6, 7]}
    ]
    assert body["workload"]["roles"][1]["replicas"] == 3
    assert body["submitted_at"] == "2026-03-01T11:51:00Z"


async def test_cancel(as_: As) -> None:
    assert (await as_("vic-token").post("/jobs/mistral/cancel")).status_code == 403
    assert (await as_("alice-token").post("/jobs/mistral/cancel")).json()["phase"] == "CANCELLED"


async def test_explain_has_the_decision_and_the_history(as_: As, hub: FakeHub) -> None:
    hub.jobs.verdict = "waiting"
    body = (await as_("vic-token").get("/jobs/llama-70b/explain")).json()
    assert body["decision"]["verdict"] == "waiting"
    assert "largest rack of cloud-b fits 3 of 4 pods" in body["decision"]["reasons"][0]["message"]
    assert [one["event"] for one in body["history"]] == ["submit", "place", "running"]
