from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.calendar import reading
from placement.calendar.decisions import Concurrency
from placement.kinds import reader
from placement.kinds.catalogue import Catalogue
from placement.kinds.documents import Document
from placement.kinds.problems import Findings, ManifestError
from tests.placement.kinds.test_fuzz import values

AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def cron(**changes: Any) -> dict[str, Any]:
    spec = {
        "schedule": "0 3 * * *",
        "timeZone": "Europe/Stockholm",
        "startingDeadlineSeconds": 600,
        "concurrencyPolicy": "Forbid",
        "jobTemplate": {
            "metadata": {"labels": {"team": "a"}, "annotations": {"muster.dev/queue": "batch"}},
            "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}},
        },
    }
    annotations = {"muster.dev/queue": "default", "muster.dev/grace": "30s", "other": "x"}
    metadata = {"name": "nightly", "annotations": annotations}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec | changes}


def read(obj: dict[str, Any]) -> tuple[reading.CronJob | None, dict[str, str]]:
    found = Findings(1)
    return reading.read(found, obj, "ml"), {problem.path: problem.message for problem in found.problems}


def test_a_cronjob_is_read_whole() -> None:
    one, problems = read(cron())
    assert problems == {}
    assert one is not None
    assert (one.name, one.namespace, one.kept_succeeded, one.kept_failed) == ("nightly", "ml", 3, 1)
    assert (one.rules.schedule.expression, one.rules.schedule.zone) == ("0 3 * * *", "Europe/Stockholm")
    assert (one.rules.deadline, one.rules.concurrency) == (timedelta(minutes=10), Concurrency.FORBID)
    assert not one.rules.suspended
    assert reading.rules_of(one.manifest, suspended=True).suspended


def test_a_run_is_a_job_as_kubernetes_names_it_with_the_hints_of_both() -> None:
    one, _ = read(cron())
    assert one is not None
    name = reading.run_name(one.name, AT)
    assert name == f"nightly-{int(AT.timestamp()) // 60}"
    job = reading.run_of(one.manifest, name, AT)
    assert (job["kind"], job["metadata"]["name"], job["metadata"]["namespace"]) == ("Job", name, "ml")
    assert job["metadata"]["labels"] == {"team": "a"}
    assert job["metadata"]["annotations"] == {
        "muster.dev/queue": "batch",
        "muster.dev/grace": "30s",
        "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-05-01T12:00:00Z",
    }
    assert job["spec"] is one.manifest["spec"]["jobTemplate"]["spec"]
    by_hand = reading.run_of(one.manifest, "x", AT, by_hand=True)
    assert by_hand["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual"


@pytest.mark.parametrize(
    ("changes", "path", "said"),
    [
        ({"schedule": "0 3 * *"}, "spec.schedule", "has 4 fields"),
        ({"schedule": None}, "spec.schedule", "is missing"),
        ({"schedule": 5}, "spec.schedule", "must be a string"),
        ({"timeZone": "Mars"}, "spec.timeZone", "no time zone"),
        ({"concurrencyPolicy": "forbid"}, "spec.concurrencyPolicy", "there is no 'forbid'"),
        ({"startingDeadlineSeconds": -1}, "spec.startingDeadlineSeconds", "must be from 0"),
        ({"startingDeadlineSeconds": "5"}, "spec.startingDeadlineSeconds", "whole number"),
        ({"successfulJobsHistoryLimit": 1.5}, "spec.successfulJobsHistoryLimit", "whole number"),
        ({"suspend": "yes"}, "spec.suspend", "neither true nor false"),
        ({"jobTemplate": None}, "spec.jobTemplate.spec", "is missing"),
        ({"jobTemplate": []}, "spec.jobTemplate", "must be a mapping"),
        ({"jobTemplate": {"spec": {}, "metadata": {"labels": [1]}}}, "spec.jobTemplate.metadata.labels", "mapping"),
        ({"timezone": "UTC"}, "spec.timezone", "not known"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(changes: dict[str, Any], path: str, said: str) -> None:
    one, problems = read(cron(**changes))
    assert one is None
    assert said in problems[path]


def test_a_name_leaves_room_for_the_runs() -> None:
    obj = cron()
    obj["metadata"]["name"] = "a" * 53
    assert "at most 52" in read(obj)[1]["metadata.name"]


CATALOGUE = Catalogue.builtin()
SPOTS = (
    ("metadata",),
    ("metadata", "name"),
    ("metadata", "annotations"),
    ("spec",),
    *(("spec", key) for key in ("schedule", "timeZone", "startingDeadlineSeconds", "concurrencyPolicy", "suspend")),
    ("spec", "successfulJobsHistoryLimit"),
    ("spec", "jobTemplate"),
    ("spec", "jobTemplate", "metadata"),
    ("spec", "jobTemplate", "metadata", "labels"),
    ("spec", "jobTemplate", "metadata", "annotations"),
    ("spec", "jobTemplate", "spec"),
)


@given(st.lists(st.tuples(st.sampled_from(SPOTS), values), min_size=1, max_size=3))
def test_broken_at_random_it_says_what_is_wrong_or_makes_a_job_that_can_be_read(
    changes: list[tuple[tuple[str, ...], Any]],
) -> None:
    obj: Any = cron()
    for (*way, last), value in changes:
        holder = obj
        for step in way:
            holder = holder.get(step) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            holder[last] = value
    one, problems = read(obj)
    assert (one is None) == bool(problems)
    if one is None:
        return
    assert reading.rules_of(one.manifest, suspended=one.rules.suspended) == one.rules
    run = reading.run_of(one.manifest, reading.run_name(one.name, AT), AT)
    try:
        (submission,) = reader.read_documents([Document(1, run)], CATALOGUE)
    except ManifestError:
        return
    assert submission.workload.name == reading.run_name(one.name, AT)
