"""The nodes of the host cluster: declared in a file, or found on this machine.

    detect: gpus            # always | gpus | never: this machine as a node; `gpus` only if NVML finds any
    nodes:
      - name: r1-n1
        count: 1            # more than one: r1-n1-0, r1-n1-1 …
        domains: {rack: r1, zone: a}
        labels: {team: vision}
        taints: [{key: spot, value: "true", effect: NoSchedule}]
        cpu: 64
        memory: 512Gi
        gpus: {product: NVIDIA-A100-SXM4-80GB, count: 8, memory_mib: 81920, links: nvlink}

Declared nodes are taken at their word and may be fictional: whatever is bound to any of them runs on this machine, and
neither CPU nor memory is enforced. `links` is `nvlink` (all cards alike), `pairs` (0-1, 2-3 … close) or a matrix.
Without a file the machine itself is the only node (`detect: always`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from placement.inventory import DEFAULT_LEVELS
from spoke.cluster.port import Object
from spoke.nodes import HOST_KUBELET, LINKS_ANNOTATION

NVLINK, SAME_SWITCH, FAR = 100, 50, 10
Card = tuple[str, int]  # product, memory in MiB
Detect = Literal["always", "gpus", "never"]


class NodesFileError(Exception):
    """The file names no usable nodes; the message says where and how to mend it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DeclaredGpus(_Strict):
    product: str
    count: Annotated[int, Field(ge=1, le=64)]
    memory_mib: Annotated[int, Field(ge=0)] = 0
    resource: str = "nvidia.com/gpu"
    links: Literal["nvlink", "pairs"] | list[list[int]] = []


class DeclaredTaint(_Strict):
    key: str
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class DeclaredNode(_Strict):
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")]
    count: Annotated[int, Field(ge=1, le=5000)] = 1
    domains: dict[str, str] = {}
    labels: dict[str, str] = {}
    taints: list[DeclaredTaint] = []
    cpu: Annotated[float, Field(gt=0)] = 8
    memory: str = "32Gi"
    gpus: DeclaredGpus | None = None


class NodesFile(_Strict):
    detect: Detect = "never"
    nodes: list[DeclaredNode] = []


def load(file: Path | None) -> tuple[Object, ...]:
    """The Node objects of a file, or of this machine. Raises NodesFileError."""
    declared = NodesFile(detect="always") if file is None else _read(file)
    nodes = (*_declared(declared.nodes), *detected(declared.detect))
    names = [node["metadata"]["name"] for node in nodes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise NodesFileError(f"{file}: nodes: the name {twice[0]!r} is used twice; give each node its own")
    if not nodes:
        raise NodesFileError(f"{file}: nodes: none is declared and none detected; declare some or set detect: always")
    return nodes


def detected(detect: Detect, find_cards: Callable[[], Sequence[Card]] | None = None) -> tuple[Object, ...]:
    """This machine as a node, or nothing."""
    if detect == "never":
        return ()
    cards = (find_cards or _nvml_cards)()
    if detect == "gpus" and not cards:
        return ()
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    gpus = None
    if cards:
        product, card_mib = cards[0]  # a machine of mixed cards is named after the first, as GFD does
        gpus = DeclaredGpus(product=product.replace(" ", "-"), count=len(cards), memory_mib=card_mib)
    declared = DeclaredNode(name="this", cpu=os.cpu_count() or 1, memory=f"{memory_mib}Mi", gpus=gpus)
    return (_node(this_node(), declared),)


def this_node() -> str:
    """The name of this machine as a node."""
    return socket.gethostname().lower().replace("_", "-").strip(".-") or "this-machine"


def _read(file: Path) -> NodesFile:
    try:
        value: Any = yaml.safe_load(file.read_text())
    except OSError as error:
        raise NodesFileError(f"{file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise NodesFileError(f"{file}: no YAML: {error}") from error
    try:
        return NodesFile.model_validate(value or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NodesFileError(f"{file}: {where}: {first['msg']} (found {first['input']!r})") from error


def _declared(declared: Sequence[DeclaredNode]) -> Iterator[Object]:
    for node in declared:
        for number in range(node.count):
            yield _node(node.name if node.count == 1 else f"{node.name}-{number}", node)


def _node(name: str, declared: DeclaredNode) -> Object:
    keys = dict(DEFAULT_LEVELS)
    labels = {
        "kubernetes.io/hostname": name,
        **{keys.get(level, level): domain for level, domain in declared.domains.items()},
        **_gpu_labels(declared.gpus),
        **declared.labels,
    }
    amounts = {"cpu": f"{round(declared.cpu * 1000)}m", "memory": declared.memory, "pods": "250"}
    annotations = {}
    if declared.gpus is not None:
        amounts[declared.gpus.resource] = str(declared.gpus.count)
        if declared.gpus.links:
            annotations[LINKS_ANNOTATION] = orjson.dumps(_links(declared.gpus)).decode()
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {"taints": [taint.model_dump() for taint in declared.taints]},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True", "reason": "HostClusterReady"}],
            "nodeInfo": {"kubeletVersion": HOST_KUBELET},
        },
    }


def _gpu_labels(gpus: DeclaredGpus | None) -> dict[str, str]:
    """What GPU Feature Discovery would say."""
    if gpus is None or not gpus.resource.startswith("nvidia.com/"):
        return {}
    labels = {"nvidia.com/gpu.product": gpus.product, "nvidia.com/gpu.count": str(gpus.count)}
    return labels | ({"nvidia.com/gpu.memory": str(gpus.memory_mib)} if gpus.memory_mib else {})


def _links(gpus: DeclaredGpus) -> list[list[int]]:
    if not isinstance(gpus.links, str):
        return gpus.links
    row = range(gpus.count)
    if gpus.links == "nvlink":
        return [[0 if i == j else NVLINK for j in row] for i in row]
    return [[0 if i == j else SAME_SWITCH if i // 2 == j // 2 else FAR for j in row] for i in row]


def _nvml_cards() -> list[Card]:
    """Each card; none where there is no driver."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [(_text(pynvml.nvmlDeviceGetName(h)), pynvml.nvmlDeviceGetMemoryInfo(h).total >> 20) for h in handles]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
