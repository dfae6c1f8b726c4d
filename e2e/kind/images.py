"""The images that the clusters need, built by the Docker engine and brought to the nodes that run them.

A real node pulls its images; these nodes have no registry to pull from, so each image is loaded where its pods will be:
hub, spoke and operator on the control planes, the scenarios' own on the nodes with GPUs.
"""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from e2e.kind.clusters import KindCluster
from e2e.kind.commands import CommandFailed, run
from e2e.planes import build
from e2e.pods import TRAIN_IMAGE

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OPERATOR_IMAGE = "muster-e2e/training-operator:1"


def muster_image() -> str:
    """Raises RuntimeError where `make images` has not been run."""
    image = f"muster:{tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']}"
    try:
        run("docker", "image", "inspect", image)
    except CommandFailed as missing:
        raise RuntimeError(f"the Docker engine has no image {image}: run `make images` (make e2e does)") from missing
    return image


def build_train() -> None:
    _build(TRAIN_IMAGE, HERE / "train.Dockerfile", ROOT / "deploy" / "demo" / "allreduce.py")


def build_operator() -> None:
    binaries = build.binaries(lambda line: print(line, flush=True))
    _build(OPERATOR_IMAGE, HERE / "training-operator.Dockerfile", binaries / "training-operator.v1")


def load(cluster: KindCluster, images: Sequence[str], nodes: Sequence[str]) -> None:
    """Nothing where the nodes have them already."""
    run("kind", "load", "docker-image", *images, "--name", cluster.kind_name, "--nodes", ",".join(nodes), timeout_s=600)


def _build(image: str, dockerfile: Path, *files: Path) -> None:
    """With nothing but these files to copy from."""
    with tempfile.TemporaryDirectory(prefix="muster-image-") as context:
        for file in files:
            shutil.copy(file, context)
        run("docker", "build", "--quiet", "--tag", image, "--file", str(dockerfile), context, timeout_s=600)
