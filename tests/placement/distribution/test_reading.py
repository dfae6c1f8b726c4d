from __future__ import annotations

from pathlib import Path

import pytest

from placement.distribution import reading
from placement.kinds import reader
from placement.kinds.catalogue import Catalogue
from placement.kinds.problems import ManifestError, Problem

CATALOGUE = Catalogue.builtin()
MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"

FILE = b"""
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast, resourceVersion: "7", labels: {muster.dev/distribution: other, a: b}}
provisioner: csi.example.com
---
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: DaemonSet
  metadata: {name: plugin, namespace: gpu}
  status: {currentNumberScheduled: 3}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: ClusterRole
  metadata: {name: "system:plugin"}
"""


def test_objects_of_any_kind_are_read_without_what_a_cluster_said_of_them() -> None:
    storage, plugin, role = reading.read(FILE, CATALOGUE)
    assert storage["metadata"] == {"name": "fast", "labels": {"a": "b"}}
    assert "status" not in plugin
    assert str(reading.key_of(plugin)) == "DaemonSet gpu/plugin"
    assert str(reading.key_of(role)) == "ClusterRole system:plugin"


def problems(text: str) -> list[Problem]:
    with pytest.raises(ManifestError) as error:
        reading.read(text.encode(), CATALOGUE)
    return list(error.value.problems)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("{apiVersion: batch/v1, kind: Job, metadata: {name: a, namespace: b}}", "kind", "made again and again"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", "metadata.namespace", "none is named"),
        ("{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: a}}", "metadata.namespace", "none is named"),
        ("{apiVersion: x/v1, kind: Y, metadata: {name: a/b}}", "metadata.name", "'a/b' is no name"),
        ("{apiVersion: x/v1, kind: Y, metadata: {}}", "metadata.name", "None is no name"),
        ("{apiVersion: x/v1, kind: Y}", "metadata", "is missing"),
        ("{kind: Y, metadata: {name: a}}", "apiVersion", "no apiVersion"),
        ("{apiVersion: x/v1, kind: Y, metadata: {name: a, labels: {b: 1}}}", "metadata.labels.b", "must be a string"),
        ("[1]", "", "is a mapping"),
        ("", "", "the file is empty"),
    ],
)
def test_what_cannot_be_meant_is_told(text: str, path: str, said: str) -> None:
    (problem,) = problems(text)
    assert said in problem.message
    assert problem.path == path


def test_an_object_is_there_once_and_everything_wrong_is_told_at_once() -> None:
    one = "{apiVersion: x/v1, kind: Y, metadata: {name: a}}"
    found = problems(f"{one}\n---\n{one}\n---\n{{apiVersion: x/v1, kind: Y}}")
    assert [(each.document, each.path) for each in found] == [(2, "metadata.name"), (3, "metadata")]


@pytest.mark.parametrize("kind", ["storage.k8s.io/v1/StorageClass", "apps/v1/DaemonSet", "v1/Namespace"])
def test_who_submits_what_is_of_a_cluster_is_shown_the_way(kind: str) -> None:
    api_version, _, name = kind.rpartition("/")
    text = f"{{apiVersion: {api_version}, kind: {name}, metadata: {{name: a}}}}"
    with pytest.raises(ManifestError) as error:
        reader.read(text.encode(), CATALOGUE)
    (problem,) = error.value.problems
    assert "muster distribute FILE --to SELECTOR" in problem.mend


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("device-plugin", ["DaemonSet kube-system/"]),
        ("alerts", ["PrometheusRule monitoring/"]),
        (
            "storage",
            ["PersistentVolumeClaim training/", "StorageClass ", "Dataset training/", "AlluxioRuntime training/"],
        ),
    ],
)
def test_manifests_that_people_have(file: str, kinds: list[str]) -> None:
    text = (MANIFESTS / f"{file}.yaml").read_bytes()
    found = [str(reading.key_of(obj)) for obj in reading.read(text, CATALOGUE, namespace="ml")]
    assert all(name.startswith(kind) for name, kind in zip(found, kinds, strict=True)), found


def test_a_namespace_for_those_that_name_none() -> None:
    text = (
        b"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n---\n{apiVersion: x/v1, kind: Y, metadata: {name: b}}"
    )
    config, unknown = reading.read(text, CATALOGUE, namespace="ml")
    assert str(reading.key_of(config)) == "ConfigMap ml/a"
    assert str(reading.key_of(unknown)) == "Y b"  # only the cluster knows
