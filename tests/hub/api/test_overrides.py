from __future__ import annotations

from typing import Any

from hub.api import override_schemas
from placement.overrides.override import Override
from tests.hub.api.conftest import As
from tests.hub.api.fakes import FakeHub

YAML = {"Content-Type": "application/yaml"}
EU = """
apiVersion: muster.dev/v1
kind: Override
metadata: {name: eu}
spec:
  priority: 5
  clusters: {labels: {region: [eu-west, eu-north]}, names: "gpu-*"}
  workloads: {kinds: [kubeflow.org/*], namespaces: team-*}
  images: [{from: docker.io, to: mirror.eu/hub}]
  storage_class: fast
  claims: {data: data-eu}
  env: [{name: NCCL_SOCKET_IFNAME, value: eth1}]
  tolerations: [{key: gpu, operator: Exists}]
  node_selector: {pool: train}
  runtime_class: nvidia
  patches:
  - operations: [{op: add, path: /spec/suspend, value: false}]
  - kind: Service
    if_absent: skip
    operations: [{op: remove, path: /spec/type}]
"""


async def test_an_override_is_declared_shown_and_deleted(as_: As, hub: FakeHub) -> None:
    admin = as_("admin-token")
    answer = await admin.post("/apply", content=EU, headers=YAML)
    assert answer.status_code == 200, answer.text
    assert answer.json()["applied"] == [["Override", "eu"]]
    shown = (await as_("alice-token").get("/overrides/eu")).json()
    assert (shown["selects"], shown["changed_by"]) == (["east"], "root")
    assert shown["changes"] == [field for field in override_schemas.OverrideSpec.model_fields if field in CHANGES]
    spec = shown["spec"]
    assert spec["images"] == [{"from": "docker.io", "to": "mirror.eu/hub"}]
    assert spec["clusters"] == {"labels": {"region": ["eu-west", "eu-north"]}, "names": ["gpu-*"], "regions": []}
    # What is shown is what can be put again.
    before = hub.overrides.known["eu"].override
    assert (await admin.put("/overrides/eu", json=spec)).status_code == 200
    assert hub.overrides.known["eu"].override == before
    assert isinstance(before, Override)
    assert (await admin.delete("/overrides/eu")).status_code == 204
    assert (await admin.get("/overrides")).json() == {"overrides": []}


CHANGES = {
    "images",
    "storage_class",
    "claims",
    "env",
    "tolerations",
    "node_selector",
    "runtime_class",
    "patches",
}


async def test_what_is_wrong_is_named_by_its_field(as_: As, hub: FakeHub) -> None:
    cases: dict[str, tuple[Any, str]] = {
        "spec.clusters": ({"clusters": {}}, "it names no clusters"),
        "spec.env[0]": ({"env": [{"name": "a b"}]}, "'a b' is no name of a variable"),
        "spec.tolerations[0]": ({"tolerations": [{"operator": "Is"}]}, "operator 'Is' is neither"),
        "spec.patches[0].operations[0]": (
            {"patches": [{"operations": [{"op": "add", "path": "/x"}]}]},
            "add /x has no value",
        ),
        "spec.images[0].to": ({"images": [{"from": "docker.io", "to": "*"}]}, "* is no registry to take images from"),
        "spec.patches[0]": ({"patches": [{"operations": []}]}, "it has 0 operations: write 1 to 100"),
        "spec.workloads.tenants[0]": ({"workloads": {"tenants": "*" * 9}}, "'*********' is no name"),
        "spec.colour": ({"colour": 1}, "this field is not known"),
    }
    for path, (wrong, said) in cases.items():
        body = {"apiVersion": "muster.dev/v1", "kind": "Override", "metadata": {"name": "x"}}
        spec = {"clusters": {"names": ["*"]}, **wrong}
        answer = await as_("admin-token").post("/apply", json={**body, "spec": spec})
        assert answer.status_code == 422, answer.text
        problems = answer.json()["error"]["problems"]
        assert len(problems) == 1, problems
        (problem,) = problems
        assert problem["path"] == path
        assert problem["message"].startswith(said), problem
    assert not hub.overrides.known


async def test_submitters_change_nothing(as_: As) -> None:
    alice = as_("alice-token")
    assert (await alice.post("/apply", content=EU, headers=YAML)).status_code == 403
    assert (await alice.delete("/overrides/eu")).status_code == 403


async def test_what_would_be_applied_is_told_with_its_overrides(as_: As, hub: FakeHub) -> None:
    alice, text = as_("alice-token"), b"kind: Job"
    params = {"cluster": "east", "show_secrets": "true"}
    answer = await alice.post("/plan/manifest", params=params, content=text, headers=YAML)
    assert answer.status_code == 200, answer.text
    (made,) = answer.json()["manifests"]
    assert (made["cluster"], made["overrides"], made["objects"]) == ("east", ["eu"], [{"kind": "Job"}])
    assert ("manifest", text, "east", None, True) in hub.jobs.calls
    assert (await alice.post("/plan/manifest", content=text, headers=YAML)).status_code == 422
