"""Objects that a workload names and does not bring: where they must be for its pods to start.

What is optional is no matter, and what Muster brings itself (a dataset's copy in a claim) is not asked for. Names that
are made up only as the workload runs (`{{…}}` of Argo) are nobody's to look for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from placement.data import CLAIM
from placement.workload import Reference, Workload

# Those that are looked for, and the apiVersion that is asked for them.
CHECKED: Mapping[str, str] = {
    "ConfigMap": "v1",
    "Secret": "v1",
    "ServiceAccount": "v1",
    "PersistentVolumeClaim": "v1",
    "NetworkAttachmentDefinition": "k8s.cni.cncf.io/v1",
}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_TOLD = 5


@dataclass(frozen=True, slots=True, order=True)
class ObjectName:
    kind: str
    namespace: str
    name: str

    @property
    def words(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def needed(workload: Workload, brought: Collection[str] = ()) -> tuple[ObjectName, ...]:
    """`brought`: places of data that are filled before it starts, "pvc://namespace/claim"."""
    return named(workload.references, workload.namespace, brought)


def named(references: Iterable[Reference], namespace: str, brought: Collection[str] = ()) -> tuple[ObjectName, ...]:
    found: dict[ObjectName, None] = {}
    for each in references:
        name = ObjectName(each.kind, each.namespace or namespace, each.name)
        claimed = each.kind == "PersistentVolumeClaim" and f"{CLAIM}{name.namespace}/{name.name}" in brought
        if each.kind in CHECKED and _NAME.fullmatch(each.name) and not claimed:
            found[name] = None
    return tuple(found)


def in_words(names: Collection[ObjectName]) -> str:
    shown = ", ".join(one.words for one in sorted(names)[:_TOLD])
    return shown + (f" and {len(names) - _TOLD} more" if len(names) > _TOLD else "")
