"""Logs, commands, ports and events of real containers, by the CLI from outside, where only the hub is known."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from e2e import manifests, truth
from e2e.kind.installed import InstalledFederation
from e2e.pods import TRAIN_IMAGE
from e2e.shapes import H100
from e2e.waiting import until
from placement.lifecycle import Phase

SERVES = """
import http.server, os, sys
rank = os.environ['JOB_COMPLETION_INDEX']
os.chdir('/tmp')
open('rank', 'w').write(rank)
open('large', 'wb').write(b'x' * (16 << 20))
print('serving as', rank, flush=True)
http.server.ThreadingHTTPServer(('', 8000), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def test_a_job_is_operated_from_outside(federation: InstalledFederation) -> None:
    manifest = manifests.indexed_job("operated", pods=2, gpus=2, product=H100)
    manifest["spec"]["template"]["metadata"] = {"labels": {"app": "operated"}}
    manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
    container = {"image": TRAIN_IMAGE, "command": ["python", "-u", "-c", SERVES]}
    manifest["spec"]["template"]["spec"]["containers"][0] |= container
    spec = {"selector": {"app": "operated"}, "ports": [{"port": 80, "targetPort": 8000}]}
    metadata = {"name": "operated", "namespace": manifest["metadata"].get("namespace", "default")}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    file = federation.directory / "operated.yaml"
    file.write_bytes(manifests.text(service, manifest))
    job = json.loads(federation.muster("submit", str(file), "--output", "json"))["jobs"][0]["job"]["id"]
    shown = federation.wait_phase(job, Phase.RUNNING, timeout_s=90)
    cluster = federation.member(shown.cluster)
    pods = [pod["metadata"]["name"] for pod in sorted(truth.pods_of(cluster, job), key=truth_index)]

    def says(rank: int) -> bool:
        return federation.muster("logs", job, "--rank", str(rank)) == f"{pods[rank]} | serving as {rank}\n"

    for rank in (0, 1):
        until(f"the log of rank {rank}", lambda rank=rank: says(rank), timeout_s=60, every_s=0.5)  # type: ignore[misc]  # bound now
    stamped = federation.muster("logs", job, "--rank", "0", "--timestamps", "--since", "10m", "--tail", "1")
    assert stamped.startswith(f"{pods[0]} | 20"), stamped
    assert stamped.endswith("Z serving as 0\n"), stamped

    shell = "cat; echo $JOB_COMPLETION_INDEX; hostname; echo oops >&2; exit 3"
    done = outside(federation, "exec", "-i", job, "--rank", "1", "--", "sh", "-c", shell, stdin=b"hello\n" * 50_000)
    assert done.returncode == 3, done
    assert done.stdout.startswith(b"hello\n" * 50_000 + b"1\n"), done.stdout[-200:]
    assert done.stderr == b"oops\n"
    assert outside(federation, "exec", job, "--", "no-such-command").returncode != 0

    for more, expected in ((["8000", "--rank", "1"], b"1"), (["80", "--service", "operated"], b"0")):
        local, *options = more
        with Forwarding(federation, job, f"0:{local}", *options) as address, ThreadPoolExecutor(20) as pool:
            got = set(pool.map(lambda _, at=address: get(f"{at}/rank"), range(40)))
            assert got == {expected}
            assert len(get(f"{address}/large")) == 16 << 20

    events = federation.muster("events", job)
    times = [line[:19] for line in events.splitlines()]
    assert times == sorted(times), events
    for words in ("muster", "submit", "kubelet", "Started", "SuccessfulCreate", f"Pod {pods[0]}"):
        assert words in events, events
    audit = federation.muster("audit")
    assert "sh -c cat" in audit
    assert "operated:80" in audit

    federation.admin.cancel(job)
    federation.wait_phase(
        job, Phase.CANCELLED, timeout_s=90
    )  # as the first process of its container it heeds no SIGTERM
    until("the pods to go", lambda: not truth.pods_of(cluster, job), timeout_s=60)
    kept = federation.muster("logs", job)
    said = [line for line in kept.splitlines() if "serving as" in line]  # what was asked of its port is in there too
    assert sorted(said) == sorted(f"{pods[rank]} | serving as {rank}" for rank in (0, 1)), kept


def truth_index(pod: dict[str, Any]) -> int:
    return int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])


def environment(federation: InstalledFederation) -> dict[str, str]:
    import os

    who = {"MUSTER_URL": federation.url, "MUSTER_TOKEN": federation.admin_token, "MUSTER_CA": str(federation.ca)}
    return {**os.environ, **who, "NO_COLOR": "1", "COLUMNS": "200"}


def outside(federation: InstalledFederation, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "hub.cli.main", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, timeout=120, check=False, env=environment(federation)
    )


class Forwarding:
    def __init__(self, federation: InstalledFederation, *arguments: str) -> None:
        command = [sys.executable, "-m", "hub.cli.main", "port-forward", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(federation))

    def __enter__(self) -> str:
        assert self._process.stdout is not None
        return "http://127.0.0.1:" + self._process.stdout.readline().split("127.0.0.1:")[1].split()[0]

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(20)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        data: bytes = answer.read()
    return data
