"""The controls of the Pod Security Standards on one container, or on a security context wherever it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from placement.safety.levels import Breach, Level, shown

BASELINE_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
RESTRICTED_CAPABILITIES = frozenset({"NET_BIND_SERVICE"})
SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
PROFILES = frozenset({"RuntimeDefault", "Localhost"})
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HOOKS = ("postStart", "preStop")
HANDLERS = ("httpGet", "tcpSocket")


def among(value: Any, names: frozenset[str]) -> bool:
    """What is no string is none of them, whatever it is: a list has no hash."""
    return isinstance(value, str) and value in names


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if isinstance(value, list):
        yield from ((index, each) for index, each in enumerate(value) if isinstance(each, Mapping))


def is_on(value: Any) -> bool:
    """Whatever is not plainly off: a text in the place of a boolean may be anything once it is filled in."""
    return value not in (None, False, "", "false", "False", 0)


def of_container(container: Mapping[str, Any], path: str, *, in_user_namespace: bool) -> Iterator[Breach]:
    """Of a container, whatever its pod says: what `baseline` forbids, and what `restricted` forbids to set."""
    if context := mapping(container.get("securityContext")):
        yield from of_context(context, f"{path}.securityContext", in_user_namespace=in_user_namespace)
    for index, port in listed(container.get("ports")):
        yield from host_port(port.get("hostPort"), f"{path}.ports[{index}].hostPort")
    for probe in PROBES:
        if handler := mapping(container.get(probe)):
            yield from hosts(handler, f"{path}.{probe}")
    if lifecycle := mapping(container.get("lifecycle")):
        for hook in HOOKS:
            yield from hosts(mapping(lifecycle.get(hook)), f"{path}.lifecycle.{hook}")


def of_context(context: Mapping[str, Any], path: str, *, in_user_namespace: bool = False) -> Iterator[Breach]:
    """A securityContext, of a pod or of a container: the fields of both are looked at in both."""
    if is_on(value := context.get("privileged")):
        yield Breach("privileged", Level.BASELINE, f"{path}.privileged", shown(value))
    yield from capabilities(context.get("capabilities"), f"{path}.capabilities")
    yield from proc_mount(context.get("procMount"), f"{path}.procMount", in_user_namespace=in_user_namespace)
    yield from profile("seccompProfile", context.get("seccompProfile"), f"{path}.seccompProfile")
    yield from profile("appArmorProfile", context.get("appArmorProfile"), f"{path}.appArmorProfile")
    yield from selinux(context.get("seLinuxOptions"), f"{path}.seLinuxOptions")
    yield from host_process(context.get("windowsOptions"), f"{path}.windowsOptions")
    if not in_user_namespace:
        if context.get("runAsNonRoot") is not None and context["runAsNonRoot"] is not True:
            yield Breach("runAsNonRoot", Level.RESTRICTED, f"{path}.runAsNonRoot", shown(context["runAsNonRoot"]))
        if (user := context.get("runAsUser")) is not None and user in (0, "0"):
            yield Breach("runAsUser", Level.RESTRICTED, f"{path}.runAsUser", shown(user))


def capabilities(value: Any, path: str) -> Iterator[Breach]:
    added = mapping(value).get("add")
    for index, name in enumerate(added if isinstance(added, list) else ()):
        if not among(name, RESTRICTED_CAPABILITIES):
            level = Level.RESTRICTED if among(name, BASELINE_CAPABILITIES) else Level.BASELINE
            yield Breach("capabilities", level, f"{path}.add[{index}]", shown(name), str(name))


def proc_mount(value: Any, path: str, *, in_user_namespace: bool) -> Iterator[Breach]:
    if value is not None and value != "Default":
        yield Breach("procMount", Level.RESTRICTED if in_user_namespace else Level.BASELINE, path, shown(value))


def profile(control: str, value: Any, path: str) -> Iterator[Breach]:
    if isinstance(value, Mapping) and not among(value.get("type"), PROFILES):
        yield Breach(control, Level.BASELINE, f"{path}.type", shown(value.get("type")))


def selinux(value: Any, path: str) -> Iterator[Breach]:
    options = mapping(value)
    if not among(options.get("type") or "", SELINUX_TYPES):
        yield Breach("seLinuxOptions", Level.BASELINE, f"{path}.type", shown(options["type"]))
    for field in ("user", "role"):
        if options.get(field):
            yield Breach("seLinuxOptions", Level.BASELINE, f"{path}.{field}", shown(options[field]))


def host_process(value: Any, path: str) -> Iterator[Breach]:
    if is_on(wanted := mapping(value).get("hostProcess")):
        yield Breach("hostProcess", Level.BASELINE, f"{path}.hostProcess", shown(wanted))


def host_port(value: Any, path: str) -> Iterator[Breach]:
    if value not in (None, 0, "0", ""):
        yield Breach("hostPort", Level.BASELINE, path, shown(value), str(value))


def hosts(handler: Mapping[str, Any], path: str) -> Iterator[Breach]:
    """A probe or hook that asks another host than the pod lets the kubelet call for whoever wrote it."""
    for field in HANDLERS:
        if host := mapping(handler.get(field)).get("host"):
            yield Breach("probeHost", Level.BASELINE, f"{path}.{field}.host", shown(host))
