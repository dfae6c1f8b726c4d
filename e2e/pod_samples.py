"""Pods to judge: one that passes `restricted`, and what can be changed in it, each with the level that it breaks.

The same samples are given to Muster's judgement and to a real API server's admission.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from placement.safety.levels import Level

Pod = dict[str, Any]
_LISTS = ("containers", "initContainers")


@dataclass(frozen=True, slots=True)
class Change:
    name: str
    level: Level | None  # the most permissive level that forbids it; None: no level does
    apply: Callable[[Pod], None]


def sound_pod() -> Pod:
    """Passes every level."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "sample"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [_container("prepare")],
            "containers": [_container("main"), _container("side")],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        },
    }


def changed(changes: Sequence[Change]) -> Pod:
    pod = copy.deepcopy(sound_pod())
    for change in changes:
        change.apply(pod)
    return pod


def pairs(rng: Random, count: int) -> list[tuple[Change, Change]]:
    """Of different names, so that the second does not take the first back by accident more than chance has it."""
    found: list[tuple[Change, Change]] = []
    while len(found) < count:
        one, other = rng.sample(CHANGES, 2)
        found.append((one, other))
    return found


def _container(name: str) -> dict[str, Any]:
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {"name": name, "image": "registry.k8s.io/pause:3.10", "securityContext": context}


def _spec(name: str, level: Level | None, **fields: Any) -> Change:
    return Change(name, level, lambda pod: pod["spec"].update(copy.deepcopy(fields)))


def _pod_context(name: str, level: Level | None, **fields: Any) -> Change:
    return Change(name, level, lambda pod: pod["spec"]["securityContext"].update(copy.deepcopy(fields)))


def _context(name: str, level: Level | None, **fields: Any) -> Sequence[Change]:
    """In a container, and in an init container."""

    def put(key: str) -> Callable[[Pod], None]:
        return lambda pod: pod["spec"][key][0]["securityContext"].update(copy.deepcopy(fields))

    return [Change(f"{name} in {key}", level, put(key)) for key in _LISTS]


def _in_container(name: str, level: Level | None, **fields: Any) -> Change:
    return Change(name, level, lambda pod: pod["spec"]["containers"][1].update(copy.deepcopy(fields)))


def _volume(name: str, level: Level | None, source: Mapping[str, Any]) -> Change:
    return Change(name, level, lambda pod: pod["spec"]["volumes"].append({"name": "more", **copy.deepcopy(source)}))


def _without(name: str, level: Level | None, *path: str | int) -> Change:
    def remove(pod: Pod) -> None:
        at: Any = pod["spec"]
        for step in path[:-1]:
            at = at[step]
        at.pop(path[-1], None)

    return Change(name, level, remove)


def _annotated(name: str, level: Level | None, **annotations: str) -> Change:
    put = {f"container.apparmor.security.beta.kubernetes.io/{key}": value for key, value in annotations.items()}
    return Change(name, level, lambda pod: pod["metadata"].setdefault("annotations", {}).update(put))


BASELINE, RESTRICTED = Level.BASELINE, Level.RESTRICTED
CHANGES: Sequence[Change] = (
    _spec("host network", BASELINE, hostNetwork=True),
    _spec("host pid", BASELINE, hostPID=True),
    _spec("host ipc", BASELINE, hostIPC=True),
    _spec("no host namespaces", None, hostNetwork=False, hostPID=False, hostIPC=False),
    *_context("privileged", BASELINE, privileged=True, allowPrivilegeEscalation=True),
    *_context("not privileged", None, privileged=False),
    *_context("net admin", BASELINE, capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}),
    *_context("ipc lock", BASELINE, capabilities={"drop": ["ALL"], "add": ["IPC_LOCK"]}),
    *_context("chown", RESTRICTED, capabilities={"drop": ["ALL"], "add": ["CHOWN", "NET_BIND_SERVICE"]}),
    *_context("bind service", None, capabilities={"drop": ["KILL", "ALL"], "add": ["NET_BIND_SERVICE"]}),
    *_context("drops some", RESTRICTED, capabilities={"drop": ["KILL"]}),
    *_context("all added", BASELINE, capabilities={"drop": ["ALL"], "add": ["ALL"]}),
    *_context("escalation", RESTRICTED, allowPrivilegeEscalation=True),
    *_context("masked proc", None, procMount="Default"),
    *_context("seccomp unconfined", BASELINE, seccompProfile={"type": "Unconfined"}),
    *_context("seccomp of the node", None, seccompProfile={"type": "Localhost", "localhostProfile": "a.json"}),
    *_context("apparmor unconfined", BASELINE, appArmorProfile={"type": "Unconfined"}),
    *_context("apparmor of the node", None, appArmorProfile={"type": "Localhost", "localhostProfile": "a"}),
    *_context("selinux spc_t", BASELINE, seLinuxOptions={"type": "spc_t"}),
    *_context("selinux container_kvm_t", None, seLinuxOptions={"type": "container_kvm_t", "level": "s0:c1"}),
    *_context("selinux container_engine_t", None, seLinuxOptions={"type": "container_engine_t"}),
    *_context("selinux user", BASELINE, seLinuxOptions={"user": "system_u"}),
    *_context("selinux role", BASELINE, seLinuxOptions={"role": "system_r"}),
    *_context("root", RESTRICTED, runAsUser=0),
    *_context("user", None, runAsUser=1000),
    *_context("may be root", RESTRICTED, runAsNonRoot=False),
    *_context("is not root", None, runAsNonRoot=True),
    _pod_context("pod root", RESTRICTED, runAsUser=0),
    _pod_context("pod may be root", RESTRICTED, runAsNonRoot=False),
    _pod_context("pod seccomp unconfined", BASELINE, seccompProfile={"type": "Unconfined"}),
    _pod_context("pod apparmor unconfined", BASELINE, appArmorProfile={"type": "Unconfined"}),
    _pod_context("pod apparmor default", None, appArmorProfile={"type": "RuntimeDefault"}),
    _pod_context("pod selinux type", BASELINE, seLinuxOptions={"type": "unconfined_t"}),
    _pod_context("pod selinux role", BASELINE, seLinuxOptions={"role": "r"}),
    _pod_context("sysctl of the kernel", BASELINE, sysctls=[{"name": "kernel.msgmax", "value": "65536"}]),
    _pod_context("sysctl that is safe", None, sysctls=[{"name": "net.ipv4.tcp_rmem", "value": "4096 87380 16777216"}]),
    _pod_context("supplemental groups", None, supplementalGroups=[0], fsGroup=0),
    _without("no pod seccomp", RESTRICTED, "securityContext", "seccompProfile"),
    _without("no pod runAsNonRoot", RESTRICTED, "securityContext", "runAsNonRoot"),
    _without("no pod context", RESTRICTED, "securityContext"),
    _without("no container context", RESTRICTED, "containers", 0, "securityContext"),
    _without("no init context", RESTRICTED, "initContainers", 0, "securityContext"),
    _in_container("host port", BASELINE, ports=[{"containerPort": 80}, {"containerPort": 81, "hostPort": 8081}]),
    _in_container("port", None, ports=[{"containerPort": 80, "hostPort": 0}]),
    _in_container("probe host", BASELINE, livenessProbe={"httpGet": {"port": 80, "host": "10.0.0.1"}}),
    _in_container("probe host localhost", BASELINE, readinessProbe={"tcpSocket": {"port": 80, "host": "127.0.0.1"}}),
    _in_container("probe", None, startupProbe={"httpGet": {"port": 80, "path": "/"}}),
    _in_container("hook host", BASELINE, lifecycle={"postStart": {"httpGet": {"port": 80, "host": "a.b"}}}),
    _in_container("hook", None, lifecycle={"preStop": {"exec": {"command": ["true"]}}}),
    _volume("host path", BASELINE, {"hostPath": {"path": "/etc"}}),
    _volume("nfs", RESTRICTED, {"nfs": {"server": "nfs", "path": "/"}}),
    _volume("iscsi", RESTRICTED, {"iscsi": {"targetPortal": "1.2.3.4", "iqn": "iqn.2001-04.a:b", "lun": 0}}),
    _volume("cephfs", RESTRICTED, {"cephfs": {"monitors": ["a"]}}),
    _volume("config map", None, {"configMap": {"name": "c"}}),
    _volume("secret", None, {"secret": {"secretName": "c"}}),
    _volume("claim", None, {"persistentVolumeClaim": {"claimName": "c"}}),
    _volume("shared memory", None, {"emptyDir": {"medium": "Memory"}}),
    _volume("projected", None, {"projected": {"sources": []}}),
    _volume("downward", None, {"downwardAPI": {"items": []}}),
    _volume("csi", None, {"csi": {"driver": "a.b"}}),
    _volume("untyped", None, {}),
    _annotated("annotated unconfined", BASELINE, main="unconfined"),
    _annotated("annotated default", None, main="runtime/default"),
    _spec("user namespace", None, hostUsers=False),
)
