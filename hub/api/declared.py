"""What people declare in files: documents with `kind`, `metadata.name` and `spec`, read by a table of kinds.

apiVersion: muster.dev/v1
kind: Queue
metadata: {name: team-a}
spec:
  cohort: research
  quotas: {NVIDIA-A100-SXM4-80GB: {nominal: 8, borrowing_limit: 8}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from hub.api import field_errors, override_schemas, pricebook, tenant_schemas
from hub.api.schemas import DatasetSpec, PriceBookDoc, QueueName, QueueSpec
from placement.kinds import documents
from placement.kinds.problems import ManifestError, Problem, did_you_mean

API_VERSION = "muster.dev/v1"

# kind -> what its spec is
KINDS: Mapping[str, type[BaseModel]] = {
    "Queue": QueueSpec,
    "Dataset": DatasetSpec,
    tenant_schemas.KIND: tenant_schemas.TenantSpec,
    override_schemas.KIND: override_schemas.OverrideSpec,
    pricebook.KIND: PriceBookDoc,
}
# Of which there is one, by this name.
SINGLE: Mapping[str, str] = {pricebook.KIND: "default"}
_NAME: TypeAdapter[str] = TypeAdapter(QueueName)
_FIELDS = frozenset({"apiVersion", "kind", "metadata", "spec"})


@dataclass(frozen=True, slots=True)
class Declared:
    kind: str
    name: str
    spec: BaseModel


def parse(text: bytes) -> tuple[Declared, ...]:
    """Raises ManifestError, with every problem found."""
    problems: list[Problem] = []
    found = [_read(number, body, problems) for number, body in enumerate(documents.parse(text), 1)]
    if not found:
        problems.append(Problem(0, "", "there is nothing in it", f"declare {' or '.join(KINDS)}"))
    read = tuple(one for one in found if one is not None)
    for number, one in enumerate(read):
        if any((one.kind, one.name) == (other.kind, other.name) for other in read[:number]):
            problems.append(Problem(0, "metadata.name", f"{one.kind} {one.name} is declared twice", "keep one of them"))
    if problems:
        raise ManifestError(problems)
    return read


def _read(number: int, body: Mapping[str, Any], problems: list[Problem]) -> Declared | None:
    before = len(problems)
    if body.get("apiVersion") != API_VERSION:
        problems.append(Problem(number, "apiVersion", f"it is {body.get('apiVersion')!r}", f"write {API_VERSION}"))
    kind, metadata = body.get("kind"), body.get("metadata")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        close = did_you_mean(str(kind), KINDS)
        mend = f"did you mean {close}?" if close else f"known: {', '.join(KINDS)}"
        problems.append(Problem(number, "kind", f"{kind!r} cannot be applied", mend))
    for unknown in sorted(body.keys() - _FIELDS):
        problems.append(Problem(number, unknown, "this field is not known", f"known: {', '.join(sorted(_FIELDS))}"))
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    try:
        _NAME.validate_python(name, strict=True)
    except ValidationError:
        mend = "1 to 63 small letters, digits, - and ."
        problems.append(Problem(number, "metadata.name", f"{name!r} is no name", mend))
    if model is None:
        return None
    if name != (single := SINGLE.get(str(kind), name)):
        problems.append(Problem(number, "metadata.name", f"there is one {kind}, not {name!r}", f"call it {single}"))
    try:
        spec = model.model_validate(body.get("spec") or {})
    except ValidationError as error:
        problems += field_errors.problems(error, number, "spec", model.model_fields)
        return None
    if isinstance(spec, PriceBookDoc):
        problems += pricebook.problems(spec, number, "spec")
    return Declared(str(kind), str(name), spec) if len(problems) == before else None
