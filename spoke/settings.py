"""The spoke's settings: MUSTER_SPOKE_… in the environment, flags of `muster spoke` over them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from placement.inventory import DEFAULT_LEVELS

Levels = Annotated[tuple[tuple[str, str], ...], NoDecode]  # "zone=LABEL,rack=LABEL" in the environment


class SpokeSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MUSTER_SPOKE_", extra="forbid", frozen=True)

    hub: str = Field(description="The hub's REST API: https://hub.example.com:8443")
    hub_link: str = Field(default="", description="HOST:PORT of the hub's gRPC; else as the hub told at joining.")
    token: str = Field(default="", repr=False, description="The join token, for the first start.")
    token_file: Path | None = Field(default=None, description="A file that holds the join token.")
    state_dir: Path = Field(default=Path(".muster/spoke"), description="Identity and ledger: keep it, keep it private.")
    cluster: Literal["kube", "host"] = Field(description="A Kubernetes cluster, or this machine's own processes.")
    kubeconfig: str = Field(default="", description="Else the service account of the pod that this runs in.")
    context: str = Field(default="", description="Of the kubeconfig; else its current one.")
    nodes: Path | None = Field(default=None, description="Host cluster: the nodes and GPUs to play; else this machine.")
    levels: Levels = Field(default=DEFAULT_LEVELS, description="Topology, coarse to fine: zone=LABEL,rack=LABEL,…")
    reconnect_s: float = Field(
        default=15, gt=0, le=300, description="The longest wait between attempts to reach the hub."
    )
    keep_finished_s: float = Field(default=3600, ge=0, description="How long ended jobs keep their pods, for logs.")
    keep_log_mib: int = Field(
        default=4, ge=0, le=1024, description="Of each pod's log, once the pod is gone; 0: logs go with their pods."
    )
    keep_logs_mib: int = Field(default=512, ge=1, description="Of all such logs together; the oldest jobs' go first.")
    keep_logs_days: float = Field(default=7, gt=0, description="How long such logs are kept at the most.")
    copy_image: str = Field(default="", description="Of pods that copy data here: Muster's own. Empty: none do.")
    copy_storage_class: str = Field(default="", description="Of claims made for data; else the cluster's default.")
    copy_access_mode: Literal["ReadWriteMany", "ReadWriteOnce"] = Field(
        default="ReadWriteMany", description="Of claims made for data."
    )
    policy: Path | None = Field(default=None, description="YAML: what jobs may do here; else the default policy.")
    namespace: str = Field(default="", description="Where this spoke itself lives: never a job's.")
    health_port: int = Field(default=0, ge=0, le=65_535, description="HTTP /livez and /readyz; 0: not served.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="before")
    @classmethod
    def _which_cluster(cls, given: object) -> object:
        if isinstance(given, dict) and not given.get("cluster"):
            if given.get("kubeconfig") or "KUBERNETES_SERVICE_HOST" in os.environ:
                return {**given, "cluster": "kube"}
            if given.get("nodes"):
                return {**given, "cluster": "host"}
        return given

    @field_validator("levels", mode="before")
    @classmethod
    def _read_levels(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [piece.strip().partition("=") for piece in value.split(",") if piece.strip()]
        if bad := [name for name, _, label in pairs if not name or not label]:
            raise ValueError(f"levels: {bad[0]!r} has no label; write zone=topology.kubernetes.io/zone,rack=…")
        return tuple((name, label) for name, _, label in pairs)

    @model_validator(mode="after")
    def _consistent(self) -> SpokeSettings:
        names = [name for name, _ in self.levels]
        if len(set(names)) != len(names):
            raise ValueError(f"levels: a name is used twice in {', '.join(names)}")
        if self.cluster == "host" and self.kubeconfig:
            raise ValueError("cluster is host and a kubeconfig is given; leave one of them out")
        if self.cluster == "kube" and self.nodes:
            raise ValueError("cluster is kube and nodes are given; a Kubernetes cluster has its own")
        return self

    def join_token(self) -> str:
        """Raises OSError where the file cannot be read."""
        return self.token_file.read_text().strip() if self.token_file is not None else self.token.strip()
