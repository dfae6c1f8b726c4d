"""What a pod of a scenario does: runs for so long, fails, is slow to stop; and how each test bed is told so.

On bare planes nothing runs: kwok plays the pod by annotations (planes/stages/pod.yaml), and it may ask for whatever a
GPU node has. On kind a shell does it in a real container, and asks for little: the nodes share one machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

TRAIN_IMAGE = "muster-e2e/train:1"  # made and loaded by e2e.kind.images


@dataclass(frozen=True, slots=True)
class Course:
    """Lengths like "3s". Neither `run_for` nor `fail_after`: it runs until it is deleted."""

    run_for: str = ""
    fail_after: str = ""
    stop_for: str = ""  # how long it takes to go once deleted


def template(container: str, gpus: int, product: str, course: Course) -> dict[str, Any]:
    """A pod template with one container, for the bed that PROVIDER names."""
    body = _real(container, gpus, course) if os.environ.get("PROVIDER") == "kind" else _played(container, gpus, course)
    if product:
        body["spec"]["nodeSelector"] = {"nvidia.com/gpu.product": product}
    return body


def _played(container: str, gpus: int, course: Course) -> dict[str, Any]:
    says = {
        "e2e.muster.test/run-for": course.run_for,
        "e2e.muster.test/fail-after": course.fail_after,
        "e2e.muster.test/stop-for": course.stop_for,
    }
    annotations = {key: length for key, length in says.items() if length}
    amounts = {"cpu": "2", "memory": "8Gi"} | _gpus(gpus)
    resources = {"requests": dict(amounts), "limits": dict(amounts)}
    spec = {"containers": [{"name": container, "image": "train:1", "resources": resources}]}
    return ({"metadata": {"annotations": annotations}} if annotations else {}) | {"spec": spec}


def _real(container: str, gpus: int, course: Course) -> dict[str, Any]:
    # A shell that waits for a child hears SIGTERM at once; one that runs it in the foreground does when it ends.
    script = (
        f"trap 'sleep {course.stop_for or '0'}; exit 143' TERM; "
        f"sleep {course.run_for or course.fail_after or 'infinity'} & wait $!; exit {1 if course.fail_after else 0}"
    )
    return {
        "spec": {
            "containers": [
                {
                    "name": container,
                    "image": TRAIN_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", script],
                    # No limit of CPU: its start alone would take seconds of ten thousandths of a core.
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "16Mi"} | _gpus(gpus),
                        "limits": {"memory": "64Mi"} | _gpus(gpus),
                    },
                }
            ]
        }
    }


def _gpus(count: int) -> dict[str, str]:
    return {"nvidia.com/gpu": str(count)} if count else {}
