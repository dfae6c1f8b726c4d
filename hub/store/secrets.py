"""What is in the Secrets of a job is kept for as long as it may be started, and no longer.

A job that has ended is remembered for weeks, for people to look at: its objects stay, without the values of its
Secrets. So do orders about it that nobody has acknowledged yet. In SQLite what was written over is zeroed
(`secure_delete`), and its log is emptied now and then (`Store.scrub`); PostgreSQL does so when it vacuums.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hub.store import codec, rows
from hub.store.pieces import in_pieces
from placement.safety.secrets import without_data

_SOME = '"kind":"Secret"'  # as the codec writes it


def blank(session: Session, ended: Iterable[str]) -> None:
    """Of these jobs."""
    spec, command = rows.job_specs, rows.commands
    for piece in in_pieces(ended):
        specs = select(spec.c.job, spec.c.objects_json).where(
            spec.c.job.in_(piece), spec.c.objects_json.contains(_SOME, autoescape=True)
        )
        for job, text in session.connection().execute(specs).all():
            blanked = codec.dump(list(without_data(codec.objects_of(text))))
            session.connection().execute(update(spec).where(spec.c.job == job).values(objects_json=blanked))
        orders = select(command.c.id, command.c.payload_json).where(
            command.c.job.in_(piece), command.c.payload_json.contains(_SOME, autoescape=True)
        )
        for id_, text in session.connection().execute(orders).all():
            row = codec.load(text)
            row["objects"] = list(without_data(row["objects"]))
            blanked = codec.dump(row)
            session.connection().execute(update(command).where(command.c.id == id_).values(payload_json=blanked))
