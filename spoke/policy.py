"""What the owner of this cluster lets the hub do in it, judged here on what is about to be applied.

The policy is a file beside the spoke, read when it starts. No message of the hub changes it, and what it does not allow
is refused before anything is made: other namespaces, other kinds, pods that ask for more than its level gives. Without
a file it is the default below. The hub is told what it says of jobs, so as not to send what would be refused.

`Guard` is asked for everything that comes from the hub: `of_start` for jobs, `of_distributed` for objects that are no
job's, `of_access` for logs, shells and ports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from placement import marks
from placement.kinds.catalogue import Catalogue
from placement.safety import policy, reading
from placement.safety.footprint import Footprint
from placement.safety.policy import Policy, Refusal
from placement.safety.reading import Reading
from wire.orders import JobRef, Object, Start

POLICY = "policy"  # the code of a refusal
BUILTIN = "builtin"  # in a file: every kind that this release knows
Access = Literal["logs", "events", "exec", "port-forward"]
EVERY_ACCESS: tuple[Access, ...] = ("logs", "events", "exec", "port-forward")
# BUILTIN of what is distributed: what configures a cluster and runs nothing. Device plugins run, with rights.
DISTRIBUTED = (
    "v1/ConfigMap",
    "storage.k8s.io/v1/StorageClass",
    "scheduling.k8s.io/v1/PriorityClass",
    "scheduling.volcano.sh/v1beta1/Queue",
    "monitoring.coreos.com/*",
    "data.fluid.io/*",
)
_SAID = 3  # refusals in one sentence
_LONGEST = 1500


class PolicyFileError(Exception):
    """The policy cannot be read: the spoke does not start without one that its owner meant."""


@dataclass(frozen=True, slots=True)
class ClusterPolicy:
    __pydantic_config__ = ConfigDict(extra="forbid")
    jobs: Policy
    distributed: Policy = Policy(kinds=())  # none, until the owner names some
    adopt: bool = False  # what is distributed may take over what exists and is not Muster's
    access: tuple[Access, ...] = EVERY_ACCESS


_FILE = TypeAdapter(ClusterPolicy)


def default(catalogue: Catalogue) -> ClusterPolicy:
    return ClusterPolicy(Policy(kinds=builtin(catalogue)))


def builtin(catalogue: Catalogue) -> tuple[str, ...]:
    """Workloads, and what travels along with them."""
    others = (f"{version}/{other.kind}" for other in catalogue.others.dependencies for version in other.versions)
    return tuple(sorted({*(kind.resource_kind for kind in catalogue.kinds), *others}))


def load(path: Path | None, catalogue: Catalogue) -> ClusterPolicy:
    """Raises PolicyFileError, which names the field, and OSError."""
    if path is None:
        return default(catalogue)
    try:
        said = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
        return parse(said, catalogue)
    except (ValueError, yaml.YAMLError) as error:
        raise PolicyFileError(f"the policy {path} cannot be used: {error}") from error


def parse(said: Any, catalogue: Catalogue) -> ClusterPolicy:
    """Raises ValueError with a sentence."""
    if not isinstance(said, Mapping):
        raise ValueError("it is no mapping: write jobs: {level: baseline}")
    sections = {**said, "jobs": {"kinds": [BUILTIN], **(said.get("jobs") or {})}}
    for name, kinds, unsaid in (("jobs", builtin(catalogue), [BUILTIN]), ("distributed", DISTRIBUTED, [])):
        if isinstance(section := sections.get(name), Mapping):
            sections[name] = {**section, "kinds": _written_out(section.get("kinds", unsaid), kinds)}
    try:
        return _FILE.validate_python(sections)
    except ValidationError as error:
        found = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]
        raise ValueError("; ".join(found)) from error


def _written_out(given: Any, builtin_kinds: Sequence[str]) -> Any:
    if not isinstance(given, list):
        return given
    return [kind for each in given for kind in (builtin_kinds if each == BUILTIN else (each,))]


class Guard:
    """`own_namespace`: where this spoke itself lives, which is nobody's either."""

    def __init__(self, rules: ClusterPolicy, catalogue: Catalogue, own_namespace: str = "") -> None:
        self.rules = rules
        self._catalogue = catalogue
        self._own_namespace = own_namespace

    def of_start(self, ref: JobRef, start: Start) -> str:
        """Why the job may not run here; "" where it may."""
        objects = start.objects
        namespace = _namespace_of(objects[-1])
        found = [*self._misplaced(objects, namespace), *self._not_its_own(start, namespace)]
        given = {marks.JOB: ref.job, marks.EPOCH: str(ref.epoch), marks.ROLE: ""}
        footprint = reading.footprint(objects, self._catalogue, Reading(namespace, given))
        return _in_words([*found, *policy.refusals(self.rules.jobs, footprint)])

    def of_distributed(self, objects: Sequence[Object]) -> str:
        """Of objects that are no job's; each may be of a namespace of its own, or of none. A cluster's own namespaces
        count as allowed where the policy names them."""
        found: list[Refusal] = []
        for obj in objects:
            namespace = _namespace_of(obj)
            footprint = reading.footprint([obj], self._catalogue, Reading(namespace, {}))
            if _type_of(obj) == "v1/Namespace":  # is as if it were in itself
                namespace = str((obj.get("metadata") or {}).get("name"))
                footprint = replace(footprint, namespace=namespace)
            if namespace and namespace == self._own_namespace:
                found.append(_own(namespace))
            rules = self.rules.distributed
            if not namespace:  # of the whole cluster: by its kind alone
                rules, footprint = replace(rules, namespaces=("*",)), replace(footprint, namespace="-")
            elif policy.is_reserved(namespace) and namespace in rules.namespaces and namespace not in policy.RESERVED:
                footprint = replace(footprint, namespace="-")
                rules = replace(rules, namespaces=("-",))
            found += policy.refusals(rules, footprint)
        return _in_words(found)

    def of_access(self, what: Access, namespace: str = "") -> str:
        """Why the hub may not have a job's logs or a shell in it …; "" where it may. `namespace`: of its pods."""
        if what not in self.rules.access:
            return f"the policy of this cluster's owner does not give {what}"
        if namespace:
            return _in_words([*self._misplaced((), namespace), *self._namespace(namespace)])
        return ""

    def of_presence(self, namespace: str) -> str:
        """Why the hub may not know whether an object is there; "" where it may."""
        return _in_words([*self._misplaced((), namespace), *self._namespace(namespace)])

    def _namespace(self, namespace: str) -> Iterable[Refusal]:
        return policy.refusals(replace(self.rules.jobs, kinds=("*",)), Footprint(namespace))

    def _misplaced(self, objects: Sequence[Object], namespace: str) -> Iterable[Refusal]:
        if namespace and namespace == self._own_namespace:
            yield _own(namespace)
        for obj in objects:
            if _namespace_of(obj) != namespace or not namespace:
                said = _namespace_of(obj) or "no namespace"
                message = f"{obj.get('kind')} is of {said}, the workload of {namespace or 'no namespace'}"
                yield Refusal("", "metadata.namespace", message, "")

    def _not_its_own(self, start: Start, namespace: str) -> Iterable[Refusal]:
        workload, obj = start.workload, start.objects[-1]
        told = (workload.resource_kind, workload.namespace)
        if told != (said := (_type_of(obj), namespace)):
            yield Refusal("", "", f"what is told of it ({told[0]} in {told[1]}) is not what it is ({said[0]})", "")
        for move in start.moves:
            if move.place.removeprefix("pvc://").partition("/")[0] != namespace:
                yield Refusal("", "", f"{move.dataset} would be copied to {move.place}, not to {namespace}", "")


def _own(namespace: str) -> Refusal:
    return Refusal("", "metadata.namespace", f"the namespace {namespace} is the spoke's own", "")


def _type_of(obj: Object) -> str:
    return f"{obj.get('apiVersion')}/{obj.get('kind')}"


def _namespace_of(obj: Object) -> str:
    metadata = obj.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    return namespace if isinstance(namespace, str) else ""


def _in_words(found: Sequence[Refusal]) -> str:
    if not found:
        return ""
    named = "; ".join(f"{one.path}: {one.message}" if one.path else one.message for one in found[:_SAID])
    more = f" (and {len(found) - _SAID} more)" if len(found) > _SAID else ""
    return f"the policy of this cluster's owner: {named}"[:_LONGEST] + more
