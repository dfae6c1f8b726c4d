"""Copies for the host cluster: its claims are directories of this machine, and the spoke fills them itself."""

from __future__ import annotations

from pathlib import Path

from spoke.cluster.host_env import data_of
from spoke.cluster.port import ClusterPort, NotFound, ObjectKey
from spoke.staging import copying
from spoke.staging.port import CannotStage, Copy, Told
from wire.orders import JobRef


class HostStager:
    """`claims`: the directory in which each claim is one, by namespace and name."""

    def __init__(self, port: ClusterPort, claims: Path) -> None:
        self._port = port
        self._claims = claims

    async def copy(self, wanted: Copy, told: Told) -> None:
        options = await self._options(wanted) if wanted.secret else {}
        await copying.copy(wanted.source, self._claims / wanted.namespace / wanted.claim, options, told)

    async def forget(self, ref: JobRef) -> None:
        """Whoever called `copy` is cancelled, and with it all there is."""

    async def _options(self, wanted: Copy) -> dict[str, str]:
        try:
            secret = await self._port.get(ObjectKey("v1", "Secret", wanted.namespace, wanted.secret))
        except NotFound as error:
            message = f"Secret {wanted.secret} is not in namespace {wanted.namespace}: submit it with the job"
            raise CannotStage(message) from error
        return {key: value.decode(errors="replace") for key, value in data_of(secret).items()}
