"""Checks and packs both Helm charts: `make charts`, or `python deploy/charts.py`. Into build/charts.

Each is linted and rendered with several sets of values; what a render must hold is tested in tests/deploy. Helm is the
one on the PATH, else the one that e2e.kind.tools.build has built.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from e2e.kind.tools.build import helm  # noqa: E402  (this file is run as a program)
from e2e.planes.build import BuildError  # noqa: E402

TARGET = ROOT / "build" / "charts"
_TOKEN = f"id.secret.{'0' * 64}"
# What each chart is rendered with, beyond its defaults.
VALUES: dict[str, tuple[tuple[str, ...], ...]] = {
    "hub": (
        (),
        ("service.type=NodePort", "service.restNodePort=30443", "service.grpcNodePort=30444", "publicNames={hub.test}"),
        ("replicas=3", "database.url=postgresql://u:p@db/muster", "tls.ca.existingSecret=ca"),
        ("database.existingSecret=db", "tls.rest.existingSecret=rest", "admin.existingSecret=first"),
        ("priorityClass.create=false", "podDisruptionBudget.enabled=false", "networkPolicy.enabled=false"),
        ("persistence.keep=true", "persistence.storageClass=fast", "priceBook=version: 1", "image.pullSecrets={login}"),
    ),
    "spoke": (
        ("hub.url=https://hub.test:8443", f"join.token={_TOKEN}"),
        ("hub.url=https://hub.test", "hub.link=hub.test:443", "join.existingSecret=token"),
        ("hub.url=https://hub.test", f"join.token={_TOKEN}", "rbac.create=false", "networkPolicy.enabled=false"),
        ("hub.url=https://hub.test", "persistence.keep=true", "priorityClass.create=false", "priorityClass.name=high"),
        ("hub.url=https://hub.test", f"join.token={_TOKEN}", "data.copy=false"),
        (
            "hub.url=https://hub.test",
            f"join.token={_TOKEN}",
            "policy.distributed.kinds={builtin,apps/v1/DaemonSet}",
            "policy.adopt=true",
        ),
    ),
}


def main() -> int:
    try:
        program = shutil.which("helm") or str(helm(lambda line: print(f"  helm: {line}", flush=True)))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    TARGET.mkdir(parents=True, exist_ok=True)
    for old in TARGET.glob("*.tgz"):
        old.unlink()
    try:
        for name, sets in VALUES.items():
            _check(program, ROOT / "deploy" / name, sets)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(map(str, error.cmd))} failed:\n{error.stdout}{error.stderr}", file=sys.stderr)
        return 1
    return 0


def _check(program: str, chart: Path, sets: Sequence[Sequence[str]]) -> None:
    _run(program, "lint", "--strict", str(chart), *_set(sets[0]))
    for values in sets:
        _run(program, "template", f"muster-{chart.name}", str(chart), "--namespace", "muster-system", *_set(values))
    _run(program, "package", str(chart), "--destination", str(TARGET))
    (packed,) = TARGET.glob(f"muster-{chart.name}-*.tgz")
    print(f"{chart.name}: lint and {len(sets)} renders passed; {packed.relative_to(ROOT)}")


def _set(values: Sequence[str]) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)


if __name__ == "__main__":
    sys.exit(main())
