"""A DCGM exporter behind the API server's pod proxy: what jobs use is told, and an Xid that it counts moves the job.

The exporter's pod is an object like any other; what answers on its address is a server of this test, with a page in the
exporter's format.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from e2e import manifests, truth
from e2e.federation import Federation
from e2e.objects import ObjectClient
from e2e.scenarios.test_nodes import CLUSTER, reason_of, wait_second_attempt
from e2e.waiting import until
from placement.lifecycle import Phase
from tests.spoke.gpus.dcgm_text import page

pytestmark = pytest.mark.processes

NAMESPACE = "gpu-operator"


def test_what_a_job_uses_and_an_xid_that_is_counted(federation: Federation) -> None:
    hints = {"clusters": f"{CLUSTER},onprem-a"}
    job = federation.submit(manifests.indexed_job("measured", pods=1, gpus=8, hints=hints)).id
    assert federation.wait_phase(job, Phase.RUNNING).cluster == CLUSTER
    cluster = federation.clusters[CLUSTER]
    [pod] = truth.pods_of(cluster, job)
    node, who = pod["spec"]["nodeName"], (pod["metadata"]["namespace"], pod["metadata"]["name"])
    cards = dict.fromkeys(range(8), who)
    with exporter(cluster.client, node) as served:
        served.text = page(cards, util={0: 27.0})

        def measured() -> bool:
            found = federation.admin.top(job)
            [use] = found.jobs
            assert (use.gpus, use.measured) == (8, 8), found
            assert use.util_percent == pytest.approx((7 * 90 + 27) / 8)
            assert (use.used_mib, use.power_w) == (320_000, 4100.0)
            return True

        # Exporters are looked for once a minute at most.
        until("the use of its GPUs to be told", measured, timeout_s=90)
        began = time.monotonic()
        served.text = page(cards, xid={3: 79})
        shown = wait_second_attempt(federation, job)
        took_s = time.monotonic() - began
        print(json.dumps({"source": "dcgm", "from_sign_to_running_elsewhere_s": round(took_s, 1)}))
        assert (str(shown.cluster), node) not in {(CLUSTER, one.node) for one in shown.pods}
        assert "Xid 79 (GPU has fallen off the bus)" in reason_of(federation, job, "interrupted")
        mend(cluster.client, node)
        until("the GPUs to count again", lambda: federation.admin.cluster(CLUSTER).gpus_unusable == 0)


class Served(ThreadingHTTPServer):
    text = b""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Served)
        found = self.server.text if self.path == "/metrics" else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def exporter(client: ObjectClient, node: str) -> Iterator[Served]:
    address = own_address()
    server = Served((address, 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client.create_if_missing({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    container = {
        "name": "exporter",
        "image": "nvcr.io/nvidia/k8s/dcgm-exporter",
        "ports": [{"name": "metrics", "containerPort": server.server_port}],
    }
    labels = {"app": "nvidia-dcgm-exporter"}
    try:
        client.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "dcgm", "namespace": NAMESPACE, "labels": labels},
                "spec": {"nodeName": node, "containers": [container], "serviceAccountName": "default"},
            }
        )
        until("the exporter to run", lambda: runs(client), timeout_s=60)
        # The address that the API server's proxy goes to.
        status = {"podIP": address, "podIPs": [{"ip": address}]}
        client.merge("v1", "Pod", "dcgm", {"status": status}, NAMESPACE, "status")
        yield server
    finally:
        client.delete("v1", "Pod", "dcgm", NAMESPACE)
        server.shutdown()
        server.server_close()


def runs(client: ObjectClient) -> bool:
    found = client.get("v1", "Pod", "dcgm", NAMESPACE)
    return found is not None and (found.get("status") or {}).get("phase") == "Running"


def own_address() -> str:
    """Of this machine, and not a loopback one: API servers proxy to none of those."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            pytest.skip("this machine has no address but its loopback, and API servers proxy to none of those")


def mend(client: ObjectClient, node: str) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    client.merge("v1", "Node", node, {"metadata": {"annotations": {"muster.dev/gpus-repaired-at": now}}})
