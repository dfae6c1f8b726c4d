"""Builds Helm for the end-to-end suite, as e2e.planes.build builds Kubernetes: `python -m e2e.kind.tools.build`.

The go.mod beside this file pins it; the binary lands in the cache, in a directory named by that file's hash.

Not promised: that old directories are removed (they are a cache; delete them at will).
"""

from __future__ import annotations

import hashlib
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from e2e.planes import build
from e2e.planes.build import BuildError, Module

HERE = Path(__file__).resolve().parent
MODULE = Module(str(HERE), {"helm.sh/helm/v4/cmd/helm": "helm"})


def helm(say: Callable[[str], None] = lambda line: None) -> Path:
    """The helm binary; builds it first where it is not there yet (three minutes on 2 cores). Raises BuildError."""
    target = cached()
    if target.is_file():
        return target
    with build.lock(target.parent.parent):
        if not target.is_file():
            _build(target, say)
    return target


def cached() -> Path:
    """Where it is, or will be."""
    digest = hashlib.sha256(f"{platform.system()}/{platform.machine()} {MODULE.ldflags}".encode())
    for name in ("go.mod", "go.sum"):
        digest.update((HERE / name).read_bytes())
    return build.cache_root() / "helm" / digest.hexdigest()[:16] / "helm"


def _build(target: Path, say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent.parent, prefix="building-") as temporary:
        build.build_module(build.go_program(), MODULE, Path(temporary), say)
        target.parent.mkdir(parents=True, exist_ok=True)
        (Path(temporary) / "helm").rename(target)
    say(f"built: {target}")


def main() -> int:
    began = time.monotonic()
    try:
        print(helm(lambda line: print(f"{time.monotonic() - began:6.0f} s  {line}", file=sys.stderr, flush=True)))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
