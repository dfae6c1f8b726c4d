"""Fields that matter outside of a pod's spec, by their names: kinds copy them into places of their own.

A KServe predictor and a Spark driver have a pod's fields beside their own, Argo's templates a container's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from placement.safety import containers, pod_security
from placement.safety.containers import is_on, listed, mapping
from placement.safety.levels import Breach, Level, shown

# Looked at as a whole: their own fields are not looked at again.
WHOLE = frozenset(
    {
        "securityContext",
        "podSecurityContext",
        "capabilities",
        "seccompProfile",
        "appArmorProfile",
        "seLinuxOptions",
        "windowsOptions",
        "hostPath",
        "httpGet",
        "tcpSocket",
        "volumes",
        "volumeMounts",
    }
)


def matters(key: str) -> bool:
    """Whether the field may be a breach, in itself or of a border."""
    return key in _OTHER or key[-9:].lower() == "namespace" or key.startswith("spark.")


def of_field(obj: Mapping[str, Any], key: str, value: Any, path: str) -> Iterator[Breach]:
    """`obj` is the whole object, `path` the field's own."""
    if value is None:
        return
    if key == "volumes":
        yield from _volumes(obj, value, path)
    elif key in _JUDGES:
        yield from _JUDGES[key](value, path)
    elif key in pod_security.HOST_NAMESPACES or key == "privileged":
        if is_on(value):
            yield Breach(key, Level.BASELINE, path, shown(value))
    elif key.startswith("spark."):
        yield from _spark(key, value, path)


def _context(value: Any, path: str) -> Iterator[Breach]:
    yield from containers.of_context(mapping(value), path)
    yield from pod_security.sysctls(mapping(value).get("sysctls"), f"{path}.sysctls")


def _host_path(value: Any, path: str) -> Iterator[Breach]:
    yield pod_security.host_path(value, path, read_only=False)


def _host(value: Any, path: str) -> Iterator[Breach]:
    if host := mapping(value).get("host"):
        yield Breach("probeHost", Level.BASELINE, f"{path}.host", shown(host))


def _volumes(obj: Mapping[str, Any], value: Any, path: str) -> Iterator[Breach]:
    if any(mapping(each).get("hostPath") is not None for each in (value if isinstance(value, list) else ())):
        mounts = list(_mounts(obj))
    else:
        mounts = []
    for breach in pod_security.volumes(value, "", [("", {"volumeMounts": mounts})]):
        yield Breach(
            breach.control,
            breach.level,
            path + breach.path.removeprefix(".volumes"),
            breach.value,
            breach.name,
            breach.read_only and bool(mounts),
        )


def _mounts(value: Any) -> Iterator[Mapping[str, Any]]:
    """All there are in the object: a volume that a kind hands out to its pods may be mounted by any of them."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield from (mount for _, mount in listed(each.get("volumeMounts")))
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def _unseen(value: Any, path: str) -> Iterator[Breach]:
    if value:
        yield Breach("unseen", Level.BASELINE, path, shown(value))


def _made_object(value: Any, path: str) -> Iterator[Breach]:
    """Argo: a template that makes whatever object its text says."""
    for key in ("manifest", "manifestFrom"):
        yield from _unseen(mapping(value).get(key), f"{path}.{key}")


def _trial(value: Any, path: str) -> Iterator[Breach]:
    """Katib: trials made from a text in a ConfigMap."""
    yield from _unseen(mapping(value).get("configMap"), f"{path}.configMap")


def _spark(key: str, value: Any, path: str) -> Iterator[Breach]:
    """Spark's settings reach the pods that it makes itself."""
    if ".volumes.hostPath." in key:
        on_node = str(value) if key.endswith(".options.path") else ""
        yield Breach("hostPath", Level.BASELINE, path, shown(value), on_node)
    elif key.endswith("podTemplateFile"):
        yield from _unseen(value, path)


_JUDGES: Mapping[str, Callable[[Any, str], Iterator[Breach]]] = {
    "securityContext": _context,
    "podSecurityContext": _context,
    "capabilities": containers.capabilities,
    "procMount": lambda value, path: containers.proc_mount(value, path, in_user_namespace=False),
    "seccompProfile": lambda value, path: containers.profile("seccompProfile", value, path),
    "appArmorProfile": lambda value, path: containers.profile("appArmorProfile", value, path),
    "seLinuxOptions": containers.selinux,
    "windowsOptions": containers.host_process,
    "hostPath": _host_path,
    "hostPort": containers.host_port,
    "httpGet": _host,
    "tcpSocket": _host,
    "podSpecPatch": _unseen,
    "resource": _made_object,
    "trialTemplate": _trial,
}
_OTHER = frozenset(
    {
        *_JUDGES,
        *pod_security.HOST_NAMESPACES,
        "privileged",
        "volumes",
        "schedulerName",
        "nodeName",
        "priorityClassName",
    }
)
