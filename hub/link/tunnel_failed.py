"""Why a tunnel was not opened."""

from __future__ import annotations

from wire.tunnels import Closed


class TunnelFailed(Exception):
    def __init__(self, closed: Closed) -> None:
        super().__init__(closed.message)
        self.closed = closed
