"""What goes over the wire about overrides, and what a document of kind Override says."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, Field, TypeAdapter

from hub.api.schemas import Wire
from placement.overrides.override import (
    MAX_ENV,
    ClaimNames,
    ClassName,
    Clusters,
    EnvVar,
    ImageRewrite,
    ObjectPatch,
    Override,
    Toleration,
    Workloads,
)

KIND = "Override"
_OVERRIDE: TypeAdapter[Override] = TypeAdapter(Override)


class OverrideSpec(Wire):
    model_config = ConfigDict(strict=False)  # JSON has lists where these values have tuples

    clusters: Clusters = Field(description="By labels, names (or patterns) and regions: all that is said must hold.")
    workloads: Workloads = Field(default=Workloads(), description="Of which kinds, namespaces, tenants and queues.")
    priority: int = Field(default=0, ge=-1000, le=1000, description="The lowest is applied first; within one, by name.")
    images: tuple[ImageRewrite, ...] = Field(default=(), max_length=100, description="Registries, {from, to}.")
    storage_class: ClassName = Field(default="", description="Of every claim that is made.")
    claims: ClaimNames = Field(default={}, description="The name that manifests say: the one that is there.")
    env: tuple[EnvVar, ...] = Field(default=(), max_length=MAX_ENV, description="In every container.")
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=100, description="Added to every pod.")
    node_selector: dict[str, str] = Field(default={}, description="Added to every pod.")
    runtime_class: ClassName = Field(default="", description="Of every pod.")
    patches: tuple[ObjectPatch, ...] = Field(default=(), max_length=100, description="RFC 6902, by kind and name.")


class OverrideOut(Wire):
    model_config = ConfigDict(strict=False)

    name: str
    spec: OverrideSpec
    selects: list[str] = Field(description="Clusters that it means now.")
    changes: list[str] = Field(description="The fields that change something.")
    changed_by: str
    changed_at: datetime


class OverrideListOut(Wire):
    overrides: list[OverrideOut] = Field(description="In the order in which they are applied.")


def of_spec(name: str, spec: OverrideSpec) -> Override:
    return Override(name, **{field: getattr(spec, field) for field in OverrideSpec.model_fields})


def spec_of(override: Override) -> OverrideSpec:
    said = _OVERRIDE.dump_python(override, mode="json", by_alias=True)
    return OverrideSpec.model_validate({key: value for key, value in said.items() if key != "name"})
