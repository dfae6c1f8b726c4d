"""A file that holds CronJobs, taken apart: each CronJob with what travels along, and what else is to be submitted.

Documents keep their places, so that what is wrong is told by the number that it has in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from placement.calendar import reading
from placement.kinds import documents, reader
from placement.kinds.catalogue import Catalogue
from placement.kinds.documents import Document

_NOTHING = b"null"
# What JSON writes as it is, and YAML takes only by its number, or for the end of a line.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Split:
    crons: tuple[Document, ...]
    rest: bytes  # the other workloads with what travels along; b"" where there are none
    _others: tuple[Document, ...] = ()

    def with_run(self, number: int, job: dict[str, Any]) -> bytes:
        """A file of that run, in the place of its CronJob, and of what is no workload."""
        return as_text([*self._others, Document(number, job)])


def holds_any(text: bytes) -> bool:
    """Whether it is worth taking apart."""
    return reading.KIND.encode() in text


def split(text: bytes, catalogue: Catalogue) -> Split:
    """Raises ManifestError where it cannot be read at all."""
    given = reader.without_lists(documents.load(text))
    crons = tuple(one for one in given if reading.is_one(one.body))
    rest = [one for one in given if not reading.is_one(one.body)]
    others = tuple(one for one in rest if not _is_workload(one, catalogue))
    return Split(crons, as_text(rest) if len(others) < len(rest) else b"", others)


def as_text(given: Sequence[Document]) -> bytes:
    """A file with each document at its number; several of one number follow one another."""
    places: dict[int, list[bytes]] = {}
    for one in given:
        places.setdefault(one.number, []).append(_json(one.body))
    lines: list[bytes] = []
    for number in range(1, max(places, default=0) + 1):
        bodies = places.get(number, [_NOTHING])
        lines.append(bodies[0] if len(bodies) == 1 else _list_of(bodies))
    return b"\n---\n".join(lines)


def _is_workload(one: Document, catalogue: Catalogue) -> bool:
    return catalogue.find(str(one.body.get("apiVersion")), str(one.body.get("kind"))) is not None


def _list_of(bodies: Sequence[bytes]) -> bytes:
    return b'{"apiVersion":"v1","kind":"List","items":[' + b",".join(bodies) + b"]}"


def _json(body: dict[str, Any]) -> bytes:
    text = orjson.dumps(body).decode()
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
