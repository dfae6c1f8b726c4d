"""What goes over the wire about tenants, and what a document of kind Tenant says."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from hub.api.schemas import Wire
from placement.safety.levels import Level
from placement.safety.policy import FOR_RDMA, Exemption, Kinds, Namespaces

KIND = "Tenant"


class _Tuples(Wire):
    model_config = ConfigDict(strict=False)  # JSON has lists where these values have tuples


class TenantSpec(_Tuples):
    namespaces: Namespaces | None = Field(
        default=None,
        description="Names, or patterns: team-*. The first name is for manifests that name none. null: its own name.",
    )
    level: Level = Field(default=Level.BASELINE, description="Pod Security Standard that its pods are held to.")
    kinds: Kinds = Field(default=("*",), description="batch/v1/Job, kubeflow.org/*: of those that the hub knows.")
    exemptions: tuple[Exemption, ...] = Field(default=(FOR_RDMA,), description="Single controls lifted, by namespace.")
    queues: tuple[str, ...] = Field(default=("*",), description="Names, or patterns.")


class TenantOut(_Tuples):
    name: str
    namespaces: tuple[str, ...]
    home: str = Field(description='For manifests that name none; "" where it has none.')
    level: Level
    kinds: tuple[str, ...]
    exemptions: tuple[Exemption, ...]
    queues: tuple[str, ...]
    described: bool = Field(description="False: nobody did, and this is what a tenant has then.")


class TenantListOut(Wire):
    tenants: list[TenantOut]
