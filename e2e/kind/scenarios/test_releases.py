"""Upgrading and uninstalling under jobs that run, and what an auditor may look at."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from e2e import manifests, rbac, truth
from e2e.kind import images
from e2e.kind.clusters import KindCluster
from e2e.kind.commands import CommandFailed, run
from e2e.kind.installed import HUB_CHART, NAMESPACE, SPOKE, SPOKE_CHART, InstalledFederation
from e2e.kind.witness import by_uid, is_new_and_ready, pods_everywhere, the_pod, untouched
from e2e.objects import Object
from e2e.shapes import A100, H100
from e2e.waiting import until
from hub.api.schemas import JobDetailOut
from placement.lifecycle import Phase

NEXT = "9.9.9"  # the version of the charts and the image that are upgraded to
PART = "app.kubernetes.io/part-of=muster"


def test_an_upgrade_of_hub_and_spokes_restarts_no_job(
    federation: InstalledFederation, next_image: None, tmp_path: Path
) -> None:
    runs_on = federation.submit(manifests.indexed_job("runs-on", pods=2, gpus=8, product=A100)).id
    ends = federation.submit(manifests.indexed_job("ends", pods=2, gpus=8, product=H100, run_for="30s")).id
    for job in (runs_on, ends):
        federation.wait_phase(job, Phase.RUNNING, timeout_s=60)
    before = pods_everywhere(federation)
    token = admin_secret(federation)
    hub = the_pod(federation.home, federation.hub_pod)
    spokes = {name: the_pod(cluster, federation.spoke_pod(name)) for name, cluster in federation.clusters.items()}

    federation.upgrade_hub(chart=next_chart(HUB_CHART, tmp_path))
    for name in federation.clusters:
        federation.upgrade_spoke(name, chart=next_chart(SPOKE_CHART, tmp_path))

    assert is_new_and_ready(federation.home, federation.hub_pod, hub)
    for name, cluster in federation.clusters.items():
        assert is_new_and_ready(cluster, federation.spoke_pod(name), spokes[name])
        assert image_of(the_pod(cluster, federation.spoke_pod(name))).endswith(f":{NEXT}")
    federation.wait_phase(ends, Phase.SUCCEEDED, timeout_s=90)
    federation.wait_agreed()
    after = pods_everywhere(federation)
    assert set(after) == set(before)
    assert untouched({uid: pod for uid, pod in before.items() if truth.is_live(after[uid])}, after)
    assert [federation.admin.job(job).epoch for job in (runs_on, ends)] == [1, 1]
    assert admin_secret(federation) == token
    again = federation.submit(manifests.job("after-the-upgrade", run_for="1s")).id
    federation.wait_phase(again, Phase.SUCCEEDED, timeout_s=60)


def test_a_spoke_that_is_uninstalled_leaves_the_users_jobs_and_nothing_else(federation: InstalledFederation) -> None:
    """Installed again it finds its place taken by a job it knows nothing of: that one is ended and started anew."""
    job = federation.submit(manifests.indexed_job("stays", pods=2, gpus=8, product=H100)).id
    federation.wait_phase(job, Phase.RUNNING, timeout_s=60)
    cluster = federation.clusters["cloud-b"]
    before = by_uid(truth.pods_of(cluster, job))
    assert everything_of_ours(cluster), "this look finds nothing even while it is installed"

    federation.uninstall_spoke("cloud-b")
    until("nothing of ours to be left", lambda: not everything_of_ours(cluster), timeout_s=60, every_s=1)
    assert untouched(before, by_uid(truth.pods_of(cluster, job)))
    assert cluster.client.get("batch/v1", "Job", "stays") is not None

    federation.join("cloud-b")
    anew = until("a second attempt", lambda: second_attempt(federation, job), timeout_s=120, every_s=0.5)
    assert anew.phase is Phase.RUNNING
    assert not set(before) & set(by_uid(truth.pods_of(cluster, job)))


def test_the_spokes_account_may_do_what_is_documented_and_no_more(federation: InstalledFederation) -> None:
    """By the API server's own answer, less what any account may do."""
    cluster = federation.clusters["onprem-a"]
    cluster.client.create_if_missing(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody", "namespace": "default"}}
    )
    everywhere = rbac.cluster_rules(more=False)  # as the chart is installed here: without asking for more
    documented = {"": everywhere} | {
        namespace: [*everywhere, *rules] for namespace, rules in rbac.namespace_rules().items()
    }
    for namespace in ("default", "kube-system", NAMESPACE, *rbac.namespace_rules()):
        allowed = may_do(cluster, f"{NAMESPACE}:{SPOKE}", namespace) - may_do(cluster, "default:nobody", namespace)
        assert allowed == flat(documented.get(namespace, documented[""])), f"in namespace {namespace}"
    assert not {(resource, verb) for resource, verb in flat(documented[""]) if "*" in (resource, verb)}


def test_our_pods_pass_the_restricted_standard(federation: InstalledFederation) -> None:
    for cluster in federation.clusters.values():
        namespace = cluster.client.get("v1", "Namespace", NAMESPACE)
        assert namespace is not None
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        assert [pod["metadata"]["name"] for pod in cluster.pods(NAMESPACE)]
        # Enforced, and not a label that nobody reads.
        with pytest.raises(CommandFailed, match="violates PodSecurity"):
            cluster.kubectl(
                *("-n", NAMESPACE, "run", "loose", "--image=x", "--dry-run=server", "--privileged"),
            )


def test_without_a_certificate_the_link_says_nothing(federation: InstalledFederation) -> None:
    host, _, port = federation.link_address.rpartition(":")
    context = ssl.create_default_context(cafile=str(federation.ca))
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host) as secured:
                secured.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
                said = secured.recv(1)
        except (ssl.SSLError, ConnectionError):  # TLS 1.3 asks for it after the handshake, and then hangs up
            said = b""
    assert said == b""


# ---- helpers ----


@pytest.fixture
def next_image(federation: InstalledFederation) -> Iterator[None]:
    """The same program under another name, on every node that a hub or a spoke may be on."""
    image = f"muster:{NEXT}"
    run("docker", "tag", images.muster_image(), image)
    for cluster in federation.clusters.values():
        images.load(cluster, [image], [cluster.control_plane])
    yield
    run("docker", "rmi", image)


def next_chart(chart: Path, directory: Path) -> Path:
    """The chart as its next version would be."""
    copy = directory / chart.name
    if not copy.exists():
        shutil.copytree(chart, copy)
        about = yaml.safe_load((copy / "Chart.yaml").read_text())
        (copy / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": NEXT, "appVersion": NEXT}))
    return copy


def image_of(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def admin_secret(federation: InstalledFederation) -> tuple[str, Object]:
    """Which one it is, and what is in it."""
    found = federation.home.client.get("v1", "Secret", "muster-hub-admin", NAMESPACE)
    assert found is not None
    return found["metadata"]["uid"], found["data"]


def everything_of_ours(cluster: KindCluster) -> list[str]:
    """Objects of every kind that the cluster serves, by label and by name."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    asked = ",".join(kind for kind in kinds if not kind.startswith("events") and "metrics.k8s.io" not in kind)
    labelled = cluster.kubectl("get", asked, "-A", "-l", PART, "-o", "name", "--ignore-not-found").split()
    named = cluster.kubectl("get", f"ns,pv,clusterrole,clusterrolebinding,priorityclass,{asked}", "-A", "-o", "name")
    return sorted(
        {*labelled, *(line for line in named.split() if re.search(r"/(.*-)?muster-(hub|spoke|system)", line))}
    )


def second_attempt(federation: InstalledFederation, job: str) -> JobDetailOut:
    shown = federation.admin.job(job)
    assert (shown.epoch, shown.phase) == (2, Phase.RUNNING), f"epoch {shown.epoch}, {shown.phase}: {shown.reason}"
    return shown


def may_do(cluster: KindCluster, account: str, namespace: str) -> set[tuple[str, str]]:
    """(resource.group, verb), as `kubectl auth can-i --list` has them."""
    listed = cluster.kubectl("auth", "can-i", "--list", "-n", namespace, f"--as=system:serviceaccount:{account}")
    found = re.findall(r"^(\S+)\s+\[[^]]*\]\s+\[[^]]*\]\s+\[([^]]*)\]$", listed, re.MULTILINE)
    assert found, listed
    return {(resource, verb) for resource, verbs in found for verb in verbs.split()}


def flat(rules: list[Object]) -> set[tuple[str, str]]:
    return {
        (_named(resource, group), verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _named(resource: str, group: str) -> str:
    """As kubectl has it: `resourceclaims.resource.k8s.io/status`."""
    name, slash, part = resource.partition("/")
    return f"{name}.{group}{slash}{part}" if group else resource
