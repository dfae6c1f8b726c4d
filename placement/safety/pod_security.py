"""The Pod Security Standards on one pod: the answer of the API server's own admission, with each field at fault.

Levels are cumulative: a pod passes `baseline` where no breach is of that level or below, and `restricted` where there
is none at all. Controls and their exceptions (Windows, user namespaces) are those of v1.36; what a newer server forbids
besides is for its own admission to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from placement.safety import containers
from placement.safety.containers import PROFILES, among, is_on, listed, mapping
from placement.safety.levels import Breach, Level, shown

CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
RESTRICTED_VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_Container = tuple[str, Mapping[str, Any]]  # path in the pod's spec, and the container


def of_pod(metadata: Mapping[str, Any], spec: Mapping[str, Any], path: str) -> Iterator[Breach]:
    """`path` is the spec's own: "spec.template.spec"."""
    found: list[_Container] = [
        (f"{path}.{key}[{index}]", each) for key in CONTAINERS for index, each in listed(spec.get(key))
    ]
    in_user_namespace = spec.get("hostUsers") is False
    context = mapping(spec.get("securityContext"))
    for field in HOST_NAMESPACES:
        if is_on(value := spec.get(field)):
            yield Breach(field, Level.BASELINE, f"{path}.{field}", shown(value))
    yield from volumes(spec.get("volumes"), path, found)
    yield from containers.of_context(context, f"{path}.securityContext", in_user_namespace=in_user_namespace)
    yield from sysctls(context.get("sysctls"), f"{path}.securityContext.sysctls")
    for where, container in found:
        yield from containers.of_container(container, where, in_user_namespace=in_user_namespace)
    yield from _annotations(metadata)
    yield from _hardening(spec, context, found, in_user_namespace=in_user_namespace)


def volumes(value: Any, path: str, found: Sequence[_Container]) -> Iterator[Breach]:
    for index, volume in listed(value):
        where = f"{path}.volumes[{index}]"
        if volume.get("hostPath") is not None:
            yield host_path(volume["hostPath"], f"{where}.hostPath", read_only=_only_read(volume.get("name"), found))
            continue
        types = sorted(key for key, each in volume.items() if key != "name" and each is not None)
        if types and not RESTRICTED_VOLUMES & set(types):  # without a type it is an emptyDir
            yield Breach("volumes", Level.RESTRICTED, where, shown(types[0]))


def host_path(value: Any, path: str, *, read_only: bool) -> Breach:
    on_node = mapping(value).get("path")
    return Breach("hostPath", Level.BASELINE, f"{path}.path", shown(on_node), str(on_node), read_only)


def _only_read(volume: Any, found: Sequence[_Container]) -> bool:
    for _, container in found:
        if any(one.get("name") == volume for _, one in listed(container.get("volumeDevices"))):
            return False
        for _, mount in listed(container.get("volumeMounts")):
            if mount.get("name") == volume and mount.get("readOnly") is not True:
                return False
    return True


def sysctls(value: Any, path: str) -> Iterator[Breach]:
    for index, one in listed(value):
        if not among(name := one.get("name"), SAFE_SYSCTLS):
            yield Breach("sysctls", Level.BASELINE, f"{path}[{index}].name", shown(name), str(name))


def _annotations(metadata: Mapping[str, Any]) -> Iterator[Breach]:
    for key, value in mapping(metadata.get("annotations")).items():
        yield from app_armor(key, value)


def app_armor(key: str, value: Any) -> Iterator[Breach]:
    """Of an annotation, as profiles were written before they had a field."""
    named = key.startswith(APPARMOR) and isinstance(value, str)
    if named and value not in ("", "runtime/default") and not value.startswith("localhost/"):
        yield Breach("appArmorProfile", Level.BASELINE, f'metadata.annotations["{key}"]', shown(value))


def _hardening(
    spec: Mapping[str, Any], context: Mapping[str, Any], found: Sequence[_Container], *, in_user_namespace: bool
) -> Iterator[Breach]:
    """What `restricted` wants to be said, and is not."""
    windows = mapping(spec.get("os")).get("name") == "windows"
    non_root = context.get("runAsNonRoot") is True or in_user_namespace
    confined = windows or among(mapping(context.get("seccompProfile")).get("type"), PROFILES)
    for path, container in found:
        own = mapping(container.get("securityContext"))
        where = f"{path}.securityContext"
        if not non_root and own.get("runAsNonRoot") is None:
            yield Breach("runAsNonRoot", Level.RESTRICTED, f"{where}.runAsNonRoot", "not set")
        if not confined and not isinstance(own.get("seccompProfile"), Mapping):
            yield Breach("seccompProfile", Level.RESTRICTED, f"{where}.seccompProfile.type", "not set")
        if not windows:
            if own.get("allowPrivilegeEscalation") is not False:
                value = shown(own["allowPrivilegeEscalation"]) if own.get("allowPrivilegeEscalation") else "not set"
                yield Breach("allowPrivilegeEscalation", Level.RESTRICTED, f"{where}.allowPrivilegeEscalation", value)
            dropped = mapping(own.get("capabilities")).get("drop")
            if not isinstance(dropped, list) or "ALL" not in dropped:
                value = shown(dropped) if dropped else "not set"
                yield Breach("dropCapabilities", Level.RESTRICTED, f"{where}.capabilities.drop", value)
