from __future__ import annotations

from placement.queues.tree import Budget, Queue, Quota
from tests.hub.api.conftest import As
from tests.hub.api.fakes import FakeHub

YAML = {"Content-Type": "application/yaml"}
TEAM = """
apiVersion: muster.dev/v1
kind: Queue
metadata: {name: team-b}
spec:
  cohort: research
  weight: 2
  quotas: {A100: {nominal: 4, lending_limit: 1}, "*": {nominal: 0}}
  budget: {usd_per_day: 100}
"""


async def test_queues_are_listed_and_shown(as_: As) -> None:
    client = as_("vic-token")
    assert [one["name"] for one in (await client.get("/queues")).json()["queues"]] == ["default", "research", "team-a"]
    shown = (await client.get("/queues/team-a")).json()
    assert shown["quotas"] == {"A100": {"nominal": 8.0, "borrowing_limit": 8.0, "lending_limit": None}}
    assert shown["uses"] == [{"device": "A100", "used": 2.0, "may_use": 16.0, "left": 14.0}]
    assert (shown["cohort"], shown["waiting"], shown["usd_month"]) == ("research", 1, 6.0)
    assert (await client.get("/queues/gone")).status_code == 404


async def test_queues_come_change_and_go(as_: As, hub: FakeHub) -> None:
    admin = as_("admin-token")
    made = await admin.post("/queues", json={"name": "x", "cohort": "research", "quotas": {"cpu": {"nominal": 64}}})
    assert made.status_code == 201
    assert hub.queues.tree.queues["x"] == Queue("x", "research", {"cpu": Quota(64.0)})
    assert (await admin.post("/queues", json={"name": "x"})).status_code == 409
    assert (await admin.put("/queues/x", json={"weight": 3})).status_code == 200
    assert hub.queues.tree.queues["x"] == Queue("x", weight=3.0)
    assert (await admin.put("/queues/gone", json={})).status_code == 404
    assert (await admin.delete("/queues/x")).status_code == 204
    assert "x" not in hub.queues.tree.queues
    assert (await as_("alice-token").post("/queues", json={"name": "y"})).status_code == 403


async def test_what_is_wrong_is_named(as_: As) -> None:
    admin = as_("admin-token")
    assert (await admin.post("/queues", json={"name": "Big Team"})).status_code == 422
    assert (await admin.post("/queues", json={"name": "x", "weight": -1})).status_code == 422
    wrong = await admin.post("/queues", json={"name": "x", "cohort": "gone"})
    assert wrong.status_code == 422
    assert "there is no queue 'gone'" in wrong.json()["error"]["message"]


async def test_a_file_is_applied_as_a_whole(as_: As, hub: FakeHub) -> None:
    admin = as_("admin-token")
    both = f"{TEAM}---\n{TEAM.replace('team-b', 'team-c')}".encode()
    answer = await admin.post("/apply", content=both, headers=YAML)
    assert answer.json() == {"applied": [["Queue", "team-b"], ["Queue", "team-c"]], "warnings": []}
    expected = Queue(
        "team-b", "research", {"A100": Quota(4.0, None, 1.0), "*": Quota()}, 2.0, Budget(usd_per_day=100.0)
    )
    assert hub.queues.tree.queues["team-b"] == expected
    assert (await as_("alice-token").post("/apply", content=both, headers=YAML)).status_code == 403


async def test_every_problem_of_a_file_is_told_and_nothing_of_it_counts(as_: As, hub: FakeHub) -> None:
    before = hub.queues.tree
    text = f"""{TEAM}---
apiVersion: muster.dev/v2
kind: Queu
metadata: {{name: Bad_Name}}
status: 1
---
apiVersion: muster.dev/v1
kind: Queue
metadata: {{name: team-b}}
spec: {{wieght: 1, quotas: {{T4: {{nominal: -1}}}}}}
"""
    answer = await as_("admin-token").post("/apply", content=text.encode(), headers=YAML)
    assert answer.status_code == 422
    problems = {(one["document"], one["path"]): one["mend"] for one in answer.json()["error"]["problems"]}
    assert problems[2, "apiVersion"] == "write muster.dev/v1"
    assert problems[2, "kind"] == "did you mean Queue?"
    assert problems.keys() >= {(2, "metadata.name"), (2, "status"), (3, "spec.wieght"), (3, "spec.quotas.T4.nominal")}
    assert hub.queues.tree is before
    twice = await as_("admin-token").post("/apply", content=f"{TEAM}---\n{TEAM}".encode(), headers=YAML)
    assert "Queue team-b is declared twice" in twice.text
