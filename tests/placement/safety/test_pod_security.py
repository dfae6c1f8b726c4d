from __future__ import annotations

from typing import Any

import pytest

from e2e import pod_samples
from e2e.pod_samples import CHANGES, Change
from placement.safety import pod_security
from placement.safety.levels import Breach, Level


def judged(pod: dict[str, Any]) -> list[Breach]:
    return list(pod_security.of_pod(pod["metadata"], pod["spec"], "spec"))


def worst(found: list[Breach]) -> Level | None:
    return min((each.level for each in found), key=lambda level: level.strictness, default=None)


def test_a_hardened_pod_passes_every_level() -> None:
    assert judged(pod_samples.sound_pod()) == []


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_each_control_is_of_its_level(change: Change) -> None:
    assert worst(judged(pod_samples.changed([change]))) == change.level


def test_in_a_user_namespace_root_is_nobody_outside() -> None:
    pod = pod_samples.sound_pod()
    pod["spec"]["hostUsers"] = False
    pod["spec"]["securityContext"] = {"seccompProfile": {"type": "RuntimeDefault"}, "runAsUser": 0}
    assert judged(pod) == []
    pod["spec"]["containers"][0]["securityContext"]["procMount"] = "Unmasked"
    assert worst(judged(pod)) is Level.RESTRICTED


def test_windows_has_no_capabilities_to_drop() -> None:
    pod = pod_samples.sound_pod()
    pod["spec"] = {
        "os": {"name": "windows"},
        "securityContext": {"runAsNonRoot": True},
        "containers": [{"name": "main", "image": "x"}],
    }
    assert judged(pod) == []
    pod["spec"]["securityContext"]["windowsOptions"] = {"hostProcess": True}
    assert worst(judged(pod)) is Level.BASELINE


def test_ephemeral_containers_are_containers() -> None:
    pod = pod_samples.sound_pod()
    pod["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "x", "securityContext": {"privileged": True}}]
    paths = {each.path for each in judged(pod) if each.level is Level.BASELINE}
    assert paths == {"spec.ephemeralContainers[0].securityContext.privileged"}


@pytest.mark.parametrize("odd", [None, 3, "x", [], [3], {"a": 1}, [[]], True])
@pytest.mark.parametrize("field", ["containers", "volumes", "securityContext", "os", "hostUsers", "hostNetwork"])
def test_fields_of_a_wrong_type_do_not_stop_it(field: str, odd: object) -> None:
    pod = pod_samples.sound_pod()
    pod["spec"][field] = odd
    judged(pod)
