"""What the spoke needs of a ResourceClaim, read once from its JSON: what it asks, who has it, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from placement.dra import requests
from placement.dra.devices import DeviceId
from placement.dra.requests import ClaimRefused, ClaimSpec
from spoke.cluster.port import Object

API_VERSION = "resource.k8s.io/v1"
KIND = "ResourceClaim"
FINALIZER = "resource.kubernetes.io/delete-protection"  # Kubernetes' own: what is allocated is not just deleted
MOST_USERS = 256  # of one claim, as the API server allows it


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    namespace: str
    name: str
    uid: str
    version: int  # its resourceVersion; 0 where that is no number
    spec: ClaimSpec
    refused: str  # why Muster does not allocate such a claim
    allocated: bool
    devices: frozenset[DeviceId]  # that nobody else may have
    nodes: frozenset[str] | None  # from which what is allocated can be used; None: from any
    users: frozenset[str]  # uids of pods
    maker: str  # uid of the pod that it was made for; "" where people made it
    deleting: bool
    obj: Object

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


def read(obj: Object) -> ClaimFacts:
    metadata, status = obj["metadata"], obj.get("status") or {}
    allocation = status.get("allocation")
    try:
        spec, refused = requests.read(obj.get("spec") or {}), ""
    except ClaimRefused as error:
        spec, refused = ClaimSpec(), str(error)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        spec, refused = ClaimSpec(), f"it cannot be read ({error!r})"
    version = str(metadata.get("resourceVersion", ""))
    return ClaimFacts(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata["uid"],
        version=int(version) if version.isdigit() else 0,
        spec=spec,
        refused=refused,
        allocated=allocation is not None,
        devices=_devices(allocation or {}),
        nodes=_nodes(allocation or {}),
        users=frozenset(user["uid"] for user in status.get("reservedFor") or ()),
        maker=next((o["uid"] for o in metadata.get("ownerReferences") or () if o.get("kind") == "Pod"), ""),
        deleting="deletionTimestamp" in metadata,
        obj=obj,
    )


def _devices(allocation: Mapping[str, Any]) -> frozenset[DeviceId]:
    """Devices had with admin access are not taken from anybody."""
    results: Sequence[Mapping[str, Any]] = list((allocation.get("devices") or {}).get("results") or ())
    return frozenset((r["driver"], r["pool"], r["device"]) for r in results if not r.get("adminAccess"))


def _nodes(allocation: Mapping[str, Any]) -> frozenset[str] | None:
    """Selectors that do more than name nodes are not followed: no node then counts as one of them."""
    selector = allocation.get("nodeSelector")
    if selector is None:
        return None
    names: set[str] = set()
    for term in selector.get("nodeSelectorTerms") or ():
        fields: Sequence[Mapping[str, Any]] = list(term.get("matchFields") or ())
        if not term.get("matchExpressions") and len(fields) == 1 and fields[0].get("operator") == "In":
            names.update(fields[0].get("values") or ())
    return frozenset(names)
