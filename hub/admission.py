"""What the hub does not let into a cluster, whoever's manifest it is and however well it reads.

A spoke applies what the hub sends with rights over every namespace, so what a submit may reach is decided here and
nowhere else: nothing goes into the namespaces that a cluster itself lives in, nothing into another namespace than its
workload's, and pods get at the machine under them (its network, processes and files) only for an admin.

Not promised: a sandbox. What a cluster allows beyond this is for its own admission (Pod Security) to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from hub.records import Actor, Object, UserRole
from placement.kinds import roles
from placement.kinds.catalogue import Catalogue
from placement.kinds.problems import Problem
from placement.workload import Workload

RESERVED = frozenset({"muster-system"})
RESERVED_PREFIX = "kube-"

_HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_UNPRIVILEGED = "remove it, or ask an admin to submit this"


class Submission(Protocol):
    """A workload as read from a file, with the objects it consists of."""

    @property
    def workload(self) -> Workload: ...
    @property
    def manifest(self) -> Object: ...
    @property
    def dependencies(self) -> Sequence[Object]: ...


def refusals(submission: Submission, actor: Actor, catalogue: Catalogue) -> tuple[Problem, ...]:
    """Why this actor may not submit this; none where they may. The problems name the object, not its document."""
    found = list(_namespaces(submission))
    if actor.role is not UserRole.ADMIN:
        found += _machines(submission, catalogue)
    return tuple(found)


def _namespaces(submission: Submission) -> Iterator[Problem]:
    workload = submission.workload
    if _is_reserved(workload.namespace):
        yield _reserved(_called(workload.kind, workload.name), workload.namespace)
    for one in submission.dependencies:
        metadata = _mapping(one.get("metadata"))
        namespace = metadata.get("namespace") or workload.namespace
        what = _called(one.get("kind"), metadata.get("name"))
        if namespace == workload.namespace:
            continue  # said of the workload already, where it is a reserved one
        if _is_reserved(str(namespace)):
            yield _reserved(what, str(namespace))
        else:
            message = f"{what} is in the namespace {namespace}, its workload {workload.name} in {workload.namespace}"
            yield Problem(0, "metadata.namespace", message, f"say {workload.namespace}, or submit it by other means")


def _is_reserved(namespace: str) -> bool:
    return namespace in RESERVED or namespace.startswith(RESERVED_PREFIX)


def _reserved(what: str, namespace: str) -> Problem:
    message = f"{what} is in the namespace {namespace}, which belongs to the cluster itself"
    return Problem(0, "metadata.namespace", message, "choose a namespace of your own")


def _machines(submission: Submission, catalogue: Catalogue) -> Iterator[Problem]:
    manifest, what = submission.manifest, _called(submission.workload.kind, submission.workload.name)
    kind = catalogue.find(str(manifest.get("apiVersion")), str(manifest.get("kind")))
    if kind is None:
        return
    for role in roles.shape(kind.rules, manifest).roles:
        path = f"{role.template_path}.spec" if role.template_path else "spec"
        for field, wish in _wishes(_mapping(role.template.get("spec"))):
            yield Problem(0, f"{path}.{field}", f"{what} asks for {wish}; only an admin may", _UNPRIVILEGED)


def _wishes(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(field, in words) for everything in a pod's spec that gets at the machine."""
    for field in _HOST_NAMESPACES:
        if spec.get(field):
            yield field, f"the node's own {field.removeprefix('host')}"
    for key in _CONTAINERS:
        for index, container in _listed(spec.get(key)):
            if _mapping(container.get("securityContext")).get("privileged"):
                yield f"{key}[{index}].securityContext.privileged", "a privileged container"
    for index, volume in _listed(spec.get("volumes")):
        if volume.get("hostPath") is not None:
            path = _mapping(volume["hostPath"]).get("path")
            yield f"volumes[{index}].hostPath", f"the node's own files ({path})"


def _called(kind: object, name: object) -> str:
    return f"{kind} {name}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _listed(value: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if isinstance(value, list):
        yield from ((index, each) for index, each in enumerate(value) if isinstance(each, Mapping))
