"""The real programs as processes: how `muster hub` and `muster spoke` are started, and nothing else knows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e.cable import Cable
from e2e.planes import build
from e2e.planes.ports import free_port
from e2e.planes.process import Process
from e2e.waiting import until
from hub.client import HubUnreachable, MusterClient

MUSTER = (sys.executable, "-m", "hub.cli.main")
ROOT = Path(__file__).resolve().parent.parent
# Each start imports two thousand modules. Where the environment says to keep no bytecode, that is three seconds of
# compiling; the scenarios start these programs a hundred times, so they get a place for it outside the tree.
BYTECODE = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(build.cache_root() / "bytecode")}
# Scenarios kill the hub again and again; a spoke's patience grows with that.
SPOKE = {**BYTECODE, "MUSTER_SPOKE_RECONNECT_S": "2"}


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Short intervals, so that faults are noticed while a scenario waits; `more` are MUSTER_HUB_… variables."""

    heartbeat_s: float = 1
    lease_s: float = 6
    more: Mapping[str, str] = field(default_factory=dict)


class HubProgram:
    def __init__(self, directory: Path, settings: HubSettings) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.rest_port, self.link_port = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.rest_port}"
        self.link_address = f"127.0.0.1:{self.link_port}"
        command = [
            *MUSTER,
            "hub",
            f"--data-dir={directory / 'data'}",
            f"--rest-port={self.rest_port}",
            f"--grpc-port={self.link_port}",
            f"--heartbeat-s={settings.heartbeat_s:g}",
            f"--lease-s={settings.lease_s:g}",
        ]
        self.process = Process(
            "muster hub", command, directory / "hub.log", env={**BYTECODE, **settings.more}, cwd=ROOT
        )

    @property
    def ca(self) -> Path:
        return self.directory / "data" / "ca.crt"

    @property
    def admin_token(self) -> str:
        return (self.directory / "data" / "admin.token").read_text().strip()

    def start(self) -> None:
        """Returns when it answers."""
        self.process.start()

        def answers() -> bool:
            self.process.must_run()
            if not self.ca.exists():
                return False
            with self.client("") as client:
                try:
                    return client.ready().status == "ok"
                except HubUnreachable:
                    return False

        until("the hub to answer", answers, timeout_s=30)

    def kill(self) -> None:
        self.process.kill()

    def stop(self) -> None:
        self.process.stop()

    def client(self, token: str) -> MusterClient:
        # Patient: scenarios kill the hub under its clients.
        return MusterClient(self.url, token, ca=self.ca, patience_s=10)


class SpokeProgram:
    """A spoke, its data directory and the cable between it and the hub."""

    def __init__(self, name: str, directory: Path, kubeconfig: Path, hub: HubProgram) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.cable = Cable(hub.link_port)
        self._hub = hub
        self._kubeconfig = kubeconfig
        self.process = Process(
            f"muster spoke {name}", self._command("data"), directory / "spoke.log", env=SPOKE, cwd=ROOT
        )

    def join(self, token: str) -> None:
        """Starts it with a token; from then on it has a certificate and needs none."""
        token_file = self.directory / "token"
        token_file.write_text(token)
        self.process.command = [*self._command("data"), f"--token-file={token_file}"]
        self.start()
        self.process.command = self._command("data")

    def try_to_join(self, token: str) -> subprocess.CompletedProcess[str]:
        """As another spoke, which has not joined yet; for tokens that are to be refused."""
        token_file = self.directory / "other-token"
        token_file.write_text(token)
        command = [*self._command("other-data"), f"--token-file={token_file}"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    def start(self) -> None:
        self.process.start()

    def kill(self) -> None:
        self.process.kill()

    @contextmanager
    def with_policy(self, text: str) -> Iterator[None]:
        """Held to what this cluster's owner writes, until the block ends."""
        before = self.process.command
        policy = self.directory / f"policy-{len(before)}.yaml"
        policy.write_text(text)
        self._restart([*before, f"--policy={policy}"])
        yield
        self._restart(before)  # where a scenario fails, its spokes are replaced

    def _restart(self, command: list[str]) -> None:
        self.kill()
        self.process.command = command
        self.start()

    def stop(self) -> None:
        self.process.stop()
        self.cable.close()

    def _command(self, data: str) -> list[str]:
        return [
            *MUSTER,
            "spoke",
            f"--hub={self._hub.url}",
            f"--hub-link=127.0.0.1:{self.cable.port}",
            f"--data-dir={self.directory / data}",
            f"--kubeconfig={self._kubeconfig}",
            "--copy-image=muster:e2e",
        ]
