"""The hub's settings: MUSTER_HUB_… in the environment, flags of `muster hub` over them, defaults for a laptop."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

LOCAL_NAMES = ("localhost", "127.0.0.1")

MAX_REPLICA_NAME = 253

Names = Annotated[tuple[str, ...], NoDecode]  # "a,b" in the environment
Port = Annotated[int, Field(ge=0, le=65_535)]


class HubSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MUSTER_HUB_", extra="forbid", frozen=True)

    data_dir: Path = Field(
        default=Path(".muster/hub"), description="CA, database, tokens: keep it, and keep it private."
    )
    rest_host: str = Field(default="127.0.0.1", description="Where the REST API listens.")
    rest_port: Port = Field(default=8443, description="0: any free port.")
    grpc_host: str = Field(default="127.0.0.1", description="Where spokes dial in.")
    grpc_port: Port = Field(default=8444, description="0: any free port.")
    public_names: Names = Field(
        default=(), description="Host names and addresses people and spokes use, for the hub's certificate."
    )
    grpc_public_address: str = Field(
        default="", description="HOST:PORT that spokes dial; else the host they joined at, and the gRPC port."
    )
    ca_dir: Path | None = Field(
        default=None, description="Where a CA lies to be used (ca.crt, ca.key); else the hub makes its own."
    )
    rest_certificate: Path | None = Field(
        default=None, description="PEM: a certificate for the REST API under the names it has; with rest_key."
    )
    rest_key: Path | None = Field(default=None, description="PEM: the key of rest_certificate.")
    database_url: str = Field(
        default="", description="postgresql://USER:PASSWORD@HOST/NAME; else SQLite in the data directory."
    )
    replica_name: str = Field(default="", description="Among replicas on one PostgreSQL; else this machine's name.")
    leader_lease_s: float = Field(
        default=10.0, ge=0.5, le=300, description="A replica that leads and is silent for longer is replaced."
    )
    price_book: Path | None = Field(default=None, description="YAML, read at every start; replaces the stored book.")
    models_store: str = Field(
        default="", description="s3://BUCKET/PREFIX, gs://…, az://… or a directory; else models in the data directory."
    )
    queues: Names = Field(default=("default",), description="The first queues; later ones are made by `muster queue`.")
    fair_share_half_life_h: float = Field(
        default=24.0, gt=0, le=8_760, description="What a queue used so long ago counts half for its fair share."
    )
    heartbeat_s: float = Field(default=5.0, gt=0, le=300)
    lease_s: float = Field(default=60.0, gt=0, le=86_400, description="Silent for longer, a cluster is lost.")
    certificate_life_s: float = Field(default=86_400, ge=5, description="A spoke's; renewed at two thirds of it.")
    keep_ended_days: float = Field(default=30, gt=0, description="Ended jobs and their history are kept so long.")
    join_token_life_s: float = Field(default=900, gt=0, le=86_400)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    admin_token_file: Path | None = Field(default=None, description="Else admin.token in the data directory.")

    @field_validator("public_names", "queues", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> HubSettings:
        if (self.rest_certificate is None) != (self.rest_key is None):
            given, other = ("rest_key", "rest_certificate") if self.rest_key else ("rest_certificate", "rest_key")
            raise ValueError(f"{given} is given and {other} is not: give both, or none")
        if not self.queues:
            raise ValueError("queues: name one at least")
        if self.lease_s < 3 * self.heartbeat_s:
            raise ValueError(
                f"lease_s is {self.lease_s:g}, heartbeat_s {self.heartbeat_s:g}: "
                "a lease must outlast three heartbeats, or one lost packet makes a cluster lost"
            )
        return self

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'hub.sqlite'}"

    @property
    def models(self) -> str:
        return self.models_store or str(self.data_dir.resolve() / "models")

    @property
    def replica(self) -> str:
        return (self.replica_name or socket.gethostname())[:MAX_REPLICA_NAME]

    @property
    def token_path(self) -> Path:
        return self.admin_token_file or self.data_dir / "admin.token"

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """Without repeats: this machine's own names, what is configured, and addresses that are listened on."""
        listening = (host for host in (self.rest_host, self.grpc_host) if host not in ("0.0.0.0", "::", ""))  # noqa: S104
        return tuple(dict.fromkeys((*LOCAL_NAMES, *listening, *self.public_names)))
