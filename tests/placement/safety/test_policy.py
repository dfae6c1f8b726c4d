from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from placement.safety import policy
from placement.safety.footprint import Footprint
from placement.safety.levels import Breach, Level
from placement.safety.policy import Exemption, Policy, Refusal
from placement.safety.words import CONTROLS

NET = Breach("hostNetwork", Level.BASELINE, "spec.hostNetwork", "true", of="Pod p")
ROOT = Breach("runAsUser", Level.RESTRICTED, "spec.securityContext.runAsUser", "0", of="Pod p")
NODE = Breach("nodeName", Level.PRIVILEGED, "spec.nodeName", "n1", "n1", of="Pod p")


def asked(*breaches: Breach, namespace: str = "own", kinds: tuple[str, ...] = ("v1/Pod",)) -> Footprint:
    return Footprint(namespace, kinds, breaches)


def refused(rules: Policy, footprint: Footprint) -> list[Refusal]:
    return list(policy.refusals(rules, footprint))


@pytest.mark.parametrize(
    ("level", "paths"),
    [
        (Level.PRIVILEGED, [NODE.path]),
        (Level.BASELINE, [NET.path, NODE.path]),
        (Level.RESTRICTED, [NET.path, ROOT.path, NODE.path]),
    ],
)
def test_levels_are_cumulative(level: Level, paths: list[str]) -> None:
    assert [each.path for each in refused(Policy(level), asked(NET, ROOT, NODE))] == paths


def test_a_refusal_names_the_object_the_field_the_value_and_the_mend() -> None:
    (one,) = refused(Policy(), asked(NET))
    assert one == Refusal(
        "Pod p",
        "spec.hostNetwork",
        "Pod p asks for the node's own network (hostNetwork: true), which the level baseline forbids",
        "remove it",
    )


def test_namespaces_and_kinds_are_an_allow_list() -> None:
    rules = Policy(namespaces=("team-*",), kinds=("batch/v1/Job", "v1/*"))
    assert refused(rules, asked(namespace="team-a", kinds=("batch/v1/Job", "v1/Secret"))) == []
    (where,) = refused(rules, asked(namespace="other"))
    assert where == Refusal("", "metadata.namespace", "the namespace other is not allowed", "allowed: team-*")
    (kind,) = refused(rules, asked(namespace="team-a", kinds=("apps/v1/DaemonSet",)))
    assert (kind.path, kind.message) == ("kind", "apps/v1/DaemonSet is not among the kinds that are allowed")
    assert refused(Policy(namespaces=()), asked()) != []


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "muster-system", "kube-x"])
def test_no_policy_opens_a_clusters_own_namespaces(namespace: str) -> None:
    (one,) = refused(Policy(Level.PRIVILEGED, (namespace, "*")), asked(namespace=namespace))
    assert "belongs to the cluster itself" in one.message


def host_path(path: str, *, read_only: bool = True) -> Breach:
    return Breach("hostPath", Level.BASELINE, "spec.volumes[0].hostPath.path", path, path, read_only)


@pytest.mark.parametrize(
    ("exemption", "breach", "lifted"),
    [
        (Exemption(controls=("hostNetwork",)), NET, True),
        (Exemption(controls=("hostPID",)), NET, False),
        (Exemption(("other",), controls=("hostNetwork",)), NET, False),
        (Exemption(("o*",), controls=("hostNetwork",)), NET, True),
        (Exemption(controls=("nodeName",)), NODE, True),
        (Exemption(capabilities=("IPC_LOCK",)), replace(NET, control="capabilities", name="IPC_LOCK"), True),
        (Exemption(capabilities=("IPC_LOCK",)), replace(NET, control="capabilities", name="SYS_ADMIN"), False),
        (Exemption(host_paths=("/data",)), host_path("/data"), True),
        (Exemption(host_paths=("/data/",)), host_path("/data//sets/a"), True),
        (Exemption(host_paths=("/data",)), host_path("/data", read_only=False), False),
        (Exemption(host_paths=("/data",)), host_path("/database"), False),
        (Exemption(host_paths=("/data",)), host_path("/data/../etc"), False),
        (Exemption(host_paths=("/data",)), host_path("data"), False),
        (Exemption(host_paths=("/",)), host_path("/etc"), True),
        (Exemption(references=("net-*",)), replace(NODE, control="namespace", name="net-a"), True),
        (Exemption(references=("net-*",)), replace(NODE, control="namespace", name="own2"), False),
    ],
)
def test_an_exemption_lifts_what_it_names(exemption: Exemption, breach: Breach, lifted: bool) -> None:
    assert (refused(Policy(exemptions=(exemption,)), asked(breach)) == []) is lifted


def test_locking_memory_is_exempt_from_the_beginning() -> None:
    lock: Any = Breach("capabilities", Level.BASELINE, "x.add[0]", "IPC_LOCK", "IPC_LOCK")
    assert refused(Policy(), asked(lock)) == []
    assert refused(Policy(exemptions=()), asked(lock)) != []


def test_every_control_has_words() -> None:
    for control in CONTROLS:
        (one,) = refused(Policy(Level.RESTRICTED), asked(replace(NET, control=control)))
        assert "asks for" in one.message
        assert one.mend
