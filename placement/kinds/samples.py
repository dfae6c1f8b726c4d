"""A kind file's own sample, read by the file itself: what it says must come out of it.

A path that is misspelt leads nowhere and is no error by itself: the kind would be read as one without pods, without a
queue, for ever starting. A sample shows it before the file is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from placement.kinds import reader
from placement.kinds.catalogue import Catalogue
from placement.kinds.documents import Document
from placement.kinds.kind import Kind, OtherKinds, Sample
from placement.kinds.observe import observe
from placement.kinds.problems import ManifestError

_NOTHING_ELSE = OtherKinds((), ())


def problems(kind: Kind, known: Iterable[Kind] = ()) -> Iterator[str]:
    """What the sample says and the file does not, each with its field; nothing where there is no sample. `known`: other
    kinds, which it may be made of."""
    sample = kind.rules.sample
    if sample is None:
        return
    manifest = manifest_of(kind, sample)
    others = [other for other in known if other.resource_kind != kind.resource_kind]
    catalogue = Catalogue((*others, kind), _NOTHING_ELSE)
    kind = catalogue.kinds[-1]  # which knows the others
    try:
        (submission,) = reader.read_documents([Document(1, manifest)], catalogue)
    except ManifestError as error:
        yield f"sample.manifest cannot be read: {error}"
        return
    workload = submission.workload
    found = {"pods": workload.pods, "gpus": workload.total_gpus, "gang": workload.min_pods}
    for name, value in found.items():
        wanted = getattr(sample, name)
        if wanted is not None and value != wanted:
            yield f"sample.{name} is {wanted}, and {value} are read from sample.manifest"
    for event, status in sample.statuses.items():
        said = observe(kind, {**submission.manifest, "status": status})
        if said.event != event:
            yield f"sample.statuses.{event}: that status says {said.event or said.not_understood or 'nothing'}"


def manifest_of(kind: Kind, sample: Sample) -> dict[str, Any]:
    """Whole: with the apiVersion and kind of the file, and a name."""
    metadata = sample.manifest.get("metadata")
    named = {"name": "sample", **metadata} if isinstance(metadata, dict) else {"name": "sample"}
    return {**sample.manifest, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": named}
