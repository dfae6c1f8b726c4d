"""Who may call, and the hash of the token they call with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from hub.records import UserRole
from hub.store import rows


@dataclass(frozen=True, slots=True)
class User:
    name: str
    tenant: str
    role: UserRole


@dataclass(frozen=True, slots=True)
class Credential:
    user: User
    token_hash: bytes


def add(session: Session, user: User, token_id: str, token_hash: bytes, at: datetime) -> bool:
    """False where the name is taken."""
    taken = select(rows.users.c.name).where(rows.users.c.name == user.name)
    if session.connection().execute(taken).first() is not None:
        return False
    session.connection().execute(
        insert(rows.users),
        {
            "name": user.name,
            "tenant": user.tenant,
            "role": user.role.value,
            "token_id": token_id,
            "token_hash": token_hash,
            "created_at": at,
        },
    )
    return True


def by_token(session: Session, token_id: str) -> Credential | None:
    user = rows.users.c
    query = select(user.name, user.tenant, user.role, user.token_hash).where(user.token_id == token_id)
    row = session.connection().execute(query).first()
    return None if row is None else Credential(User(row[0], row[1], UserRole(row[2])), row[3])


def everyone(session: Session) -> tuple[User, ...]:
    user = rows.users.c
    query = select(user.name, user.tenant, user.role).order_by(user.name)
    return tuple(User(name, tenant, UserRole(role)) for name, tenant, role in session.connection().execute(query))


def count(session: Session, role: UserRole | None = None) -> int:
    query = select(func.count()).select_from(rows.users)
    if role is not None:
        query = query.where(rows.users.c.role == role.value)
    return session.connection().execute(query).scalar_one()


def remove(session: Session, name: str) -> None:
    session.connection().execute(delete(rows.users).where(rows.users.c.name == name))
