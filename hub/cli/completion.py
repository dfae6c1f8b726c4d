"""What the shell offers for a job or a cluster: asked of the hub, briefly, and nothing where it does not answer."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from hub.client import MusterClient

T = TypeVar("T")

# A shell that waits for a completion is a nuisance.
_PATIENCE_S = 1.0


def jobs(incomplete: str) -> list[tuple[str, str]]:
    page = _answer(lambda client: client.jobs(limit=50))
    if page is None:
        return []
    return [(job.id, f"{job.name} {job.phase}") for job in page.jobs if job.id.startswith(incomplete)] + [
        (job.name, f"{job.id} {job.phase}") for job in page.jobs if incomplete and job.name.startswith(incomplete)
    ]


def clusters(incomplete: str) -> list[tuple[str, str]]:
    found = _answer(lambda client: client.clusters())
    return [(one.name, one.health) for one in found or () if one.name.startswith(incomplete)]


def _answer(ask: Callable[[MusterClient], T]) -> T | None:
    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()), _client() as client:
        return ask(client)
    return None


def _client() -> MusterClient:
    from hub.cli.context import resolve
    from hub.client import MusterClient

    to = resolve(os.environ)
    return MusterClient(to.url, to.token, ca=to.ca or None, timeout_s=_PATIENCE_S, patience_s=0)
