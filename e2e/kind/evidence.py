"""What is gathered of a cluster when a scenario fails: its objects as kubectl shows them, and every pod's log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from e2e.kind.clusters import KindCluster
from e2e.kind.commands import CommandFailed, run
from e2e.objects import ApiError

# File name -> what kubectl is asked. A cluster that is cut off or stopped answers none of it: each gives up soon.
QUESTIONS = {
    "objects.txt": ("get", "nodes,pods,jobs,statefulsets,deployments,services,pvc,pv", "-A", "-o", "wide"),
    "events.txt": ("get", "events", "-A", "--sort-by=.lastTimestamp"),
    "nodes.txt": ("describe", "nodes"),
    "pods.txt": ("describe", "pods", "-A"),
    "pods.yaml": ("get", "pods", "-A", "-o", "yaml"),
    "jobs.yaml": ("get", "jobs", "-A", "-o", "yaml"),
    "pytorchjobs.yaml": ("get", "pytorchjobs", "-A", "-o", "yaml"),
}
QUICK = ("--request-timeout=10s",)


def write(cluster: KindCluster, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, question in QUESTIONS.items():
        (directory / name).write_text(_safely(lambda q=question: cluster.kubectl(*QUICK, *q, timeout_s=30)))  # type: ignore[misc]  # bound now
    (directory / "releases.txt").write_text(_safely(lambda: cluster.helm("list", "--all-namespaces", timeout_s=30)))
    (directory / "containers.txt").write_text(_safely(lambda: run("docker", "ps", "--all", "--size", timeout_s=60)))
    for namespace, pod in _pods(cluster):
        (directory / f"{namespace}.{pod}.log").write_text(log_of(cluster, namespace, pod, lines=-1))


def log_of(cluster: KindCluster, namespace: str, pod: str, lines: int = 150) -> str:
    """Of all its containers, and of the run before where it has one."""
    ask = (*QUICK, "--namespace", namespace, "logs", pod, "--all-containers", "--prefix", f"--tail={lines}")
    now = _safely(lambda: cluster.kubectl(*ask, timeout_s=30))
    try:
        before = cluster.kubectl(*ask, "--previous", timeout_s=30)
    except CommandFailed:
        return now
    return f"{before}----- restarted -----\n{now}"


def _pods(cluster: KindCluster) -> list[tuple[str, str]]:
    try:
        return [(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in cluster.pods()]
    except (ApiError, OSError):
        return []


def _safely(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except CommandFailed as error:
        return f"({error})\n"
