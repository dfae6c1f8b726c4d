"""Data that a manifest names without Muster's hints: claims that its pods mount, and URIs of object stores in the
commands, arguments and variables of its containers.

They matter only where a dataset holds them. What a program makes up at run time is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from placement.data import CLAIM
from placement.kinds import fields
from placement.kinds.fields import Object
from placement.workload import DataUse, Reference

AT_MOST = 64  # of one workload: a generated list of files is not a list of datasets
CLAIM_KIND = "PersistentVolumeClaim"

_URI = re.compile(r"(?<![\w+.-])(?:s3a?|gs|az|abfss?|hf|oss|cos)://[^\s\"'`,;|<>(){}\[\]\\]+")


def of_pods(
    templates: Iterable[Object], references: Iterable[Reference], namespace: str, known: Sequence[DataUse]
) -> tuple[DataUse, ...]:
    """What the hints say (`known`), and what the pods name beyond it, each once."""
    named = {use.name for use in known}
    found: dict[str, None] = {}
    for reference in references:
        if reference.kind == CLAIM_KIND:
            found[f"{CLAIM}{namespace}/{reference.name}"] = None
    for template in templates:
        for uri in _uris(template):
            found[uri] = None
    beyond = [DataUse(name) for name in found if name not in named]
    return (*known, *beyond[:AT_MOST])


def without_claims(uses: Sequence[DataUse], namespace: str, names: Iterable[str]) -> tuple[DataUse, ...]:
    """Claims that come along with the workload hold nothing yet."""
    gone = {f"{CLAIM}{namespace}/{name}" for name in names}
    return tuple(use for use in uses if use.name not in gone)


def _uris(template: Object) -> list[str]:
    spec = template.get("spec")
    if not isinstance(spec, dict):
        return []
    found: list[str] = []
    for part in ("initContainers", "containers"):
        if part in spec:
            for container in fields.dicts(spec[part]):
                for text in _with_uris(container):
                    found += [match[0].rstrip("/.:") for match in _URI.finditer(text)]
    return found


def _with_uris(container: Mapping[str, Any]) -> list[str]:
    """Its texts that may hold some."""
    texts: list[str] = []
    for part in ("command", "args"):
        if isinstance(words := container.get(part), list):
            texts += [word for word in words if isinstance(word, str) and "://" in word]
    if "env" in container:
        given = [variable.get("value") for variable in fields.dicts(container["env"])]
        texts += [value for value in given if isinstance(value, str) and "://" in value]
    return texts
