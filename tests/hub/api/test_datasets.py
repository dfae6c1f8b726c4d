from __future__ import annotations

from placement.data import Dataset, Replica
from tests.hub.api.conftest import As
from tests.hub.api.fakes import FakeHub

YAML = {"Content-Type": "application/yaml"}
IMAGENET = """
apiVersion: muster.dev/v1
kind: Dataset
metadata: {name: imagenet}
spec:
  size: 1.2TB
  residency: [eu-west]
  replicas:
    - {cluster: onprem-a, uri: pvc://ml/imagenet}
    - {region: eu-west, uri: s3://bucket/prefix}
"""
DATASET = Dataset(
    "imagenet",
    1_200_000_000_000,
    (Replica("", "onprem-a", "pvc://ml/imagenet"), Replica("eu-west", "", "s3://bucket/prefix")),
    ("eu-west",),
)


async def test_a_dataset_is_applied_shown_changed_and_deleted(as_: As, hub: FakeHub) -> None:
    admin = as_("admin-token")
    applied = await admin.post("/apply", content=IMAGENET, headers=YAML)
    assert applied.json() == {"applied": [["Dataset", "imagenet"]], "warnings": []}
    assert hub.datasets.known == {"imagenet": DATASET}
    shown = (await as_("vic-token").get("/datasets/imagenet")).json()
    assert (shown["size"], shown["residency"], shown["replicas"][0]["cluster"]) == (1.2e12, ["eu-west"], "onprem-a")
    body = {"size": 5, "replicas": [{"region": "eu-west", "uri": "s3://b"}]}
    assert (await admin.put("/datasets/imagenet", json=body)).json()["size"] == 5
    assert (await admin.post("/datasets", json={"name": "imagenet", **body})).status_code == 409
    assert (await admin.put("/datasets/gone", json=body)).status_code == 404
    assert [one["name"] for one in (await admin.get("/datasets")).json()["datasets"]] == ["imagenet"]
    assert (await admin.delete("/datasets/imagenet")).status_code == 204
    assert hub.datasets.known == {}


async def test_a_file_with_a_wrong_dataset_changes_nothing(as_: As, hub: FakeHub) -> None:
    admin, before = as_("admin-token"), hub.queues.tree
    queue = "apiVersion: muster.dev/v1\nkind: Queue\nmetadata: {name: new}\n"
    for wrong, path, said in (
        (IMAGENET.replace("1.2TB", "-3GB"), "spec.size", "-3GB is no size"),
        (IMAGENET.replace("1.2TB", "many"), "spec.size", "'many' is no size"),
        (IMAGENET.replace("  size: 1.2TB\n", ""), "spec.size", "is missing"),
        (IMAGENET.replace("residency", "residence"), "spec.residence", "not known"),
        (IMAGENET[: IMAGENET.index("  replicas")], "spec.replicas", "is missing"),
    ):
        answer = await admin.post("/apply", content=queue + "---" + wrong, headers=YAML)
        assert answer.status_code == 422
        [problem] = answer.json()["error"]["problems"]
        assert (problem["document"], problem["path"]) == (2, path)
        assert said in problem["message"]
    answer = await admin.post(
        "/apply", content=queue + "---" + IMAGENET.replace("eu-west, uri", "mars, uri"), headers=YAML
    )
    assert answer.status_code == 422
    assert (hub.datasets.known, hub.queues.tree) == ({}, before)
