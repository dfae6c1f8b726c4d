"""From a container's spec to the process that stands for it: argv, environment and working directory.

The image is not run, so a container must say its command (or at least args). Variables expand as in Kubernetes:
`$(NAME)` from what is defined before, `$$` for a dollar, unknown names stay. Paths below a volume's mountPath are
rewritten to where the volume lies on this machine, host names that only a cluster's DNS knows to 127.0.0.1.
"""

from __future__ import annotations

import os
import re
import sys
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoke.checkpoints import FILE_VARIABLE
from spoke.cluster.host_runs import Command
from spoke.cluster.port import Object
from spoke.pods import GPUS_ANNOTATION

LOOPBACK = "127.0.0.1"
# What a process inherits from the spoke: enough to find programs and to write files, none of the spoke's secrets.
INHERITED = ("PATH", "HOME", "USER", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
_HOLDS_ADDRESS = re.compile(r"(^|_)(ADDR|ADDRESS|HOSTS?|ENDPOINTS?|URL|URI|MASTER)$")
_VARIABLE = re.compile(r"\$\$|\$\((?P<name>[^()\s]+)\)")

Lookup = Callable[[str, str], Object | None]  # (kind, name) in the pod's namespace: a ConfigMap, a Secret


class ConfigError(Exception):
    """The container cannot be started as things are; the message says what is missing."""


class NoCommand(ConfigError):
    """The container can never be started here."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where on this machine a pod runs."""

    directory: Path  # working directory of containers that name none
    volumes: Mapping[str, Path]  # by volume name; the ones not in here are ignored
    lookup: Lookup
    host_names: frozenset[str] = frozenset()  # qualified ("worker-0.svc.team"): rewritten wherever they stand
    peers: frozenset[str] = frozenset()  # bare names of services and pods: rewritten in variables that hold addresses


def command_of(pod: Object, container: Object, place: Place) -> Command:
    """Raises ConfigError."""
    declared = environment(pod, container, place)
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    if not words:
        raise NoCommand(
            f"container {container['name']} has no command: the host cluster runs processes and not images, "
            "so the manifest must say the command"
        )
    localise = _localiser(container, place)
    find_peers = _replacing(place.peers, LOOPBACK)
    env = {
        name: localise(find_peers(value) if _HOLDS_ADDRESS.search(name) else value) for name, value in declared.items()
    }
    argv = tuple(localise(expand(str(word), declared)) for word in words)
    cwd = localise(str(container.get("workingDir") or place.directory))
    if not Path(cwd).is_dir():
        raise ConfigError(f"container {container['name']}: workingDir {cwd} is not a directory of this machine")
    return Command(argv, {**_inherited(), **_given(pod, container, place), **env}, cwd)


def environment(pod: Object, container: Object, place: Place) -> dict[str, str]:
    """The variables that the manifest declares, expanded. Raises ConfigError."""
    found: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        found.update(_all_keys(source, place.lookup))
    for entry in container.get("env") or ():
        if "valueFrom" in entry:
            value = _value_from(pod, entry["valueFrom"], place.lookup)
        else:
            value = expand(str(entry.get("value") or ""), found)
        if value is not None:
            found[entry["name"]] = value
    return found


def expand(text: str, variables: Mapping[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return "$"
        return variables.get(name, match[0])

    return _VARIABLE.sub(replace, text)


def gpus_of(pod: Object, container: Object) -> tuple[str, ...]:
    """The container's part of the GPU indices that the pod was bound with, dealt out in the containers' order."""
    indices = [index for index in _annotation(pod, GPUS_ANNOTATION).split(",") if index]
    containers: Sequence[Object] = pod["spec"]["containers"]
    if container not in containers:  # an init container may use them all: the others have not begun
        return tuple(indices) if _gpus_wanted(container) else ()
    at = sum(_gpus_wanted(other) for other in containers[: containers.index(container)])
    return tuple(indices[at : at + _gpus_wanted(container)])


def _inherited() -> dict[str, str]:
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    # `python` is the interpreter that Muster runs on, whatever else the machine has.
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    return kept


def checkpoint_file(work: Path) -> Path:
    """What a job touches when it has saved what it needs to go on; one for each pod."""
    return work / ".checkpointed"


def _given(pod: Object, container: Object, place: Place) -> dict[str, str]:
    return {
        FILE_VARIABLE: str(checkpoint_file(place.directory)),
        "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
        "CUDA_VISIBLE_DEVICES": ",".join(gpus_of(pod, container)),
    }


def _gpus_wanted(container: Object) -> int:
    limits: Mapping[str, Any] = (container.get("resources") or {}).get("limits") or {}
    return sum(int(amount) for name, amount in limits.items() if name.endswith("/gpu"))


def _annotation(pod: Object, name: str) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(name, ""))


def _all_keys(source: Mapping[str, Any], lookup: Lookup) -> dict[str, str]:
    for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        if field in source:
            reference = source[field]
            data = _data(kind, reference["name"], bool(reference.get("optional")), lookup)
            return {source.get("prefix", "") + key: value.decode(errors="replace") for key, value in data.items()}
    return {}


def _value_from(pod: Object, source: Mapping[str, Any], lookup: Lookup) -> str | None:
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if field in source:
            reference = source[field]
            optional = bool(reference.get("optional"))
            data = _data(kind, reference["name"], optional, lookup)
            if reference["key"] not in data and not optional:
                raise ConfigError(f"{kind} {reference['name']!r} has no key {reference['key']!r}")
            return data[reference["key"]].decode(errors="replace") if reference["key"] in data else None
    if "fieldRef" in source:
        return _field(pod, source["fieldRef"]["fieldPath"])
    raise ConfigError(f"env valueFrom {', '.join(source)} is not supported on the host cluster")


def _field(pod: Object, path: str) -> str:
    metadata = pod["metadata"]
    simple = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        **dict.fromkeys(("status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"), LOOPBACK),
    }
    if path in simple:
        return str(simple[path])
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if match is None:
        raise ConfigError(f"env fieldRef {path!r} is not a field that a pod offers")
    return str((metadata.get(match[1]) or {}).get(match[2], ""))


def data_of(obj: Object) -> dict[str, bytes]:
    """A ConfigMap's or Secret's keys and contents."""
    plain = {key: str(value).encode() for key, value in (obj.get("data") or {}).items()}
    if obj["kind"] == "Secret":
        texts = {key: str(value).encode() for key, value in (obj.get("stringData") or {}).items()}
        return {key: b64decode(value) for key, value in plain.items()} | texts
    return plain | {key: b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}


def _data(kind: str, name: str, optional: bool, lookup: Lookup) -> dict[str, bytes]:
    obj = lookup(kind, name)
    if obj is not None:
        return data_of(obj)
    if optional:
        return {}
    raise ConfigError(f"{kind} {name!r} not found")


def _localiser(container: Object, place: Place) -> Callable[[str], str]:
    """Rewrites mount paths and cluster-only host names in one text."""
    mounts = {
        str(mount["mountPath"]).rstrip("/"): place.volumes[mount["name"]] / mount.get("subPath", "")
        for mount in container.get("volumeMounts") or ()
        if mount["name"] in place.volumes
    }
    find_hosts = _replacing(place.host_names, LOOPBACK)
    if not mounts:
        return find_hosts
    path = re.compile(rf"(?<![\w./-])({_either(mounts)})(?=$|[/\s:;,'\")])")
    return lambda text: find_hosts(path.sub(lambda match: str(mounts[match[1]]), text))


def _replacing(names: Collection[str], replacement: str) -> Callable[[str], str]:
    if not names:
        return lambda text: text
    pattern = re.compile(rf"(?<![\w./-])({_either(names)})(?![\w-]|\.\w)|(?<=//)({_either(names)})(?![\w-]|\.\w)")
    return lambda text: pattern.sub(replacement, text)


def _either(names: Collection[str]) -> str:
    """The longest first, so that /data/cache wins over /data."""
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
