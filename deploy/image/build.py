"""Builds the image of hub and spoke: `make images`, or `python deploy/image/build.py --base python:3.11-slim`.

Everything that goes in is fetched here, outside the build: the wheels that requirements.lock names, each by its hash,
and this tree's own wheel. They are laid out in build/images/context, the only folder that Docker sees, and the build
runs without a network. Beside the image lies its bill of materials (see sbom.py).

The wheels are those for the Python that runs this, so the base image must have the same one; it is asked first.

Not promised: that two builds give the same image to the byte. The same wheels and the same bytecode, they do.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from deploy.image import sbom  # noqa: E402  (this file is run as a program)

BUILD = ROOT / "build" / "images"
CONTEXT = BUILD / "context"
WHEELS = BUILD / "wheels"
# What setuptools makes the wheel of: a copy, so that no build/lib of earlier times gets in.
SOURCES = ("pyproject.toml", "README.md", "hub", "spoke", "placement", "registry", "wire", "deploy/hub", "deploy/spoke")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
BASE = "python:3.11-slim"


class BuildError(Exception):
    """Says what is missing and how to mend it."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Build the image of hub and spoke, and its bill of materials.")
    parser.add_argument("--base", default=BASE, metavar="IMAGE", help="what it starts from, twice (%(default)s)")
    parser.add_argument("--repository", default="muster", help="the image's name before its tag (%(default)s)")
    given = parser.parse_args(arguments)
    try:
        build(given.base, given.repository)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build(base: str, repository: str) -> None:
    """Raises BuildError."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    version = project["project"]["version"]
    image = f"{repository}:{version}"
    check_engine()
    check_python(base)
    requirements = without(
        (ROOT / "requirements.lock").read_text(), [name_of(text) for text in project["dependency-groups"]["build"]]
    )
    fetch_wheels(requirements)
    _lay_out(requirements)
    say(f"building {image} from {base}")
    _run(
        *("docker", "build", "--network", "none", "--tag", image, "--file", str(ROOT / "deploy/image/Dockerfile")),
        *("--build-arg", f"BASE_IMAGE={base}", "--build-arg", f"VERSION={version}"),
        *("--build-arg", f"REVISION={_git('rev-parse', 'HEAD')}", str(CONTEXT)),
        shown=re.compile(r"^(Step \d+/\d+ : \w+|#\d+ \[.*)"),
        environment={"DOCKER_BUILDKIT": os.environ.get("DOCKER_BUILDKIT", "")}
        if _has_buildx()
        else {"DOCKER_BUILDKIT": "0"},
    )
    _write_bill(image, version)
    size = int(_output("docker", "image", "inspect", "--format", "{{.Size}}", image))
    under = int(_output("docker", "image", "inspect", "--format", "{{.Size}}", base))
    say(f"{image}: {size / 1e6:.0f} MB, of which {under / 1e6:.0f} MB are {base}")


def check_engine() -> None:
    """Raises BuildError where no Docker engine answers."""
    where = os.environ.get("DOCKER_HOST")
    tried = f"DOCKER_HOST={where}" if where else "the current docker context (DOCKER_HOST is not set)"
    if shutil.which("docker") is None:
        raise BuildError("there is no `docker` on the PATH; images are built by a Docker engine")
    done = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(
            f"no Docker engine answers at {tried}: {done.stderr.strip()}\n"
            "  start one, or set DOCKER_HOST to one that runs"
        )


def check_python(base: str) -> None:
    """Raises BuildError where the base image has another Python than this one."""
    asked = "import sys, platform; print('%d.%d' % sys.version_info[:2], platform.machine())"
    done = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", "--entrypoint", "python", base, "-c", asked],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"the base image {base} cannot be used: {done.stderr.strip()}\n  name another: BASE_IMAGE=…")
    here = f"{sys.version_info[0]}.{sys.version_info[1]} {platform.machine()}"
    if done.stdout.strip() != here:
        raise BuildError(
            f"the base image {base} has Python {done.stdout.strip()}, this is {here}: the wheels would not fit; "
            "name a base with this Python (make images BASE_IMAGE=…), or make .venv with the other (make PYTHON=…)"
        )


def without(lock: str, names: Sequence[str]) -> str:
    """The lock file less some packages: what only builds the wheel has no place in the image."""
    kept, dropping = [], False
    for line in lock.splitlines(keepends=True):
        if line[:1].isalnum():
            dropping = name_of(line) in names
        if not dropping:
            kept.append(line)
    return "".join(kept)


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def fetch_wheels(requirements: str) -> None:
    """Into build/images/wheels, once per content of the lock file. Raises BuildError."""
    stamp, digest = WHEELS / "fetched", hashlib.sha256(f"{sys.version_info[:2]} {requirements}".encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    say("fetching the locked wheels (a minute when cold)")
    shutil.rmtree(WHEELS, ignore_errors=True)
    WHEELS.mkdir(parents=True)
    listed = BUILD / "requirements.txt"
    listed.write_text(requirements)
    _run(
        *(*PIP, "download", "--progress-bar", "off", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--dest", str(WHEELS), "--requirement", str(listed)),
        shown=re.compile(r"^Collecting ([^ ]+)"),
    )
    stamp.write_text(digest)


def _lay_out(requirements: str) -> None:
    """The build's context, made anew."""
    shutil.rmtree(CONTEXT, ignore_errors=True)
    (CONTEXT / "own").mkdir(parents=True)
    (CONTEXT / "requirements.txt").write_text(requirements)
    shutil.copytree(WHEELS, CONTEXT / "wheels", ignore=shutil.ignore_patterns("fetched"))
    source = BUILD / "source"
    shutil.rmtree(source, ignore_errors=True)
    for name in SOURCES:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, target)
    say("making the project's own wheel")
    _run(
        *(*PIP, "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"),
        *("--wheel-dir", str(CONTEXT / "own"), str(source)),
        environment={"SOURCE_DATE_EPOCH": str(built_at())},
    )


def _write_bill(image: str, version: str) -> None:
    in_image = ("docker", "run", "--rm", "--network", "none", "--entrypoint")
    text = sbom.bill(
        version=version,
        wheels=sorted((CONTEXT / "wheels").glob("*.whl")) + sorted((CONTEXT / "own").glob("*.whl")),
        dpkg_status=_output(*in_image, "cat", image, "/var/lib/dpkg/status"),
        os_release=_output(*in_image, "cat", image, "/etc/os-release"),
        python=_output(*in_image, "python", image, "-c", "import platform; print(platform.python_version())").strip(),
        built_at=built_at(),
    )
    file = BUILD / f"muster-{version}.cdx.json"
    file.write_text(text)
    say(f"bill of materials: {file.relative_to(ROOT)}")


def built_at() -> int:
    """Seconds since 1970: SOURCE_DATE_EPOCH, else when the last change was committed."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or 0)


def _has_buildx() -> bool:
    return subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode == 0


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def _run(*command: str, shown: re.Pattern[str] | None = None, environment: dict[str, str] | None = None) -> None:
    """Shows the lines that match, and all of them where it fails. Raises BuildError."""
    lines = []
    changed = {**os.environ, **(environment or {})}
    with subprocess.Popen(command, env=changed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if shown is not None and (found := shown.match(line)):
                say(f"  {found[found.re.groups and 1]}")
    if process.returncode:
        raise BuildError("\n".join([f"{' '.join(command[:4])} … failed:", *lines[-40:]]))


_BEGAN = time.monotonic()


def say(line: str) -> None:
    print(f"{time.monotonic() - _BEGAN:5.0f} s  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
