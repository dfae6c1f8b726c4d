from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.calendar import reading, splitting
from placement.kinds import documents, reader
from placement.kinds.catalogue import Catalogue
from placement.kinds.documents import Document
from placement.kinds.problems import ManifestError
from tests.placement.calendar.test_reading import AT

CATALOGUE = Catalogue.builtin()
CONFIG = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}"
JOB = (
    "{apiVersion: batch/v1, kind: Job, metadata: {name: j},"
    " spec: {template: {spec: {restartPolicy: Never, containers: [{name: c}]}}}}"
)
CRON = (
    "{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: ml}, spec: {schedule: '0 3 * * *',"
    " jobTemplate: {spec: {template: {spec: {restartPolicy: Never, volumes: [{name: v, configMap: {name: c}}],"
    " containers: [{name: c}]}}}}}}"
)


def split(*texts: str) -> splitting.Split:
    return splitting.split("\n---\n".join(texts).encode(), CATALOGUE)


def run(found: splitting.Split) -> bytes:
    (cron,) = found.crons
    return found.with_run(cron.number, reading.run_of(cron.body, "nightly-1", AT))


def test_a_cronjob_with_what_travels_along() -> None:
    found = split(CONFIG, CRON)
    assert found.rest == b""
    (read,) = reader.read(run(found), CATALOGUE, namespace="ml")
    assert (read.workload.kind, read.workload.name, read.workload.namespace) == ("Job", "nightly-1", "ml")
    assert [one["metadata"]["name"] for one in read.dependencies] == ["c"]


def test_other_workloads_of_the_file_are_submitted_as_ever() -> None:
    found = split(CRON, JOB, CONFIG)
    (read,) = reader.read(found.rest, CATALOGUE)
    assert read.workload.name == "j"
    (of_run,) = reader.read(run(found), CATALOGUE, namespace="ml")
    assert of_run.workload.name == "nightly-1"


def test_documents_keep_their_numbers() -> None:
    broken = JOB.replace("name: j}", "name: J!}")
    found = split(CONFIG, CRON, broken)
    with pytest.raises(ManifestError) as error:
        reader.read(found.rest, CATALOGUE)
    assert [problem.document for problem in error.value.problems] == [3]
    listed = split(f"{{apiVersion: v1, kind: List, items: [{CONFIG}, {CRON}]}}")
    assert [cron.number for cron in listed.crons] == [1]
    (read,) = reader.read(run(listed), CATALOGUE, namespace="ml")
    assert len(read.dependencies) == 1


def test_a_file_without_any_has_none() -> None:
    assert not splitting.holds_any(JOB.encode())
    assert split(JOB, "{apiVersion: v1, kind: Secret, metadata: {name: CronJob}}").crons == ()


texts = st.text(st.characters(codec="utf-8"))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(texts, values, max_size=3), min_size=1, max_size=3))
def test_what_is_written_as_text_is_read_as_it_was(bodies: list[dict[str, Any]]) -> None:
    text = splitting.as_text([Document(number * 2, body) for number, body in enumerate(bodies, 1)])
    assert [(one.number, one.body) for one in documents.load(text)] == [
        (number * 2, body) for number, body in enumerate(bodies, 1)
    ]
