"""Many callers' submits in one transaction, each taken whole or refused whole, as if they had come one by one.

A client key makes a submit idempotent: the same content again answers the same jobs, also when both come at the same
moment. A live job's name is its own within its tenant, kind and namespace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from hub.errors import ConflictError
from hub.records import Actor, Job
from hub.store import jobs
from hub.store.jobs import Name, NewJob, name_of
from placement.kinds.problems import Problem


@dataclass(frozen=True, slots=True)
class Submitted:
    job: Job
    created: bool  # False: the client key stood for it already


@dataclass(frozen=True, slots=True)
class Asked:
    """One caller's submit, read and checked."""

    actor: Actor
    new: tuple[NewJob, ...]
    client_key: str | None
    content: bytes  # hash of what was sent
    at: datetime


def content_hash(texts: Sequence[bytes], namespace: str, if_too_large: str | None) -> bytes:
    digest = hashlib.sha256()
    for part in (namespace.encode(), (if_too_large or "").encode(), *texts):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def submit_together(session: Session, asked: Sequence[Asked]) -> list[tuple[Submitted, ...] | Exception]:
    """For Store.write_together: one answer, or ConflictError, per submit."""
    known = jobs.submissions(session, [(one.actor.tenant, one.client_key) for one in asked if one.client_key])
    taken = jobs.live_names(session, {(one.actor.tenant, name_of(job.workload)) for one in asked for job in one.new})
    answers: list[tuple[Submitted, ...] | Exception] = []
    accepted: list[Asked] = []
    for one in asked:
        key = (one.actor.tenant, one.client_key or "")
        names = {(one.actor.tenant, name_of(job.workload)): job.id for job in one.new}
        if one.client_key and key in known:
            answers.append(_again(session, one, known[key], accepted))
        elif conflicts := names.keys() & taken.keys():
            answers.append(_names_taken({name: taken[tenant, name] for tenant, name in conflicts}))
        else:
            taken |= names
            if one.client_key:
                known[key] = jobs.Known(one.content, tuple(job.id for job in one.new))
            accepted.append(one)
            answers.append(tuple(Submitted(jobs.fresh(one.actor, job, one.client_key), True) for job in one.new))
    jobs.insert_many(session, [(one.actor, one.client_key, job) for one in accepted for job in one.new])
    jobs.remember_submissions(
        session,
        [
            (one.actor.tenant, one.client_key, jobs.Known(one.content, tuple(job.id for job in one.new)), one.at)
            for one in accepted
            if one.client_key
        ],
    )
    return answers


def _again(
    session: Session, asked: Asked, known: jobs.Known, accepted: Sequence[Asked]
) -> tuple[Submitted, ...] | Exception:
    if asked.content != known.content_hash:
        return ConflictError(
            f"the client key {asked.client_key!r} stands for another submit ({', '.join(known.jobs[:5])})",
            code="client-key-reused",
            mend="use a new key for new content",
        )
    for one in accepted:  # a moment ago, by the same key, and not written yet
        if one.actor.tenant == asked.actor.tenant and one.client_key == asked.client_key:
            return tuple(Submitted(jobs.fresh(one.actor, job, one.client_key), False) for job in one.new)
    return tuple(Submitted(job, False) for job in jobs.by_ids(session, asked.actor, known.jobs))


def _names_taken(taken: Mapping[Name, str]) -> ConflictError:
    problems = [
        Problem(
            0,
            "metadata.name",
            f"{name.kind} {name.namespace}/{name.name} is the live job {id_}",
            f"cancel it (muster cancel {id_}) and wait for its end, or choose another name",
        )
        for name, id_ in taken.items()
    ]
    first = problems[0]
    return ConflictError(first.message, code="name-taken", mend=first.mend, problems=problems)
