"""Kubeflow's training-operator, the real one, as a process beside a control plane.

It insists on serving its validating webhook. Its certificates come from a Secret that a kubelet would mount; here they
are made beforehand, valid, so that its cert-controller has nothing to rotate, and they name 127.0.0.1, so that the
webhook really is called, by URL. The directory it serves from follows TMPDIR; the one whose existence it waits for is
written into the program, so a marker is put there.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from e2e.objects import Object, ObjectClient
from e2e.planes import build, certificates
from e2e.planes.plane import Plane
from e2e.planes.ports import free_port
from e2e.planes.process import Process
from e2e.waiting import until

NAMESPACE = "kubeflow"
SCHEMES = tuple(build.TRAINING_CRDS)
SERVICE = f"training-operator.{NAMESPACE}.svc"
WEBHOOK = "validator.training-operator.kubeflow.org"
# Hard-coded in the operator (pkg/cert): it waits until a file is there, and reads its certificate elsewhere.
MARKER = Path("/tmp/k8s-webhook-server/serving-certs/tls.crt")


def install(plane: Plane, binaries: Path, schemes: Sequence[str]) -> Process:
    """CRDs, Secret and webhook are in place when this returns; the operator, for `schemes`, is still to be started."""
    directory = plane.directory / "training-operator"
    webhook_port, health_port = free_port(), free_port()
    authority = certificates.Authority.make("training-operator-ca")
    serving = authority.serving(SERVICE, "127.0.0.1")
    _write_serving_files(directory / "k8s-webhook-server" / "serving-certs", serving)
    for scheme in schemes:
        install_crd(plane.client, binaries, scheme)
    for obj in (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        secret(authority.pair, serving),
        webhook(
            {"url": f"https://127.0.0.1:{webhook_port}/validate-kubeflow-org-v1-pytorchjob"},
            authority.pair.certificate_pem,
        ),
    ):
        plane.client.create_if_missing(obj)
    return Process(
        "training-operator",
        [
            str(binaries / "training-operator.v1"),
            f"--kubeconfig={plane.kubeconfig}",
            *(f"--enable-scheme={scheme}" for scheme in schemes),
            "--controller-threads=4",
            f"--webhook-server-port={webhook_port}",
            f"--health-probe-bind-address=127.0.0.1:{health_port}",
            "--metrics-bind-address=0",
            "--zap-log-level=info",
        ],
        plane.directory / "training-operator.log",
        env={"TMPDIR": str(directory)},
    )


def start(operator: Process) -> None:
    """Returns once it reconciles and validates."""
    operator.start()
    until(f"{operator.name} to act", lambda: _acts(operator), timeout_s=60)


def install_crd(client: ObjectClient, binaries: Path, scheme: str = "pytorchjob") -> None:
    crd = _crd(binaries / build.TRAINING_CRDS[scheme])
    kind = crd["spec"]["names"]["kind"]
    client.create_if_missing(crd)
    until(f"the CRD of {kind}", lambda: client.serves("kubeflow.org/v1", kind))


def _acts(operator: Process) -> bool:
    operator.must_run()
    log = operator.log.read_text(errors="replace")
    return '"controller": "pytorchjob-controller", "worker count"' in log and "Serving webhook server" in log


@cache
def _crd(path: Path) -> Object:
    crd: Object = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return crd


def _write_serving_files(directory: Path, serving: certificates.Pair) -> None:
    directory.mkdir(parents=True)
    (directory / "tls.crt").write_bytes(serving.certificate_pem)
    (directory / "tls.key").write_bytes(serving.key_pem)
    if not MARKER.exists():
        MARKER.parent.mkdir(parents=True, exist_ok=True)
        MARKER.touch()


def secret(authority: certificates.Pair, serving: certificates.Pair) -> Object:
    data = {
        "ca.crt": authority.certificate_pem,
        "ca.key": authority.key_pem,
        "tls.crt": serving.certificate_pem,
        "tls.key": serving.key_pem,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "training-operator-webhook-cert", "namespace": NAMESPACE},
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def webhook(call: Object, ca_pem: bytes) -> Object:
    """`call`: where the API server reaches it, as a clientConfig has it: a URL, or a Service and a path."""
    rule: dict[str, Any] = {
        "apiGroups": ["kubeflow.org"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["pytorchjobs"],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": WEBHOOK},
        "webhooks": [
            {
                "name": "validator.pytorchjob.training-operator.kubeflow.org",
                "admissionReviewVersions": ["v1"],
                "clientConfig": call | {"caBundle": base64.b64encode(ca_pem).decode()},
                "failurePolicy": "Fail",
                "rules": [rule],
                "sideEffects": "None",
                "timeoutSeconds": 10,
            }
        ],
    }
