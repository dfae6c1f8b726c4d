"""The identity that the spoke gets in a test: what deploy/spoke gives it in a cluster, no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from e2e.objects import ObjectClient

MANIFEST = Path(__file__).resolve().parent.parent / "deploy" / "spoke" / "rbac.yaml"


def spoke_token(client: ObjectClient) -> str:
    """Applies the manifest and asks for a token of the ServiceAccount in it."""
    account: dict[str, Any] | None = None
    for obj in yaml.safe_load_all(MANIFEST.read_text()):
        if obj:
            client.apply(obj)
            account = obj if obj["kind"] == "ServiceAccount" else account
    assert account is not None, f"{MANIFEST} holds no ServiceAccount"
    path = (
        f"{client.path('v1', 'ServiceAccount', account['metadata']['namespace'])}/{account['metadata']['name']}/token"
    )
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 86400}}
    return str(client.request("POST", path, request)["status"]["token"])
