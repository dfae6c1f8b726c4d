"""What may run in a place: for a tenant at the hub, and for a whole cluster at its spoke, by the same rules.

A policy says which namespaces, which kinds and which level. An exemption lifts single controls for some namespaces: GPU
jobs lock memory (IPC_LOCK) for RDMA, or read data that lies on every node. What is forbidden at every level is lifted
only by naming it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, ConfigDict

from placement.kinds.problems import did_you_mean
from placement.safety.footprint import Footprint
from placement.safety.levels import Breach, Level
from placement.safety.patterns import any_matches
from placement.safety.words import CONTROLS, mend_of, words_of

# A cluster's own, and Muster's: no policy opens them to jobs.
RESERVED = frozenset({"muster-system"})
RESERVED_PREFIX = "kube-"


MAX_STARS = 5
_STRICT = ConfigDict(extra="forbid")
_NAMESPACE = re.compile(r"[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?")
_KIND = re.compile(r"[A-Za-z0-9.*-]+(/[A-Za-z0-9.*-]+){1,2}|\*")
_CAPABILITY = re.compile(r"[A-Z][A-Z0-9_]*")


def _namespace(value: str) -> str:
    if not (1 <= len(value) <= 63 and _NAMESPACE.fullmatch(value) and value.count("*") <= MAX_STARS):
        raise ValueError(f"{value!r} is no namespace: write team-a, or team-* for all that begin so")
    return value


def _kind(value: str) -> str:
    if not (len(value) <= 253 and _KIND.fullmatch(value) and value.count("*") <= MAX_STARS):
        raise ValueError(f"{value!r} is no kind: write batch/v1/Job, kubeflow.org/* or *")
    return value


def _control(value: str) -> str:
    if value not in CONTROLS:
        close = did_you_mean(value, CONTROLS)
        mend = f"did you mean {close}?" if close else f"known: {', '.join(sorted(CONTROLS))}"
        raise ValueError(f"there is no control {value!r}: {mend}")
    return value


def _capability(value: str) -> str:
    if not _CAPABILITY.fullmatch(value) or value.startswith("CAP_"):
        raise ValueError(f"{value!r} is no capability: write IPC_LOCK, without CAP_")
    return value


def _folder(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/"):
        raise ValueError(f"{value!r} is no folder of a node: write /mnt/datasets")
    return value


Namespaces = tuple[Annotated[str, AfterValidator(_namespace)], ...]
Kinds = tuple[Annotated[str, AfterValidator(_kind)], ...]


@dataclass(frozen=True, slots=True)
class Exemption:
    """Lifts what it names, in these namespaces."""

    __pydantic_config__ = _STRICT
    namespaces: Namespaces = ("*",)
    controls: tuple[Annotated[str, AfterValidator(_control)], ...] = ()  # "hostNetwork": whatever is asked of it
    capabilities: tuple[Annotated[str, AfterValidator(_capability)], ...] = ()
    host_paths: tuple[Annotated[str, AfterValidator(_folder)], ...] = ()  # of nodes, for reading
    references: Namespaces = ()  # others that objects may name

    def lifts(self, breach: Breach) -> bool:
        if breach.control in self.controls:
            return True
        match breach.control:
            case "capabilities":
                return breach.name in self.capabilities
            case "hostPath":
                return breach.read_only and any(_is_under(breach.name, folder) for folder in self.host_paths)
            case "namespace":
                return any_matches(self.references, breach.name)
            case _:
                return False


# Locking memory is what RDMA takes, and gets nobody out of a container.
FOR_RDMA = Exemption(capabilities=("IPC_LOCK",))


@dataclass(frozen=True, slots=True)
class Policy:
    __pydantic_config__ = _STRICT
    level: Level = Level.BASELINE
    namespaces: Namespaces = ("*",)
    kinds: Kinds = ("*",)  # "batch/v1/Job", "kubeflow.org/*"
    exemptions: tuple[Exemption, ...] = (FOR_RDMA,)


@dataclass(frozen=True, slots=True)
class Refusal:
    of: str  # "Job train"; "" for all of it
    path: str  # the field
    message: str
    mend: str


def is_reserved(namespace: str) -> bool:
    return namespace in RESERVED or namespace.startswith(RESERVED_PREFIX)


def refusals(policy: Policy, footprint: Footprint) -> Iterator[Refusal]:
    """Why it may not have this; none where it may. The namespace is judged by whoever knows whose it is, too."""
    where = footprint.namespace
    if is_reserved(where):
        message = f"the namespace {where} belongs to the cluster itself"
        yield Refusal("", "metadata.namespace", message, "choose a namespace of your own")
    elif not any_matches(policy.namespaces, where):
        allowed = ", ".join(policy.namespaces) or "none"
        yield Refusal("", "metadata.namespace", f"the namespace {where} is not allowed", f"allowed: {allowed}")
    for kind in footprint.kinds:
        if not any_matches(policy.kinds, kind):
            yield Refusal("", "kind", f"{kind} is not among the kinds that are allowed", "leave it out")
    lifting = [one for one in policy.exemptions if any_matches(one.namespaces, where)]
    for breach in footprint.breaches:
        if policy.level.forbids(breach) and not any(one.lifts(breach) for one in lifting):
            yield Refusal(breach.of, breach.path, _said(breach, policy.level), mend_of(breach))


def _said(breach: Breach, level: Level) -> str:
    by = "" if breach.level is Level.PRIVILEGED else f", which the level {level} forbids"
    return f"{breach.of} {words_of(breach)}{by}"


def _is_under(path: str, folder: str) -> bool:
    """Both absolute; what climbs up lies under nothing."""
    if not path.startswith("/") or ".." in path.split("/"):
        return False
    clean = "/" + "/".join(part for part in path.split("/") if part)
    base = "/" + "/".join(part for part in folder.split("/") if part)
    return clean == base or clean.startswith(base.rstrip("/") + "/")
