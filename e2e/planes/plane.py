"""One bare control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and kwok for the kubelets.

Everything above the kubelet is the real thing, with RBAC and default admission, so what the spoke may do here it may
do in any cluster. Nodes are objects that kwok keeps ready, and bound pods go through their phases by the stages in
`stages/`; there are no containers, hence no logs. Each program has its own log file and can be killed and started
again by itself.

    with tempfile.TemporaryDirectory() as directory:
        plane = Plane("onprem-a", Path(directory), build.binaries())
        plane.start()                      # about five seconds
        plane.add_nodes(shapes.nodes(shapes.ONPREM_A))
        plane.client.list("v1", "Node")    # as an admin
        plane.kubeconfig                   # an admin's
        plane.spoke_kubeconfig()           # the ServiceAccount of deploy/spoke, with its RBAC and nothing else
        plane.stop()

Not promised: etcd does not fsync, so a power cut may lose what it acknowledged; a killed etcd process does not.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import yaml

from e2e import rbac
from e2e.objects import ObjectClient
from e2e.planes import certificates
from e2e.planes.ports import free_port
from e2e.planes.process import Process
from e2e.waiting import until

STAGES = Path(__file__).resolve().parent / "stages"


@dataclass(frozen=True, slots=True)
class PlaneSettings:
    """Extra flags, for benchmarks that take the usual limits away."""

    api_server: Sequence[str] = ()
    controller_manager: Sequence[str] = field(default=("--kube-api-qps=200", "--kube-api-burst=400"))
    scheduler: Sequence[str] = ()


DEFAULTS = PlaneSettings()


class Plane:
    def __init__(self, name: str, directory: Path, binaries: Path, settings: PlaneSettings = DEFAULTS) -> None:
        self.name = name
        self.directory = directory
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.kubeconfig = directory / "admin.kubeconfig"
        self._token = token_hex(16)
        self._authority = certificates.Authority.make(f"{name}-ca")
        directory.mkdir(parents=True, exist_ok=True)
        self._write_files()
        etcd_url = f"http://127.0.0.1:{free_port()}"
        self.processes = self._programs(binaries, etcd_url, settings)
        self.client = ObjectClient(self.url, self._token, self.ca_pem)

    @property
    def ca_pem(self) -> bytes:
        return self._authority.pair.certificate_pem

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Returns when the API server is ready and the controllers act."""
        self["etcd"].start()
        self["kube-apiserver"].start()
        self.wait_ready()
        for name in ("kube-controller-manager", "kube-scheduler", "kwok"):
            self[name].start()
        # The first thing the controllers do that everybody else needs: pods are refused without it.
        self._wait("the default ServiceAccount", lambda: self.client.get("v1", "ServiceAccount", "default"))

    def stop(self) -> None:
        self.client.close()
        # Those that watch first, so that they do not log the loss of what is stopped after them.
        for process in reversed(self.processes.values()):
            process.kill() if process.name in ("etcd", "kube-apiserver", "kwok") else process.stop(1)

    def __getitem__(self, process: str) -> Process:
        return self.processes[process]

    def restart_api_server(self) -> None:
        """Kills it as a crash does and starts it again on the same port; returns when it is ready."""
        self["kube-apiserver"].kill()
        self["kube-apiserver"].start()
        self.wait_ready()

    def wait_ready(self) -> None:
        self._wait("/readyz", self.client.ready)

    def _wait(self, what: str, probe: Any) -> None:
        def running() -> Any:
            for process in self.processes.values():
                process.must_run()
            return probe()

        until(f"{what} of {self.name}", running, timeout_s=60)

    # -- contents ------------------------------------------------------------------------------------------------

    def add_nodes(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        """Returns when they all are ready and untainted."""
        for node in nodes:
            self.client.create(node)

        def ready() -> bool:
            seen = self.client.list("v1", "Node")
            return len(seen) >= len(nodes) and all(_is_ready(node) for node in seen)

        self._wait(f"{len(nodes)} ready nodes", ready)

    def spoke_kubeconfig(self) -> Path:
        """A kubeconfig with a real ServiceAccount token of deploy/spoke's RBAC."""
        path = self.directory / "spoke.kubeconfig"
        self._write_kubeconfig(path, "spoke", rbac.spoke_token(self.client))
        return path

    # -- how it is put together ----------------------------------------------------------------------------------

    def _write_files(self) -> None:
        serving = self._authority.serving("127.0.0.1", "localhost", "kubernetes.default.svc")
        self._write("ca.crt", self.ca_pem)
        self._write("server.crt", serving.certificate_pem)
        self._write("server.key", serving.key_pem)
        self._write("service-accounts.key", certificates.rsa_key_pem())
        self._write("tokens.csv", f'{self._token},admin,admin,"system:masters"\n'.encode())
        self._write_kubeconfig(self.kubeconfig, "admin", self._token)

    def _write(self, name: str, data: bytes) -> None:
        path = self.directory / name
        path.write_bytes(data)
        path.chmod(0o600)

    def _write_kubeconfig(self, path: Path, user: str, token: str) -> None:
        cluster = {"server": self.url, "certificate-authority-data": base64.b64encode(self.ca_pem).decode()}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.name, "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": self.name, "context": {"cluster": self.name, "user": user}}],
            "current-context": self.name,
        }
        self._write(path.name, yaml.safe_dump(config).encode())

    def _programs(self, binaries: Path, etcd_url: str, settings: PlaneSettings) -> dict[str, Process]:
        commands = {
            "etcd": self._etcd(etcd_url),
            "kube-apiserver": [*self._api_server(etcd_url), *settings.api_server],
            "kube-controller-manager": [*self._controller_manager(), *settings.controller_manager],
            "kube-scheduler": [*self._client_flags(), *settings.scheduler],
            "kwok": self._kwok(),
        }
        return {
            name: Process(name, [str(binaries / name), *flags], self.directory / f"{name}.log")
            for name, flags in commands.items()
        }

    def _etcd(self, url: str) -> list[str]:
        peer = f"http://127.0.0.1:{free_port()}"
        return [
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _api_server(self, etcd_url: str) -> list[str]:
        at = self.directory
        return [
            f"--etcd-servers={etcd_url}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            # The `kubernetes` Service would need an address that is not loopback; nothing here calls it.
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={at / 'server.crt'}",
            f"--tls-private-key-file={at / 'server.key'}",
            f"--service-account-key-file={at / 'service-accounts.key'}",
            f"--service-account-signing-key-file={at / 'service-accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={at / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            # Restarts are part of the suite; connections need no minute to drain.
            "--shutdown-delay-duration=0s",
        ]

    def _controller_manager(self) -> list[str]:
        return [
            *self._client_flags(),
            f"--service-account-private-key-file={self.directory / 'service-accounts.key'}",
            f"--root-ca-file={self.directory / 'ca.crt'}",
        ]

    def _client_flags(self) -> list[str]:
        # Port 0: serves nothing. What they do shows in the API server.
        return [f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0"]

    def _kwok(self) -> list[str]:
        files = ",".join(str(path) for path in sorted(STAGES.glob("*.yaml")))
        return [
            f"--kubeconfig={self.kubeconfig}",
            "--manage-all-nodes=true",
            f"--config={files}",
            "--node-lease-duration-seconds=40",
            "--cidr=10.0.0.0/8",
        ]


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and not node["spec"].get("taints")
