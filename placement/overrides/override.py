"""One override as it is declared: where it applies, to what, and what it changes there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import jsonpatch
import jsonpointer
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from placement.kinds.pod_changes import PodChange
from placement.safety.policy import MAX_STARS, Kinds, Namespaces

MAX_OPERATIONS = 100  # of one patch
MAX_ENV = 200
_STRICT = ConfigDict(extra="forbid")
_IMAGE_PREFIX = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9._:/-]*")
_ENV_NAME = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*")
_CLASS = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_ENV_FIELDS = frozenset({"name", "value", "valueFrom"})
_TOLERATION_FIELDS = frozenset({"key", "operator", "value", "effect", "tolerationSeconds"})
_OPERATIONS = {"add": "value", "remove": "", "replace": "value", "move": "from", "copy": "from", "test": "value"}


def _several(value: Any) -> Any:
    """`prod` is the same as `[prod]`."""
    return [value] if isinstance(value, str) else value


def _env(value: dict[str, Any]) -> dict[str, Any]:
    name = value.get("name")
    if not isinstance(name, str) or not _ENV_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a variable: write name: NCCL_SOCKET_IFNAME")
    if unknown := value.keys() - _ENV_FIELDS:
        raise ValueError(f"{name} has {', '.join(sorted(unknown))}: a variable has name, and value or valueFrom")
    if not isinstance(value.get("value", ""), str):
        raise ValueError(f"the value of {name} is no text: write it in quotes")
    if "valueFrom" in value and ("value" in value or not isinstance(value["valueFrom"], dict)):
        raise ValueError(f"{name} has a value, or a mapping valueFrom as pods have it, and not both")
    return value


def _toleration(value: dict[str, Any]) -> dict[str, Any]:
    if unknown := value.keys() - _TOLERATION_FIELDS:
        raise ValueError(f"a toleration has no {', '.join(sorted(unknown))}: {', '.join(sorted(_TOLERATION_FIELDS))}")
    if value.get("operator", "Equal") not in ("Equal", "Exists"):
        raise ValueError(f"operator {value['operator']!r} is neither Equal nor Exists")
    if value.get("effect", "") not in ("", "NoSchedule", "PreferNoSchedule", "NoExecute"):
        raise ValueError(f"effect {value['effect']!r} is none: NoSchedule, PreferNoSchedule or NoExecute")
    if not value.get("key") and value.get("operator") != "Exists":
        raise ValueError("a toleration without a key tolerates everything: say so with operator: Exists")
    return value


def _prefix(value: str) -> str:
    if not _IMAGE_PREFIX.fullmatch(value):
        raise ValueError(f"{value!r} is no registry: write docker.io, ghcr.io/team, or * for every registry")
    return value.rstrip("/")


def _target(value: str) -> str:
    if value == "*":
        raise ValueError("* is no registry to take images from")
    return value


def _class(value: str) -> str:
    if value and not (len(value) <= 253 and _CLASS.fullmatch(value)):
        raise ValueError(f"{value!r} is no name: small letters, digits, - and .")
    return value


def _operation(value: dict[str, Any]) -> dict[str, Any]:
    operation, path = value.get("op"), value.get("path")
    if operation not in _OPERATIONS:
        raise ValueError(f"op {operation!r} is none: {', '.join(_OPERATIONS)}")
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError(f"path {path!r} is none: write /spec/template/spec/hostname, with ~1 for / in a key")
    needed = _OPERATIONS[operation]
    if needed and needed not in value:
        raise ValueError(f"{operation} {path} has no {needed}")
    if unknown := value.keys() - {"op", "path", needed}:
        raise ValueError(f"{operation} {path} has {', '.join(sorted(unknown))}, which it does not take")
    try:
        jsonpatch.JsonPatch([value])
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, ValueError) as error:
        raise ValueError(f"{operation} {path}: {error}") from error
    return value


def _claims(value: dict[str, str]) -> dict[str, str]:
    for name in (*value, *value.values()):
        if not (len(name) <= 253 and _CLASS.fullmatch(name)):
            raise ValueError(f"{name!r} is no name of a claim: small letters, digits, - and .")
    return value


ClaimNames = Annotated[dict[str, str], AfterValidator(_claims)]


def _pattern(value: str) -> str:
    if not 1 <= len(value) <= 253 or value.count("*") > MAX_STARS:
        raise ValueError(f"{value[:60]!r} is no name: write gpu-paris, or gpu-* for all that begin so")
    return value


Patterns = Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], BeforeValidator(_several)]
Operation = Annotated[dict[str, Any], AfterValidator(_operation)]
EnvVar = Annotated[dict[str, Any], AfterValidator(_env)]
Toleration = Annotated[dict[str, Any], AfterValidator(_toleration)]
ClassName = Annotated[str, AfterValidator(_class)]


@dataclass(frozen=True, slots=True)
class Clusters:
    """All that is said must hold."""

    __pydantic_config__ = _STRICT
    labels: Mapping[str, Patterns] = field(default_factory=dict)  # each label has one of these values; *: any
    names: Patterns = ()  # or patterns
    regions: Patterns = ()

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if not (self.labels or self.names or self.regions):
            raise ValueError('it names no clusters: give labels, names or regions; names: ["*"] for every cluster')


@dataclass(frozen=True, slots=True)
class Workloads:
    """All that is said must hold; what is not said, of any."""

    __pydantic_config__ = _STRICT
    kinds: Annotated[Kinds, BeforeValidator(_several)] = ("*",)  # kubeflow.org/v1/PyTorchJob, kubeflow.org/*
    namespaces: Annotated[Namespaces, BeforeValidator(_several)] = ("*",)
    tenants: Patterns = ("*",)
    queues: Patterns = ("*",)


@dataclass(frozen=True, slots=True)
class ImageRewrite:
    """`from`: a registry, with or without the beginning of a path; `*` for whatever registry. The first that fits."""

    __pydantic_config__ = _STRICT
    from_: Annotated[str, Field(alias="from"), AfterValidator(_prefix)]
    to: Annotated[str, AfterValidator(_prefix), AfterValidator(_target)]


@dataclass(frozen=True, slots=True)
class ObjectPatch:
    """RFC 6902, of the objects meant: by kind and name; those of the workload's own file."""

    __pydantic_config__ = _STRICT
    operations: tuple[Operation, ...]
    kind: str = ""  # "" with no name: the workload
    name: Annotated[str, AfterValidator(_pattern)] = "*"  # or a pattern
    if_absent: Literal["refuse", "skip"] = "refuse"  # what becomes of a job that has no such object

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if not 1 <= len(self.operations) <= MAX_OPERATIONS:
            raise ValueError(f"it has {len(self.operations)} operations: write 1 to {MAX_OPERATIONS}")


@dataclass(frozen=True, slots=True)
class Override:
    name: str
    clusters: Clusters
    workloads: Workloads = Workloads()
    priority: int = 0  # those of the lowest first, so that higher ones have the last word; within one, by name
    images: tuple[ImageRewrite, ...] = ()
    storage_class: str = ""
    claims: Mapping[str, str] = field(default_factory=dict)  # the name that manifests say -> the one that is there
    env: tuple[Mapping[str, Any], ...] = ()
    tolerations: tuple[Mapping[str, Any], ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    runtime_class: str = ""
    patches: tuple[ObjectPatch, ...] = ()

    @property
    def of_pods(self) -> PodChange:
        return PodChange(self.env, self.tolerations, self.node_selector, self.runtime_class)

    @property
    def changes(self) -> tuple[str, ...]:
        """The fields that change something, for people."""
        names = (
            "images",
            "storage_class",
            "claims",
            "env",
            "tolerations",
            "node_selector",
            "runtime_class",
            "patches",
        )
        return tuple(name for name in names if getattr(self, name))
