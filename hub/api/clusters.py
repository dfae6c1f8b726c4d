"""/v1/clusters, and the two doors that a spoke without a certificate may knock at: /v1/ca and /v1/join."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from hub.api import present
from hub.api.door import Caller, Served
from hub.api.schemas import (
    ClusterLabelsIn,
    ClusterListOut,
    ClusterOut,
    ClusterTokenIn,
    ClusterTokenOut,
    DrainedOut,
    JoinIn,
    JoinOut,
)

router = APIRouter(tags=["clusters"])


@router.get("/clusters")
async def list_clusters(served: Served, actor: Caller) -> ClusterListOut:
    return ClusterListOut(clusters=[present.cluster(one) for one in await served.clusters.list(actor)])


@router.get("/clusters/{name}")
async def show(name: str, served: Served, actor: Caller) -> ClusterOut:
    return present.cluster(await served.clusters.show(actor, name))


@router.delete("/clusters/{name}", status_code=204)
async def remove(name: str, served: Served, actor: Caller, force: bool = False) -> None:
    """Ends the cluster's stream at once. Refused while jobs hold capacity there, unless forced."""
    await served.clusters.remove(actor, name, force=force)


@router.post("/clusters/{name}/cordon")
async def cordon(name: str, served: Served, actor: Caller) -> ClusterOut:
    """It takes no new jobs; those that it has run on."""
    await served.clusters.cordon(actor, name, True)
    return present.cluster(await served.clusters.show(actor, name))


@router.post("/clusters/{name}/uncordon")
async def uncordon(name: str, served: Served, actor: Caller) -> ClusterOut:
    await served.clusters.cordon(actor, name, False)
    return present.cluster(await served.clusters.show(actor, name))


@router.post("/clusters/{name}/labels")
async def label(name: str, body: ClusterLabelsIn, served: Served, actor: Caller) -> ClusterOut:
    """Sets the labels given, and takes away those that are null. Selectors see it at once."""
    await served.clusters.label(actor, name, body.labels)
    return present.cluster(await served.clusters.show(actor, name))


@router.post("/clusters/{name}/drain")
async def drain(name: str, served: Served, actor: Caller) -> DrainedOut:
    """Cordons it and sends its jobs back to the queue."""
    return DrainedOut(cluster=name, evicted=await served.clusters.drain(actor, name))


@router.post("/cluster-tokens", status_code=201)
async def make_token(body: ClusterTokenIn, served: Served, actor: Caller) -> ClusterTokenOut:
    token = await served.clusters.make_token(actor, body.name, region=body.region, labels=body.labels)
    return ClusterTokenOut(cluster=body.name, token=token)


@router.get(
    "/ca", response_class=Response, responses={200: {"content": {"application/x-pem-file": {}}, "description": "PEM"}}
)
async def ca(served: Served) -> Response:
    """The hub's CA certificate. Worth nothing unverified: a join token carries its hash."""
    return Response(served.ca_pem, media_type="application/x-pem-file")


@router.post("/join")
async def join(body: JoinIn, request: Request, served: Served) -> JoinOut:
    joined = await served.clusters.join(body.token, body.csr_pem.encode())
    host, _, port = served.grpc_address.rpartition(":")
    host = host or request.url.hostname or "localhost"
    return JoinOut(
        cluster=joined.cluster,
        certificate_pem=joined.certificate_pem.decode(),
        ca_pem=joined.ca_pem.decode(),
        # The name that the spoke reached this door by is one that it can reach, and that the certificate has.
        grpc_address=f"[{host}]:{port}" if ":" in host.strip("[]") and not host.startswith("[") else f"{host}:{port}",
    )
