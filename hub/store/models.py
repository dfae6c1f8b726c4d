"""The catalogue of models: versions, variants, aliases and manifests. Every question names the tenants it is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Select, Table, and_, delete, func, insert, or_, select, true, update
from sqlalchemy.orm import Session

from hub.models.records import Model, Variant, Version
from hub.records import Actor
from hub.store import model_bytes
from hub.store.model_rows import aliases, files, manifests, models, variants, versions
from hub.store.pieces import in_pieces
from registry import manifest
from registry.manifest import Packed
from registry.variants import measured, requirements


def visible(session: Session, actor: Actor) -> tuple[Model, ...]:
    """Everybody's and the actor's own, by name; every tenant's for those who see them."""
    mine = true() if actor.sees_every_tenant else models.c.tenant.in_(("", actor.tenant))
    found = session.connection().execute(_MODELS.where(mine).order_by(models.c.name, models.c.tenant)).all()
    return _whole(session, found)


def named(session: Session, actor: Actor, name: str) -> tuple[Model, ...]:
    """Of the models of this name those that the actor may see."""
    mine = true() if actor.sees_every_tenant else models.c.tenant.in_(("", actor.tenant))
    found = session.connection().execute(_MODELS.where(mine, models.c.name == name)).all()
    return _whole(session, found)


def one(session: Session, tenant: str, name: str) -> Model | None:
    found = _MODELS.where(models.c.tenant == tenant, models.c.name == name)
    return next(iter(_whole(session, session.connection().execute(found).all())), None)


def count(session: Session, tenant: str) -> int:
    query = select(func.count()).select_from(models).where(models.c.tenant == tenant)
    return session.connection().execute(query).scalar_one()


def packed(session: Session, tenant: str, digest: str) -> Packed | None:
    query = select(manifests.c.manifest, manifests.c.config)
    row = session.connection().execute(query.where(*_key(manifests, tenant, digest=digest))).first()
    return None if row is None else Packed(digest, bytes(row[0]), bytes(row[1]))


def stored_files(session: Session, tenant: str, names: Collection[str]) -> dict[str, tuple[int, bool]]:
    """By digest the size, and whether what is in the file runs code."""
    return {
        sha256: (size, runs_code)
        for piece in in_pieces(names)
        for sha256, size, runs_code in session.connection().execute(
            select(files.c.sha256, files.c.size, files.c.runs_code).where(
                files.c.tenant == tenant, files.c.sha256.in_(piece)
            )
        )
    }


def new_version(session: Session, tenant: str, name: str, by: str, now: datetime) -> int:
    """The next number; the model too where it is new."""
    last = session.connection().execute(select(models.c.last_version).where(*_key(models, tenant, name=name))).scalar()
    number = (last or 0) + 1
    if last is None:
        row = {"tenant": tenant, "name": name, "last_version": number, "created_at": now, "created_by": by}
        session.connection().execute(insert(models), row)
    else:
        session.connection().execute(update(models).where(*_key(models, tenant, name=name)).values(last_version=number))
    row = {"tenant": tenant, "model": name, "number": number, "created_at": now, "created_by": by}
    session.connection().execute(insert(versions), row)
    return number


def save_variant(session: Session, tenant: str, model: str, version: int, variant: Variant, found: Packed) -> None:
    """In the place of one of the same name. All files of the manifest must be there."""
    before = _digests(session, tenant, model, version, variant.name)
    if packed(session, tenant, found.digest) is None:
        row = {"tenant": tenant, "digest": found.digest, "manifest": found.manifest, "config": found.config}
        session.connection().execute(insert(manifests), row)
        model_bytes.count_files(session, tenant, _files_of(found), 1)
    this = _key(variants, tenant, model=model, version=version, name=variant.name)
    session.connection().execute(delete(variants).where(*this))
    session.connection().execute(
        insert(variants),
        {
            "tenant": tenant,
            "model": model,
            "version": version,
            "name": variant.name,
            "digest": variant.digest,
            "size": variant.size,
            "files": variant.files,
            "pickles": variant.pickles,
            "requires_json": orjson.dumps(variant.requires.as_words()).decode(),
            "measured_json": orjson.dumps(variant.measured.as_words()).decode(),
            "pushed_at": variant.pushed_at,
            "pushed_by": variant.pushed_by,
        },
    )
    _drop_unused(session, tenant, before)


def set_alias(session: Session, tenant: str, model: str, alias: str, version: int) -> None:
    remove_alias(session, tenant, model, alias)
    row = {"tenant": tenant, "model": model, "name": alias, "version": version}
    session.connection().execute(insert(aliases), row)


def remove_alias(session: Session, tenant: str, model: str, alias: str) -> bool:
    """Whether there was one."""
    gone = delete(aliases).where(*_key(aliases, tenant, model=model, name=alias))
    return session.connection().execute(gone).rowcount > 0


def delete_version(session: Session, tenant: str, model: str, number: int) -> None:
    before = _digests(session, tenant, model, number)
    session.connection().execute(delete(variants).where(*_key(variants, tenant, model=model, version=number)))
    session.connection().execute(delete(versions).where(*_key(versions, tenant, model=model, number=number)))
    _drop_unused(session, tenant, before)


def delete_model(session: Session, found: Model) -> None:
    session.connection().execute(delete(aliases).where(*_key(aliases, found.tenant, model=found.name)))
    for version in found.versions:
        delete_version(session, found.tenant, found.name, version.number)
    session.connection().execute(delete(models).where(*_key(models, found.tenant, name=found.name)))


def _digests(session: Session, tenant: str, model: str, version: int, name: str | None = None) -> set[str]:
    this = _key(variants, tenant, model=model, version=version, **({} if name is None else {"name": name}))
    return set(session.connection().execute(select(variants.c.digest).where(*this)).scalars())


def _drop_unused(session: Session, tenant: str, digests: Collection[str]) -> None:
    """Manifests that no variant has any more."""
    for digest in digests:
        users = select(func.count()).select_from(variants).where(*_key(variants, tenant, digest=digest))
        found = None if session.connection().execute(users).scalar_one() else packed(session, tenant, digest)
        if found is not None:
            session.connection().execute(delete(manifests).where(*_key(manifests, tenant, digest=digest)))
            model_bytes.count_files(session, tenant, _files_of(found), -1)


def _files_of(found: Packed) -> set[str]:
    return {file.sha256 for file in manifest.read(found).files}


def _key(table: Table, tenant: str, **values: object) -> list[Any]:
    return [table.c.tenant == tenant, *(table.c[name] == value for name, value in values.items())]


_MODELS: Select[Any] = select(
    models.c.tenant, models.c.name, models.c.created_at, models.c.created_by, models.c.last_version
)


def _whole(session: Session, found: Sequence[Any]) -> tuple[Model, ...]:
    made = {
        (row.tenant, row.name): Model(row.tenant, row.name, row.created_at, row.created_by, row.last_version, {}, ())
        for row in found
    }
    theirs: dict[tuple[str, str], dict[int, Version]] = defaultdict(dict)
    names: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for piece in in_pieces(made, 500):
        for row in session.connection().execute(select(versions).where(_any(versions, piece)).order_by("number")):
            theirs[row.tenant, row.model][row.number] = Version(row.number, row.created_at, row.created_by, ())
        ordered = select(variants).where(_any(variants, piece)).order_by("pushed_at", "name")
        for row in session.connection().execute(ordered):
            mine = theirs[row.tenant, row.model]
            version = mine[row.version]
            mine[row.version] = replace(version, variants=(*version.variants, _variant(row)))
        for row in session.connection().execute(select(aliases).where(_any(aliases, piece)).order_by("name")):
            names[row.tenant, row.model][row.name] = row.version
    return tuple(
        replace(model, aliases=names[key], versions=tuple(theirs[key].values())) for key, model in made.items()
    )


def _any(table: Table, keys: Sequence[tuple[str, str]]) -> Any:
    return or_(*(and_(table.c.tenant == tenant, table.c.model == name) for tenant, name in keys))


def _variant(row: Any) -> Variant:
    return Variant(
        row.name,
        row.digest,
        row.size,
        row.files,
        row.pickles,
        requirements(orjson.loads(row.requires_json)),
        measured(orjson.loads(row.measured_json)),
        row.pushed_at,
        row.pushed_by,
    )
