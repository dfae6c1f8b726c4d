"""Helm, as the CLI uses it: where its program and our charts are, and running it against one cluster.

Values, the join token among them, go in by standard input: arguments can be read by everybody on the machine.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPOKE = "spoke"


class HelmError(Exception):
    """`mend` says what to do about it."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Release:
    name: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Helm:
    """For one cluster: `context` of `kubeconfig` ("" means as kubectl finds it)."""

    program: str
    context: str
    kubeconfig: str = ""

    def knows(self, release: Release) -> bool:
        """Raises HelmError where the cluster does not answer."""
        try:
            self._run(["status", release.name, "--namespace", release.namespace])
        except HelmError as error:
            if "not found" in str(error):
                return False
            raise
        return True

    def upgrade(self, arguments: Sequence[str], values: Mapping[str, Any]) -> None:
        """`helm upgrade` with these values on top. Raises HelmError with what Helm said."""
        self._run([*arguments, "--values", "-"], values_text(values))

    def uninstall(self, release: Release, timeout_s: float) -> None:
        """Returns when what it made is gone. Raises HelmError."""
        self._run(
            ["uninstall", release.name, "--namespace", release.namespace, "--wait", "--timeout", f"{timeout_s:.0f}s"]
        )

    def _run(self, arguments: Sequence[str], given: str = "") -> str:
        where = ["--kube-context", self.context, *(["--kubeconfig", self.kubeconfig] if self.kubeconfig else [])]
        done = subprocess.run(
            [self.program, *arguments, *where], input=given, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = done.stderr.strip().removeprefix("Error: ") or f"exit code {done.returncode}"
            raise HelmError(f"helm {arguments[0]} failed: {said}", "mend that, and run the same command again")
        return done.stdout


def program(given: str = "") -> str:
    """Raises HelmError where there is no such program."""
    found = shutil.which(given or "helm")
    if found is None:
        what = f"{given} is not a program" if given else "there is no `helm` on the PATH"
        raise HelmError(what, "install Helm (https://helm.sh/docs/intro/install), or name it: --helm-binary PATH")
    return found


def chart(name: str, given: Path | None = None) -> Path:
    """The chart `given`, else this checkout's, else the one that was installed with this program. Raises HelmError."""
    tree = Path(__file__).resolve().parents[2] / "deploy" / name
    installed = Path(sysconfig.get_path("data")) / "share" / "muster" / "charts" / name
    for candidate in (given,) if given is not None else (tree, installed):
        if (candidate / "Chart.yaml").is_file() or (candidate.suffix == ".tgz" and candidate.is_file()):
            return candidate
    looked = given if given is not None else f"{tree} or {installed}"
    raise HelmError(f"there is no chart at {looked}", "name one: --chart PATH (in the repository: deploy/spoke)")


def upgrade_arguments(release: Release, chart: Path, sets: Sequence[str] = (), files: Sequence[Path] = ()) -> list[str]:
    """What an earlier install was given stays as it was, over the new chart's defaults."""
    return [
        *("upgrade", "--install", release.name, str(chart), "--namespace", release.namespace, "--create-namespace"),
        "--reset-then-reuse-values",
        *(part for file in files for part in ("--values", str(file))),
        *(part for one in sets for part in ("--set", one)),
    ]


def for_a_shell(arguments: Sequence[str], values: Mapping[str, Any]) -> str:
    """The command to copy: the values in a here-document, so that no secret stands among the arguments."""
    command = " ".join(shlex.quote(argument) for argument in ("helm", *arguments, "--values", "-"))
    return f"{command} <<'VALUES'\n{values_text(values)}VALUES"


def values_text(values: Mapping[str, Any]) -> str:
    import yaml

    text: str = yaml.safe_dump(dict(values), sort_keys=False)
    return text


def kubeconfig(given: Path | None) -> str:
    """The path to hand on: "" where the environment and the home directory decide, as for kubectl."""
    return str(given) if given is not None else os.environ.get("KUBECONFIG", "")
