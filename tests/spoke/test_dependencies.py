"""What travels along: nothing that exists is written over, what is shared stays, claims are never deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from placement.lifecycle import Event
from spoke import status
from spoke.cluster.port import Object, ObjectKey
from spoke.dependencies import noted, noted_in, says
from tests.spoke.stage import Stage, eventually, job_yaml, node, stage


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "HOLD_BACK_S", 0.01)


SECRET = ObjectKey("v1", "Secret", "team", "token")


def secret(value: str = "bXVzdGVy", **metadata: Any) -> dict[str, Any]:
    named = {"name": "token", "namespace": "team", **metadata}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": named, "type": "Opaque", "data": {"key": value}}


def with_secret(name: str, value: str = "key: bXVzdGVy", field: str = "data") -> str:
    travelling = (
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: token, namespace: team}}\n{field}: {{{value}}}\n---\n"
    )
    mount = "      volumes: [{name: s, secret: {secretName: token}}]\n      containers:"
    return travelling + job_yaml(name).replace("      containers:", mount)


def with_claim(name: str) -> str:
    travelling = (
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: checkpoints, namespace: team}\n"
        "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n---\n"
    )
    mount = "      volumes: [{name: c, persistentVolumeClaim: {claimName: checkpoints}}]\n      containers:"
    return travelling + job_yaml(name).replace("      containers:", mount)


def present(on: Stage, key: ObjectKey = SECRET) -> Object | None:
    return on.cluster._objects.get(key)


async def test_somebody_elses_object_that_says_something_else_fails_the_job_and_stays_as_it_is(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        theirs = on.cluster.put(secret("dGhlaXJz"))
        await on.run("j-1", with_secret("train"))
        failed = await on.told("j-1", Event.FAIL)
        assert failed.reason == (
            "Secret team/token exists in the cluster and is not Muster's; rename yours or remove it from the file"
        )
        assert "j-1" not in str(present(on))
        await on.cancel("j-1")
        await on.told("j-1", Event.STOPPED)
        assert present(on) == theirs
        assert on.cluster.objects("batch/v1", "Job") == []


async def test_a_label_alone_makes_nothing_ours(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        theirs = on.cluster.put(
            secret("dGhlaXJz", labels={"muster.dev/job": "j-1"}, annotations={"muster.dev/owner": "there.0"})
        )
        await on.run("j-1", with_secret("train"))
        await on.told("j-1", Event.FAIL)
        assert present(on) == theirs


@pytest.mark.parametrize(("value", "field"), [("key: bXVzdGVy", "data"), ("key: muster", "stringData")])
async def test_somebody_elses_object_that_says_the_same_is_used_as_it_is(
    tmp_path: Path, value: str, field: str
) -> None:
    async with stage(tmp_path, node("n1")) as on:
        theirs = on.cluster.put(secret())
        await on.run("j-1", with_secret("train", value, field))
        await on.workload("train")
        await on.cancel("j-1")
        await on.told("j-1", Event.STOPPED)
        assert present(on) == theirs
        assert "apply" not in on.cluster.calls


async def test_another_jobs_object_is_shared_where_it_says_the_same_and_goes_with_the_last_of_them(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await on.run("j-1", with_secret("one"))
        await on.workload("one")
        made = present(on)
        await on.run("j-2", with_secret("two"))
        await on.workload("two")
        assert present(on) == made  # not labelled anew either
        await on.run("j-3", with_secret("three", "key: b3RoZXI="))
        failed = await on.told("j-3", Event.FAIL)
        assert failed.reason == "Secret team/token is used by job j-1 here and says something else; rename yours"
        assert present(on) == made
        await on.cancel("j-1")
        await on.told("j-1", Event.STOPPED)
        assert present(on) == made
        for job in ("j-3", "j-2"):
            await on.cancel(job)
            await on.told(job, Event.STOPPED)
        assert present(on) is None


async def test_what_an_ended_job_left_makes_way(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await on.run("j-1", with_secret("one"))
        await on.make_pods("one", [0])
        await eventually("it is bound", lambda: len(on.bound("j-1")) == 1)
        await on.finish("one", "j-1")
        await on.told("j-1", Event.SUCCEED)
        await on.run("j-2", with_secret("two", "key: b3RoZXI="))
        await on.workload("two")
        now = present(on)
        assert now is not None
        assert (now["data"], now["metadata"]["labels"]["muster.dev/job"]) == ({"key": "b3RoZXI="}, "j-2")


async def test_a_claim_outlives_its_job_and_is_used_by_the_next(tmp_path: Path) -> None:
    key = ObjectKey("v1", "PersistentVolumeClaim", "team", "checkpoints")
    async with stage(tmp_path, node("n1")) as on:
        await on.run("j-1", with_claim("train"))
        await on.workload("train")
        made = present(on, key)
        assert made is not None
        grown = on.cluster.put({**made, "spec": {"resources": {"requests": {"storage": "9Gi"}}}})
        await on.cancel("j-1")
        await on.told("j-1", Event.STOPPED)
        assert present(on, key) == grown
        await on.run("j-2", with_claim("train-on"))
        await on.workload("train-on")
        assert present(on, key) == grown


async def test_a_claim_survives_the_failing_and_the_retiring_of_its_job(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), keep_finished_s=0.05) as on:
        await on.run("j-1", with_claim("train"))
        await on.make_pods("train", [0])
        await on.finish("train", "j-1")
        await eventually("it is retired", lambda: on.agent._jobs.get("j-1") is None)
        assert len(on.cluster.objects("v1", "PersistentVolumeClaim")) == 1


def test_defaults_of_the_api_server_may_come_on_top() -> None:
    ports = [{"port": 80, "protocol": "TCP"}]
    there: dict[str, Any] = {"metadata": {}, "spec": {"clusterIP": "10.0.0.1", "ports": ports}}
    assert says(there, {"metadata": {"name": "x"}, "spec": {"ports": [{"port": 80}], "selector": None}})
    others: list[dict[str, Any]] = [
        {"ports": [{"port": 81}]},
        {"ports": []},
        {"ports": [{"port": 80}] * 2},
        {"selector": {"a": "b"}},
    ]
    for spec in others:
        assert not says(there, {"metadata": {}, "spec": spec})


def test_what_was_noted_on_a_workload_is_read_again() -> None:
    keys = [SECRET, ObjectKey("v1", "Service", "team", "x")]
    written = {"metadata": {"annotations": {"muster.dev/travels-along": noted(keys)}}}
    assert noted_in(written) == frozenset(keys)
    for text in ("{", "3", "[[1]]"):
        assert noted_in({"metadata": {"annotations": {"muster.dev/travels-along": text}}}) == frozenset()
