"""The identity that the spoke gets in a test: what deploy/spoke gives it in a cluster, no more.

The rules are read from the chart's own files; what the chart makes around them is made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from e2e.objects import ObjectClient

RULES = Path(__file__).resolve().parent.parent / "deploy" / "spoke" / "files"
NAMESPACE = "muster-system"
ACCOUNT = "muster-spoke"
_RBAC = "rbac.authorization.k8s.io"


def spoke_token(client: ObjectClient) -> str:
    """Makes the ServiceAccount with its roles, and asks for a token of it."""
    for obj in objects():
        client.apply(obj)
    path = f"{client.path('v1', 'ServiceAccount', NAMESPACE)}/{ACCOUNT}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 86400}}
    return str(client.request("POST", path, request)["status"]["token"])


def objects() -> list[dict[str, Any]]:
    """In the order in which they can be made. The namespaces that roles are in are there already."""
    made: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": NAMESPACE}},
        *_role("ClusterRole", "", cluster_rules()),
    ]
    for namespace, rules in namespace_rules().items():
        made += _role("Role", namespace, rules)
    return made


def cluster_rules(*, more: bool = True) -> list[dict[str, Any]]:
    """With those for all that `policy.access` gives, and (`more`) those that an owner adds: rbac.metrics=true, and any
    kind of the table in policy.distributed.kinds."""
    names = ("cluster-rules.yaml", *(("metrics-rules.yaml",) if more else ()))
    texts = [(RULES / name).read_text() for name in names]
    into_pods = {"apiGroups": [""], "resources": ["pods/exec", "pods/portforward"], "verbs": ["get", "create"]}
    return [
        *(rule for text in texts for rule in yaml.safe_load(text)),
        into_pods,
        *(distributed_rules() if more else ()),
    ]


def distributed_rules() -> list[dict[str, Any]]:
    """As the chart makes them where the owner allows every kind of the table."""
    verbs = ["get", "list", "watch", "create", "patch", "delete"]
    table = yaml.safe_load((RULES / "distributed-rules.yaml").read_text())
    return [{"apiGroups": [one["group"]], "resources": one["resources"], "verbs": verbs} for one in table.values()]


def namespace_rules() -> Mapping[str, list[dict[str, Any]]]:
    """namespace -> the rules of the Role there."""
    rules: dict[str, list[dict[str, Any]]] = yaml.safe_load((RULES / "namespace-rules.yaml").read_text())
    return rules


def _role(kind: str, namespace: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    metadata = {"name": ACCOUNT} | ({"namespace": namespace} if namespace else {})
    role = {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata, "rules": rules}
    binding = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": f"{kind}Binding",
        "metadata": metadata,
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
    }
    return [role, binding]
