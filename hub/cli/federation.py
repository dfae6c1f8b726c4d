"""A federation on this machine: a hub on SQLite and three spokes, each a process of its own. For the demo and `up`.

The directory holds everything: `hub/`, one folder per spoke, the ports, a context file for the CLI, and a log file of
each process. Started again on the same directory it is the same federation. The clusters are host clusters with the
GPUs that deploy/demo/clusters declares.

Not promised: supervision. A process that ends takes the federation down, with the place of its log.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hub.cli import context
from hub.client import ApiError, HubUnreachable, MusterClient

FILES = Path(__file__).resolve().parents[2] / "deploy" / "demo"
HUB = "hub"
START_S = 60.0  # patience with each process on a slow, busy machine
STOP_S = 8.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Site:
    name: str
    region: str

    @property
    def nodes(self) -> Path:
        return FILES / "clusters" / f"{self.name}.yaml"


SITES = (Site("onprem-a", "eu-north"), Site("cloud-b", "us-east"), Site("edge-c", "eu-west"))


class FederationFailed(Exception):
    """It did not start, or stopped; the message says what happened and where to look."""


class Federation:
    """Use as a context manager: leaving it stops hub and spokes, whatever happened."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock: int | None = None

    def __enter__(self) -> Federation:
        """Raises FederationFailed."""
        if not FILES.is_dir():
            raise FederationFailed(f"{FILES} is missing: run this from a checkout of the repository (make demo)")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FederationFailed(f"a federation runs in {self.directory} already: stop it, or name another") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._lock is not None:
            os.close(self._lock)

    @property
    def context_file(self) -> Path:
        """The hub writes it: where it is, its CA, the admin's token."""
        return self.directory / HUB / "context.json"

    def log_of(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def start_hub(self) -> MusterClient:
        """Returns once it answers. Raises FederationFailed."""
        rest, grpc = self._ports()
        self._spawn(
            HUB,
            *("hub", "--data-dir", str(self.directory / HUB), "--price-book", str(FILES / "prices.yaml")),
            *("--rest-port", str(rest), "--grpc-port", str(grpc)),
        )
        self._until(HUB, self._answers, "to answer")
        return self._dial()

    def start_spoke(self, site: Site, client: MusterClient) -> None:
        """Returns at once; `until_ready` waits. Only a spoke that never joined needs a token."""
        home = self.directory / site.name
        joined = home.is_dir() and any(known.name == site.name for known in client.clusters())
        environment = {}
        if not joined:
            environment["MUSTER_SPOKE_TOKEN"] = client.cluster_token(site.name, region=site.region)
        self._spawn(
            site.name,
            *("spoke", "--hub", client.url, "--cluster", "host", "--state-dir", str(home)),
            *("--nodes", str(site.nodes)),
            environment=environment,
        )

    def until_ready(self, site: Site, client: MusterClient) -> None:
        """Raises FederationFailed."""
        self._until(site.name, lambda: client.cluster(site.name).health == "ready", "to join and report")

    def pid_of(self, name: str) -> int:
        """Of a process that was started: the hub's or a spoke's."""
        return self._processes[name].pid

    def check(self) -> None:
        """Raises FederationFailed where a process has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise FederationFailed(f"{name} ended with code {process.returncode}\n{self._tail(name)}")

    def stop(self) -> None:
        """Spokes first, so that they can say good-bye; pods' processes go on."""
        for name, process in reversed(self._processes.items()):
            if process.poll() is None and name != HUB:
                process.terminate()
        self._wait(name for name in self._processes if name != HUB)
        if HUB in self._processes and self._processes[HUB].poll() is None:
            self._processes[HUB].terminate()
        self._wait(self._processes)
        self._processes.clear()

    def running_pods(self) -> int:
        """Containers whose processes run, of all spokes."""
        from spoke.cluster import pod_shim

        return sum(pod_shim.alive(claim.parent) for site in SITES for claim in self._home(site).rglob("shim.json"))

    def stop_pods(self) -> int:
        """Ends what the spokes left running; how many there were."""
        from spoke.cluster import pod_shim

        return sum(pod_shim.sweep(self._home(site), grace_s=1.0) for site in SITES)

    def _home(self, site: Site) -> Path:
        return self.directory / site.name

    def _ports(self) -> tuple[int, int]:
        """REST and gRPC: free ones at first, then the same for good, since the spokes remember them."""
        file = self.directory / "ports.json"
        if not file.exists():
            with socket.socket() as rest, socket.socket() as grpc:
                for one in (rest, grpc):
                    one.bind(("127.0.0.1", 0))
                file.write_text(json.dumps([rest.getsockname()[1], grpc.getsockname()[1]]))
        rest_port, grpc_port = json.loads(file.read_text())
        return int(rest_port), int(grpc_port)

    def _spawn(self, name: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        with self.log_of(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "hub.cli.main", *arguments],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C is ours: they are stopped in order
                preexec_fn=_end_with_parent,
            )

    def _answers(self) -> bool:
        if not self.context_file.exists():
            return False
        with self._dial() as client:
            client.whoami()
        return True

    def _dial(self) -> MusterClient:
        return context.dial(context.resolve({"MUSTER_CONTEXT": str(self.context_file)}))

    def _until(self, name: str, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_S
        while True:
            self.check()
            with contextlib.suppress(ApiError, HubUnreachable):
                if done():
                    return
            if time.monotonic() > deadline:
                raise FederationFailed(f"{name} took more than {START_S:g} s {what}\n{self._tail(name)}")
            time.sleep(POLL_S)

    def _wait(self, names: Iterable[str]) -> None:
        deadline = time.monotonic() + STOP_S
        for name in names:
            try:
                self._processes[name].wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                self._processes[name].kill()
                self._processes[name].wait()

    def _tail(self, name: str, lines: int = 12) -> str:
        text = self.log_of(name).read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([*(f"  {line}" for line in text), f"the whole log: {self.log_of(name)}"])


def _end_with_parent() -> None:
    """Where the kernel offers it: killed by SIGKILL, we cannot stop them."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
