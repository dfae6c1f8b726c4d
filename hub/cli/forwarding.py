"""Listening on the loopback, each connection one to a pod."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from hub.cli import exits

if TYPE_CHECKING:
    from hub.client import MusterClient
    from hub.tunnel_client import Connection

_PIECE = 32 * 1024
_AT_ONCE = 100  # below what a hub lets one user open


def serve(
    muster: MusterClient,
    ref: str,
    ports: Sequence[tuple[int, int]],
    *,
    service: str = "",
    role: str = "",
    rank: int | None = None,
) -> None:
    """Until it is interrupted."""
    job = muster.job(ref)  # a job that is not there is told now, not with the first connection
    asyncio.run(_Forwarding(muster, job.id, service, role, rank).run(ports))


class _Forwarding:
    def __init__(self, muster: MusterClient, ref: str, service: str, role: str, rank: int | None) -> None:
        self._muster = muster
        self._ref = ref
        self._service = service
        self._role = role
        self._rank = rank
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def run(self, ports: Sequence[tuple[int, int]]) -> None:
        told = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        async with contextlib.AsyncExitStack() as stack:
            for local, remote in ports:
                server = await self._listen(local, remote)
                stack.callback(server.close)
                typer.echo(f"Forwarding from 127.0.0.1:{server.sockets[0].getsockname()[1]} to {self._name(remote)}")
            await told.wait()

    async def _listen(self, local: int, remote: int) -> asyncio.Server:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with self._room:
                    await self._carry(reader, writer, remote)
            except asyncio.CancelledError:  # we end; asyncio's streams (3.11) would call it an error
                return
            finally:
                writer.close()

        try:
            return await asyncio.start_server(serve, "127.0.0.1", local, limit=_PIECE)
        except OSError as error:
            words = f"cannot listen on 127.0.0.1:{local}: {error.strerror}"
            exits.stop(words, "give another LOCAL, or 0", exits.FAILED)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, remote: int) -> None:
        from hub.client import ApiError, HubUnreachable
        from hub.tunnel_client import connection

        try:
            async with connection(
                self._muster, self._ref, remote, service=self._service, role=self._role, rank=self._rank
            ) as pod:
                up = asyncio.create_task(_up(reader, pod))
                try:
                    while data := await pod.read():
                        writer.write(data)
                        await writer.drain()
                finally:
                    up.cancel()
                    await asyncio.gather(up, return_exceptions=True)
        except ApiError as error:
            exits.tell(error.error, self._name(remote))
        except HubUnreachable as error:
            typer.echo(f"muster: {self._name(remote)}: {error}", err=True)
        except OSError:  # whoever connected has gone
            return

    def _name(self, remote: int) -> str:
        return f"{self._service or self._ref}:{remote}"


async def _up(reader: asyncio.StreamReader, pod: Connection) -> None:
    while data := await reader.read(_PIECE):
        await pod.write(data)
    await pod.write_end()
