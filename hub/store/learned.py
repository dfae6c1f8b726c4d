"""Datasets that nobody declared: the claims that clusters hold by their own account.

One dataset for each claim's name, `pvc://namespace/claim`, with a replica in every cluster that has a claim so called,
whatever their sizes: a manifest that mounts the name means the one that is there. Its size is the largest. What was
declared comes before it (placement.data), and is never touched here.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace

from sqlalchemy.orm import Session

from hub.store import datasets
from placement.data import Dataset, Replica

log = logging.getLogger(__name__)

AT_MOST = 20_000  # of all clusters


def told(session: Session, cluster: str, new: Mapping[str, int], gone: Collection[str], room: int) -> None:
    """`new`: sizes of claims that it has, by URI; `gone`: what it has no more. `room`: for so many names more."""
    known = datasets.some(session, (*new, *gone))
    changed: list[Dataset] = []
    for name, dataset in known.items():
        others = tuple(one for one in dataset.replicas if one.cluster != cluster)
        if name in new:
            size = max(new[name], dataset.size_bytes) if others else new[name]
            after = replace(dataset, size_bytes=size, replicas=_sorted(*others, Replica("", cluster, name)))
        else:
            after = replace(dataset, replicas=others)
        if after != dataset:
            changed.append(after)
    fresh = [uri for uri in new if uri not in known]
    if len(fresh) > room:
        log.warning("%s tells of more claims than are kept: there would be more than %d", cluster, AT_MOST)
        fresh = fresh[: max(room, 0)]
    changed += [Dataset(uri, new[uri], (Replica("", cluster, uri),), learned=True) for uri in fresh]
    datasets.save(session, [one for one in changed if one.replicas])
    datasets.forget(session, [one.key for one in changed if not one.replicas])


def _sorted(*replicas: Replica) -> tuple[Replica, ...]:
    return tuple(sorted(replicas, key=lambda one: one.cluster))
