"""Marks that must outlive the agent: an Event that told of an Xid is gone from the API server within the hour.

One small JSON file beside the ledger, replaced as a whole. It is worth less than a job: where it cannot be read or
written, that is logged, and marks are what sources say now.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from spoke.gpus.book import AT_MOST, Happened
from spoke.gpus.signs import Card, Sign

log = logging.getLogger(__name__)

_NODES = 10_000  # at most so many nodes' marks are read


class Memory:
    """`file` None: nothing is remembered."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def load(self) -> list[Happened]:
        if self._file is None or not self._file.exists():
            return []
        try:
            rows = orjson.loads(self._file.read_bytes())
            return [_read(row) for row in rows[: AT_MOST * _NODES]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read, marks of GPUs from before are forgotten: %s", self._file, error)
            return []

    def save(self, happened: Sequence[Happened]) -> None:
        """Blocks for as long as the disk takes."""
        if self._file is None:
            return
        fresh = self._file.with_suffix(".new")
        try:
            with fresh.open("wb") as out:
                out.write(orjson.dumps([_row(one) for one in happened]))
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(self._file)
        except OSError as error:
            log.warning("%s cannot be written, marks of GPUs may be forgotten at a restart: %s", self._file, error)


def _row(one: Happened) -> dict[str, Any]:
    card = one.sign.card
    return {
        "node": one.node,
        "boot": one.boot,
        "at": one.at.isoformat(),
        "index": card.index,
        "uuid": card.uuid,
        "pci": card.pci,
        "why": one.sign.why,
    }


def _read(row: dict[str, Any]) -> Happened:
    card = Card(row["index"], row["uuid"], row["pci"])
    return Happened(row["node"], row["boot"], datetime.fromisoformat(row["at"]), Sign(card, row["why"]))
