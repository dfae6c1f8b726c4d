"""A file of objects that configure clusters: read within a manifest's limits, and everything wrong told at once.

Whether a kind is of the whole cluster or of a namespace only the clusters know, and so does whether they take it; here
only what is certain is refused.
"""

from __future__ import annotations

import contextlib
from typing import Any

from placement.kinds import documents, identity, reader, render
from placement.kinds.catalogue import Catalogue
from placement.kinds.fields import Object
from placement.kinds.problems import Findings, ManifestError, Problem, TooManyProblems
from placement.objects import ObjectKey

_LONGEST = 253
# Beside the kinds of workloads, and of what travels along with them.
_OF_A_NAMESPACE = frozenset(
    {
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "ReplicaSet"),
        ("v1", "ReplicationController"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding"),
        ("monitoring.coreos.com/v1", "PrometheusRule"),
        ("monitoring.coreos.com/v1", "ServiceMonitor"),
        ("monitoring.coreos.com/v1", "PodMonitor"),
        ("data.fluid.io/v1alpha1", "Dataset"),
        ("data.fluid.io/v1alpha1", "AlluxioRuntime"),
        ("data.fluid.io/v1alpha1", "JuiceFSRuntime"),
    }
)


def read(text: bytes, catalogue: Catalogue, *, namespace: str = "") -> tuple[dict[str, Any], ...]:
    """The objects in order, as they are to be applied. Raises ManifestError with every problem found.

    `namespace` is for those that are known to be of one, and name none.
    """
    problems: list[Problem] = []
    objects: list[dict[str, Any]] = []
    seen: set[ObjectKey] = set()
    given = reader.without_lists(documents.load(text))
    if len(given) > documents.MAX_DOCUMENTS:
        message = f"the file has {len(given)} objects, at most {documents.MAX_DOCUMENTS} are allowed"
        raise ManifestError([Problem(0, "", message, "split the file")])
    for document in given:
        found = Findings(document.number, documents.MAX_PROBLEMS)
        with contextlib.suppress(TooManyProblems):
            if (obj := _read(found, document.body, catalogue, namespace)) is not None:
                if (key := key_of(obj)) in seen:
                    found.error("metadata.name", f"the file has two objects {key}", "rename or remove one")
                seen.add(key)
                objects.append(obj)
        problems += found.problems
    if not objects and not problems:
        problems.append(Problem(0, "", "the file has no objects", "give at least one"))
    if problems:
        raise ManifestError(problems[: documents.MAX_PROBLEMS])
    return tuple(objects)


def key_of(obj: Object) -> ObjectKey:
    metadata = obj["metadata"]
    return ObjectKey(obj["apiVersion"], obj["kind"], metadata.get("namespace") or "", metadata["name"])


def _read(found: Findings, obj: Object, catalogue: Catalogue, given: str) -> dict[str, Any] | None:
    type_ = identity.type_of(found, obj)
    if type_ is None:
        return None
    kind = catalogue.find(*type_)
    if kind is not None and kind.rules.long_running is not True:
        message = f"a {type_[1]} comes to an end, and would be made again and again"
        found.error("kind", message, "muster submit places it")
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        found.error("metadata", "is missing", "give the object a name")
        return None
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST or any(char in name for char in "/%\n"):
        found.error("metadata.name", f"{name!r} is no name", f"give 1 to {_LONGEST} characters without /")
    if namespace is not None and not isinstance(namespace, str):
        found.error("metadata.namespace", f"{namespace!r} is no namespace", "name one, or leave it out")
    known = kind is not None or catalogue.dependency(*type_) is not None or type_ in _OF_A_NAMESPACE
    if known and not (namespace or given):
        message = f"a {type_[1]} is of a namespace, and none is named"
        found.error("metadata.namespace", message, "name one, or give one for all that name none: --namespace")
    identity.check_metadata(found, obj)
    if found.problems:
        return None
    read = render.bare(obj)
    if known and not namespace:
        read["metadata"]["namespace"] = given
    return read
