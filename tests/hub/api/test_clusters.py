from __future__ import annotations

from tests.hub.api.conftest import As
from tests.hub.api.fakes import PEM, FakeHub


async def test_list_and_show(as_: As) -> None:
    body = (await as_("vic-token").get("/clusters")).json()
    assert [(one["name"], one["health"]) for one in body["clusters"]] == [("onprem-a", "ready"), ("edge-c", "lost")]
    shown = (await as_("vic-token").get("/clusters/onprem-a")).json()
    assert (shown["gpus_free"], shown["products"]) == (24, {"NVIDIA-A100-SXM4-80GB": 64})
    assert (await as_("vic-token").get("/clusters/moon")).json()["error"]["code"] == "no-such-cluster"


async def test_cordon_uncordon_drain(as_: As) -> None:
    admin = as_("admin-token")
    assert (await admin.post("/clusters/onprem-a/cordon")).json()["cordoned"]
    assert not (await admin.post("/clusters/onprem-a/uncordon")).json()["cordoned"]
    assert (await admin.post("/clusters/onprem-a/drain")).json() == {"cluster": "onprem-a", "evicted": 2}
    assert (await admin.get("/clusters/onprem-a")).json()["cordoned"]


async def test_remove_is_refused_while_jobs_are_there_unless_forced(as_: As, hub: FakeHub) -> None:
    admin = as_("admin-token")
    assert (await admin.delete("/clusters/onprem-a")).status_code == 409
    assert (await admin.delete("/clusters/onprem-a?force=true")).status_code == 204
    assert (await admin.delete("/clusters/edge-c")).status_code == 204
    assert hub.clusters.clusters == {}


async def test_only_admins_steer(as_: As) -> None:
    client = as_("alice-token")
    for verb in ("cordon", "uncordon", "drain"):
        assert (await client.post(f"/clusters/onprem-a/{verb}")).status_code == 403
    assert (await client.delete("/clusters/edge-c")).status_code == 403
    assert (await client.post("/cluster-tokens", json={"name": "x"})).status_code == 403


async def test_a_cluster_joins_with_a_token_once(as_: As) -> None:
    made = await as_("admin-token").post(
        "/cluster-tokens", json={"name": "edge-d", "region": "sh", "labels": {"a": "b"}}
    )
    assert made.status_code == 201
    stranger = as_("")
    ca = await stranger.get("/ca")
    assert (ca.content, ca.headers["content-type"]) == (PEM, "application/x-pem-file")
    knock = {"token": made.json()["token"], "csr_pem": "csr"}
    joined = await stranger.post("/join", json=knock)
    assert joined.json() == {
        "cluster": "edge-d",
        "certificate_pem": "cert",
        "ca_pem": PEM.decode(),
        "grpc_address": "hub.test:8444",
    }
    assert (await stranger.post("/join", json=knock)).json()["error"]["code"] == "bad-join-token"
