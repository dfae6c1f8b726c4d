"""Kubeflow's training-operator, the real one, as a Deployment that passes Pod Security `restricted`.

What it needs beside its CRD: a Secret with the certificate of its webhook, mounted where it looks for it; rights; and
an init container for workers that finds the master by what the scenarios' image has (the default one needs nslookup).
"""

from __future__ import annotations

from typing import Any

from e2e.kind.clusters import CONTROL_PLANE, KindCluster
from e2e.kind.images import OPERATOR_IMAGE
from e2e.objects import Object
from e2e.planes import build, certificates
from e2e.planes.training_operator import NAMESPACE, SERVICE, WEBHOOK, install_crd, secret, webhook
from e2e.pods import TRAIN_IMAGE

NAME = "training-operator"
SERVING = "/tmp/k8s-webhook-server/serving-certs"  # written into the operator
TEMPLATE = "/etc/training-operator"
CRD = "pytorchjobs.kubeflow.org"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}

WAIT_FOR_MASTER = f"""
- name: wait-for-master
  image: {TRAIN_IMAGE}
  imagePullPolicy: IfNotPresent
  command: [sh, -c, "until getent hosts {{{{.MasterAddr}}}}; do sleep 0.5; done"]
"""

RULES: list[dict[str, Any]] = [
    {"apiGroups": ["kubeflow.org"], "resources": ["*"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["pods", "services", "configmaps", "events", "secrets"], "verbs": ["*"]},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["*"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
    {
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["validatingwebhookconfigurations"],
        "verbs": ["get", "list", "watch", "update", "patch"],
    },
]


def install(cluster: KindCluster) -> None:
    """Everything is applied when this returns; `wait` is for the operator itself."""
    client = cluster.client
    known = client.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", CRD) is not None
    install_crd(client, build.binaries())
    if not known:
        cluster.on_leaving(lambda: client.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", CRD))
    authority = certificates.Authority.make("training-operator-ca")
    serving = authority.serving(SERVICE)
    call = {"service": {"namespace": NAMESPACE, "name": NAME, "path": "/validate-kubeflow-org-v1-pytorchjob"}}
    for obj in (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": RESTRICTED}},
        secret(authority.pair, serving),
        *_rights(),
        _settings(),
        _deployment(),
        _service(),
        webhook(call, authority.pair.certificate_pem),
    ):
        client.apply(obj)
    cluster.on_leaving(lambda: _remove(cluster))


def wait(cluster: KindCluster) -> None:
    """Until it reconciles and validates."""
    cluster.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{NAME}", "--timeout=180s", timeout_s=200)


def _remove(cluster: KindCluster) -> None:
    for api_version, kind, name in (
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", WEBHOOK),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", NAME),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", NAME),
        ("v1", "Namespace", NAMESPACE),
    ):
        cluster.client.delete(api_version, kind, name)


def _rights() -> list[Object]:
    api_version = "rbac.authorization.k8s.io/v1"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME}
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": NAMESPACE}},
        {"apiVersion": api_version, "kind": "ClusterRole", "metadata": {"name": NAME}, "rules": RULES},
        {
            "apiVersion": api_version,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME},
            "roleRef": role,
            "subjects": [subject],
        },
    ]


def _settings() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "data": {"initContainer.yaml": WAIT_FOR_MASTER},
    }


def _service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": 443, "targetPort": 9443}]},
    }


def _deployment() -> Object:
    container = {
        "name": NAME,
        "image": OPERATOR_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "--enable-scheme=pytorchjob",
            f"--pytorch-init-container-template-file={TEMPLATE}/initContainer.yaml",
            "--metrics-bind-address=0",
            "--zap-log-level=info",
        ],
        "env": [{"name": "MY_POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8081}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "serving", "mountPath": SERVING, "readOnly": True},
            {"name": "template", "mountPath": TEMPLATE, "readOnly": True},
        ],
    }
    spec = {
        "serviceAccountName": NAME,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": {CONTROL_PLANE: ""},
        "tolerations": [{"key": CONTROL_PLANE, "operator": "Exists"}],
        "containers": [container],
        "volumes": [
            {"name": "serving", "secret": {"secretName": "training-operator-webhook-cert"}},
            {"name": "template", "configMap": {"name": NAME}},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": NAME}},
            "template": {"metadata": {"labels": {"app": NAME}}, "spec": spec},
        },
    }
