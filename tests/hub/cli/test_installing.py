"""Installing a spoke: what Helm is called with, what is said of a pod that does not come up, and refusals with a mend.

A program that keeps its arguments and its input stands in for Helm; the real one, on real clusters, is the suite's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.cli import exits, helm, installing
from hub.cli.helm import Helm, HelmError, Release
from hub.cli.kube_target import waits_for
from tests.hub.cli.conftest import Muster

AT = Release("muster-spoke", "muster-system")
_NOTING = """#!/usr/bin/env python3
import json, pathlib, sys
here = pathlib.Path(__file__).parent
(here / "called.json").write_text(json.dumps({"arguments": sys.argv[1:], "input": sys.stdin.read()}))
answer = here / "answer"
if answer.exists():
    sys.exit("Error: " + answer.read_text())
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "helm"
    path.write_text(_NOTING)
    path.chmod(0o755)
    return path


def called(program: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((program.parent / "called.json").read_text())
    return found


def test_the_token_is_on_standard_input_and_no_argument(program: Path, tmp_path: Path) -> None:
    values = installing.chart_values(
        hub_url="https://h:1", hub_link="", token="s3cret", image_repository="", image_tag=""
    )
    arguments = helm.upgrade_arguments(AT, tmp_path, ["a=b"], [tmp_path / "f"])
    Helm(str(program), "kind-x", "/k").upgrade(arguments, values)
    seen = called(program)
    assert yaml.safe_load(seen["input"]) == {"hub": {"url": "https://h:1"}, "join": {"token": "s3cret"}}
    assert not any("s3cret" in argument for argument in seen["arguments"])
    assert seen["arguments"][-6:] == ["--values", "-", "--kube-context", "kind-x", "--kubeconfig", "/k"]
    assert "--reset-then-reuse-values" in seen["arguments"]


def test_what_is_not_given_is_left_to_the_earlier_install() -> None:
    nothing = installing.chart_values(hub_url="", hub_link="", token="", image_repository="", image_tag="")
    assert nothing == {}


def test_a_release_is_known_unknown_or_not_to_be_asked_for(program: Path) -> None:
    runner = Helm(str(program), "c")
    assert runner.knows(AT)
    (program.parent / "answer").write_text("release: not found")
    assert not runner.knows(AT)
    (program.parent / "answer").write_text("kubernetes cluster unreachable")
    with pytest.raises(HelmError, match="helm status failed: kubernetes cluster unreachable"):
        runner.knows(AT)


def test_the_whole_command_is_printed_with_the_token_in_its_here_document(muster: Muster) -> None:
    muster.as_ = "admin"
    result = muster("cluster", "token", "paris", "--helm", "--hub-url", "https://hub.test:8443")
    assert result.exit_code == exits.OK, result.stderr
    command, _, document = result.stdout.partition(" <<'VALUES'\n")
    assert command.startswith("helm upgrade --install muster-spoke ")
    assert command.endswith(" --values -")
    values = yaml.safe_load(document.removesuffix("VALUES\n"))
    assert values["hub"] == {"url": "https://hub.test:8443"}
    assert values["join"]["token"] not in command


@pytest.mark.parametrize(
    ("arguments", "said", "mend"),
    [
        (["--helm-binary", "/nix/helm"], "/nix/helm is not a program", "--helm-binary"),
        (["--chart", "/nix"], "there is no chart at /nix", "--chart PATH"),
        (["--context", "nix"], "the context nix cannot be used (there is here)", "kubectl config get-contexts"),
        (["--label", "gold"], "--label gold has no KEY=VALUE", "--label tier=gold"),
    ],
)
def test_what_is_missing_is_said_before_a_token_is_made(
    muster: Muster, program: Path, tmp_path: Path, arguments: list[str], said: str, mend: str
) -> None:
    contexts = [{"name": "here", "context": {"cluster": "c", "user": "u"}}]
    clusters = [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}]
    config = {
        "contexts": contexts,
        "clusters": clusters,
        "users": [{"name": "u", "user": {}}],
        "current-context": "here",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    given = {"--context": "here", "--helm-binary": str(program), "--kubeconfig": str(tmp_path / "config")}
    given |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    result = muster("cluster", "install", "paris", *(part for pair in given.items() for part in pair))
    assert result.exit_code in (exits.FAILED, exits.USAGE)
    assert said in result.stderr
    assert mend in result.stderr
    assert not (program.parent / "called.json").exists()


READY = {"type": "Ready", "status": "True"}


def pod(revision: str = "r2", **status: object) -> dict[str, Any]:
    return {"metadata": {"labels": {"controller-revision-hash": revision}}, "status": status}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "its pod is not made yet"),
        (pod("r1", conditions=[READY]), "the pod of the earlier revision ends"),
        (pod(conditions=[READY]), ""),
        (pod(), "its pod runs and is not ready yet"),
        (
            pod(containerStatuses=[{"state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}]),
            "ErrImagePull: no such image",
        ),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/2 nodes"}]),
            "no node for its pod: 0/2 nodes",
        ),
    ],
)
def test_what_a_spoke_that_is_not_ready_waits_for(found: dict[str, Any] | None, said: str) -> None:
    assert waits_for({"status": {"updateRevision": "r2"}}, found) == said
    assert waits_for(None, found) == "the StatefulSet is not there yet"
