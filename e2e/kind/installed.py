"""A federation installed as users install it: the hub by its chart in one cluster, and a spoke by its own in each.

The hub runs in the cluster that nothing is done to (HOME), and is reached by its NodePorts: by name from the other
clusters' pods, by address from this process, as from any machine that shares a network with the nodes. Spokes are
installed by `muster cluster install`, which makes the token and runs Helm. For scenarios that break or change things:

    federation.hub_pod, federation.spoke_pod(cluster)     names of pods, in NAMESPACE
    federation.home                                       the KindCluster of the hub
    federation.upgrade_hub(...), upgrade_spoke(...)       helm upgrade with further values
    federation.uninstall_hub(), uninstall_spoke(cluster)  and nothing of the release is left when they return
    federation.muster(...)                                the real CLI, from outside, as the admin: what it prints

Everything that the charts make lies in NAMESPACE, which enforces Pod Security `restricted`.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from e2e.federation import Federation
from e2e.kind import evidence, volumes
from e2e.kind.clusters import CONTROL_PLANE, KindCluster
from e2e.kind.commands import ROOT, run
from e2e.kind.training_operator import RESTRICTED
from e2e.waiting import until
from hub.client import HubUnreachable, MusterClient

NAMESPACE = "muster-system"
HOME = "edge-c"
HUB, SPOKE = "muster-hub", "muster-spoke"  # releases, and the names of what they make
REST_PORT, LINK_PORT = 30443, 30444
HUB_CHART, SPOKE_CHART = ROOT / "deploy" / "hub", ROOT / "deploy" / "spoke"

# On control planes, where no scenario stops a node under them, and small: eight nodes share this machine.
PLACE: dict[str, Any] = {
    "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}},
    "nodeSelector": {CONTROL_PLANE: ""},
    "tolerations": [{"key": CONTROL_PLANE, "operator": "Exists"}],
}
# Short intervals, so that faults are noticed while a scenario waits.
SPOKE_VALUES: dict[str, Any] = PLACE | {"settings": {"reconnectSeconds": 2}}


class InstalledFederation(Federation):
    clusters: Mapping[str, KindCluster]

    def __init__(self, directory: Path, clusters: Mapping[str, KindCluster]) -> None:
        super().__init__(directory, clusters)
        self.home = clusters[HOME]
        self._token = ""
        self._address = self.home.address

    # -- life ----------------------------------------------------------------------------------------------------

    def start_hub(self) -> None:
        self.home.client.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": RESTRICTED}}
        )
        values = PLACE | {
            "service": {"type": "NodePort", "restNodePort": REST_PORT, "grpcNodePort": LINK_PORT},
            "publicNames": [self.home.control_plane, self._address],
            "settings": {"heartbeatSeconds": 1, "leaseSeconds": 6},
            "persistence": {"storageClass": volumes.class_for(self.home, HUB)},
        }
        self._values(HUB).write_text(yaml.safe_dump(values))
        self.upgrade_hub()
        secret = self.home.client.get("v1", "Secret", f"{HUB}-admin", NAMESPACE)
        assert secret is not None, f"the chart made no Secret {HUB}-admin"
        self._token = base64.b64decode(secret["data"]["token"]).decode()
        self.ca.write_text(
            self.home.kubectl("-n", NAMESPACE, "exec", self.hub_pod, "-c", "hub", "--", "cat", "/var/lib/muster/ca.crt")
        )
        until("the hub to answer from outside", self._answers, timeout_s=60)

    def join(self, name: str) -> None:
        cluster = self.clusters[name]
        values = SPOKE_VALUES | {"persistence": {"storageClass": volumes.class_for(cluster, SPOKE)}}
        self._values(name).write_text(yaml.safe_dump(values))
        self.muster(
            *("cluster", "install", name, "--context", cluster.context, "--region", cluster.shape.region),
            *("--hub", f"https://{self.home.control_plane}:{REST_PORT}", "--values", str(self._values(name))),
            env={"KUBECONFIG": str(cluster.kubeconfig)},
        )

    def stop_programs(self) -> None:
        self.uninstall_hub()
        with ThreadPoolExecutor(len(self.clusters)) as threads:
            list(threads.map(self.uninstall_spoke, self.clusters))
        self.home.client.delete("v1", "Namespace", NAMESPACE)
        for name, cluster in self.clusters.items():
            gone = partial(cluster.client.get, "v1", "Namespace", NAMESPACE)
            until(f"{NAMESPACE} to go from {name}", lambda gone=gone: gone() is None, timeout_s=60, every_s=0.5)  # type: ignore[misc]  # bound now

    # -- from outside --------------------------------------------------------------------------------------------

    @property
    def admin_token(self) -> str:
        return self._token

    @property
    def url(self) -> str:
        return f"https://{self._address}:{REST_PORT}"

    @property
    def ca(self) -> Path:
        return self.directory / "ca.crt"

    def client(self, token: str) -> MusterClient:
        # Patient: scenarios delete the hub's pod under its clients.
        return MusterClient(self.url, token, ca=self.ca, patience_s=30)

    @property
    def link_address(self) -> str:
        return f"{self._address}:{LINK_PORT}"

    def muster(self, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = 300) -> str:
        """Raises CommandFailed with what it said."""
        who = {"MUSTER_URL": self.url, "MUSTER_TOKEN": self._token, "MUSTER_CA": str(self.ca)}
        plain = {"NO_COLOR": "1", "COLUMNS": "200", "MUSTER_CONTEXT": str(self.directory / "context.json")}
        command = (sys.executable, "-m", "hub.cli.main", *arguments)
        return run(*command, env={**who, **plain, **(env or {})}, timeout_s=timeout_s)

    # -- releases and pods ---------------------------------------------------------------------------------------

    @property
    def hub_pod(self) -> str:
        return f"{HUB}-0"

    def spoke_pod(self, cluster: str) -> str:
        """The same in every cluster; named so that a scenario need not know."""
        return f"{SPOKE}-0" if cluster in self.clusters else ""

    def upgrade_hub(self, *arguments: str, chart: Path = HUB_CHART) -> None:
        """Also the first install. `arguments`: further ones of helm's, `--set KEY=VALUE` for instance."""
        values = ("--values", str(self._values(HUB)), *arguments)
        self._helm(self.home, "upgrade", "--install", HUB, str(chart), *values, "--wait", "--timeout", "180s")

    def upgrade_spoke(self, cluster: str, *arguments: str, chart: Path = SPOKE_CHART) -> None:
        """With the values that it was installed with, and `arguments`."""
        self._helm(
            self.clusters[cluster],
            *("upgrade", SPOKE, str(chart), "--reset-then-reuse-values", *arguments, "--wait", "--timeout", "180s"),
        )

    def uninstall_hub(self) -> None:
        """Nothing where it is not installed."""
        self._helm(self.home, "uninstall", HUB, "--ignore-not-found", "--wait", "--timeout", "120s")
        self.wait_gone(self.home, HUB)

    def uninstall_spoke(self, cluster: str) -> None:
        """By the CLI; the namespace goes too where it made it. Nothing where it is not installed."""
        target = self.clusters[cluster]
        self.muster(
            *("cluster", "uninstall", cluster, "--context", target.context),
            env={"KUBECONFIG": str(target.kubeconfig)},
        )
        self.wait_gone(target, SPOKE)

    def wait_gone(self, cluster: KindCluster, release: str) -> None:
        """Until nothing is left that bears the release's name, in the namespace or in the cluster."""

        def gone() -> bool:
            left = self.left_of(cluster, release)
            assert not left, f"there are still {', '.join(left)}"
            return True

        until(f"{release} to go from {cluster.name}", gone, timeout_s=90, every_s=0.5)

    def left_of(self, cluster: KindCluster, release: str) -> Sequence[str]:
        kinds = "all,pvc,pv,secret,configmap,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding"
        more = "priorityclass,poddisruptionbudget,networkpolicy,lease"
        found = cluster.kubectl(
            *("get", f"{kinds},{more}", "--all-namespaces", "-o", "name"),
            *("-l", f"app.kubernetes.io/instance={release}", "--ignore-not-found"),
        )
        return found.split()

    def _helm(self, cluster: KindCluster, *arguments: str) -> str:
        return cluster.helm("--namespace", NAMESPACE, *arguments)

    def _values(self, name: str) -> Path:
        return self.directory / f"{name}.values.yaml"

    def _answers(self) -> bool:
        with self.client(self._token) as client:
            try:
                return client.ready().status == "ok"
            except HubUnreachable as error:
                raise AssertionError(str(error)) from error

    # -- for the report of a failed scenario ---------------------------------------------------------------------

    def logs(self) -> dict[str, str]:
        found = {"muster hub": evidence.log_of(self.home, NAMESPACE, self.hub_pod)}
        for name, cluster in self.clusters.items():
            found[f"muster spoke {name}"] = evidence.log_of(cluster, NAMESPACE, self.spoke_pod(name))
        return found

    def keep_evidence(self, directory: Path) -> None:
        for name, cluster in self.clusters.items():
            evidence.write(cluster, directory / name)
