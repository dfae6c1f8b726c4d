"""Objects as a spoke applies them: labelled as one epoch of a job, and told to wait for Muster's scheduler.

The labels go on the workload and on every pod template; a Pod is its own template. Dependencies are not labelled here:
the spoke marks those it makes, for two jobs may share one. Selectors stay as they are: they select by the user's
labels, which stay too. What only the cluster that an object came from can know (status, uid, owners …) is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from placement import marks
from placement.data import DataPlace
from placement.kinds import companions, datasets, paths, podforms, roles, sizing
from placement.kinds.catalogue import Catalogue
from placement.kinds.fields import Object
from placement.kinds.kind import Kind

_SERVER_FIELDS = frozenset(
    {
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "finalizers",
        "selfLink",
        "ownerReferences",
    }
)


def render(
    objects: Sequence[Object],
    catalogue: Catalogue,
    *,
    job: str,
    epoch: int,
    scheduler: str = "muster",
    namespace: str = "default",
    data: Sequence[DataPlace] = (),
    pods: Mapping[str, int] | None = None,
) -> tuple[dict[str, Any], ...]:
    """Copies of the dependencies, in order, and last the workload; `namespace` is for objects that name none, `data`
    where its datasets are, `pods` how many it is to have of each role, where that is not what it says.

    Raises ValueError unless exactly one of the objects is a workload of the catalogue, and it can have these pods.
    """
    workloads: list[tuple[Kind, dict[str, Any]]] = []
    others: list[dict[str, Any]] = []
    for given in objects:
        obj = _bare(given, namespace)
        kind = catalogue.find(str(obj.get("apiVersion")), str(obj.get("kind")))
        if kind is None:
            others.append(obj)
        else:
            workloads.append((kind, obj))
    if len(workloads) != 1:
        raise ValueError(f"{len(workloads)} of the {len(objects)} objects are workloads, it takes exactly one")
    [(kind, workload)] = workloads
    whose = {marks.JOB: job, marks.EPOCH: str(epoch)}
    if pods:
        sizing.write(kind, workload, pods, others)
    _label(workload, whose)
    _mark_pods(kind, workload, workload["metadata"], others, whose, scheduler)
    datasets.tell(kind, workload, others, data)
    return (*others, workload)


def _mark_pods(
    kind: Kind, obj: dict[str, Any], owner: Object, others: list[dict[str, Any]], whose: dict[str, str], scheduler: str
) -> None:
    """`owner` is the metadata of the whole, of which `obj` may be a part; `others` travel along with it."""
    if (inside := roles.nested(kind, obj)) is not None:
        _mark_pods(*inside, owner, others, whose, scheduler)
        return
    found = roles.shape(kind, obj, beside=others).roles
    companion = companions.FORMS.get(kind.rules.companion)
    if companion is not None and companion.mark(obj, owner, others, [role.name for role in found], whose, scheduler):
        return
    for role in found:
        mine = {**whose, marks.ROLE: role.name}
        if role.rules.pods:
            entry: Any = role.entry  # part of `obj`, as the template is
            podforms.FORMS[role.rules.pods].mark(entry, mine, scheduler)
            continue
        template: Any = role.template  # part of `obj`, which is the caller's own copy
        _label(template, mine)
        _mapping(template, "spec")["schedulerName"] = scheduler
    for path in kind.rules.scheduler:
        _put(obj, path, scheduler)


def _bare(given: Object, namespace: str) -> dict[str, Any]:
    obj = bare(given)
    obj["metadata"]["namespace"] = obj["metadata"].get("namespace") or namespace
    return obj


def bare(given: Object) -> dict[str, Any]:
    """A copy without what a cluster, or Muster in it, says of the object."""
    obj: dict[str, Any] = _copied({key: value for key, value in given.items() if key != "status"})
    metadata = {key: value for key, value in _mapping(obj, "metadata").items() if key not in _SERVER_FIELDS}
    # What only Muster says of an object, where it was taken out of a cluster in which Muster did.
    for part, ours in (("labels", marks.LABELS), ("annotations", marks.ANNOTATIONS)):
        if isinstance(said := metadata.get(part), dict) and ours & said.keys():
            metadata[part] = {key: value for key, value in said.items() if key not in ours}
    obj["metadata"] = metadata
    return obj


def _label(holder: dict[str, Any], labels: dict[str, str]) -> None:
    _mapping(_mapping(holder, "metadata"), "labels").update(labels)


def _put(obj: dict[str, Any], path: paths.Path, value: str) -> None:
    for step in path[:-1]:
        obj = _mapping(obj, step)
    obj[path[-1]] = value


def _mapping(holder: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping under the key; made where it is absent or null."""
    value = holder.get(key)
    if not isinstance(value, dict):
        value = holder[key] = {}
    return value


def _copied(value: Any) -> Any:
    """As copy.deepcopy, but what was shared is not shared in the copy, and several times faster on JSON."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return value
