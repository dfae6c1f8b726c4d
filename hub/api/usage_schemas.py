"""What /v1/top answers."""

from __future__ import annotations

from pydantic import Field

from hub.api.schemas import Wire


class JobUseOut(Wire):
    """What nothing measures is null."""

    job: str
    name: str
    tenant: str
    user: str
    queue: str
    cluster: str
    gpus: int = Field(description="Given to its pods.")
    measured: int = Field(description="Of them, those whose use is told.")
    idle: int = Field(description="Of them, those used less than 5 % for 10 minutes.")
    util_percent: float | None = Field(description="The mean of those measured.")
    active_percent: float | None = Field(description="Of the time, how much an engine of the GPU was busy.")
    used_mib: float | None = Field(description="Memory of all its GPUs.")
    total_mib: float | None
    power_w: float | None
    cpu_millicores: float | None
    ram_mib: float | None


class TopOut(Wire):
    jobs: list[JobUseOut]
    notes: list[str] = Field(description="What could not be read, for people.")
