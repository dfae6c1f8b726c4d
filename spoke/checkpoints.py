"""When a job last saved what it needs to go on, as it says itself.

It (or a sidecar, or whoever watches over it) writes the moment on one of its pods or on the workload object. What is no
moment says nothing: the annotation is the user's, and no reason to stop anything. On the host cluster a job touches
the file that `MUSTER_CHECKPOINT_FILE` names instead, and its pod gets the annotation from that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

ANNOTATION = "muster.dev/checkpointed-at"  # RFC 3339
FILE_VARIABLE = "MUSTER_CHECKPOINT_FILE"


def told(metadata: Mapping[str, Any]) -> datetime | None:
    return moment((metadata.get("annotations") or {}).get(ANNOTATION))


def moment(text: object) -> datetime | None:
    """RFC 3339, in UTC where it names no zone; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text.strip())
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)
