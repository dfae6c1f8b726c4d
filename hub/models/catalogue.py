"""What people do with models: publish, name, look up, delete. The bytes are `hub.models.storage`'s.

A model is a tenant's, or everybody's (admins publish those). Versions are numbered from 1, and no number is given out
twice; a variant is one set of files of a version, made for some hardware. Publishing what the newest version already is
makes no new one, so a push that is repeated does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.orm import Session

from hub.errors import ConflictError, Forbidden, HubError, Invalid, NotFound
from hub.models.records import Found, Model, Variant, Version
from hub.models.storage import Storage
from hub.records import Actor, UserRole
from hub.roles import no_viewers
from hub.store import models
from hub.store.store import Store
from placement.kinds.problems import did_you_mean
from registry import manifest, pickles, references, variants
from registry.manifest import File, ManifestRefused, Packed
from registry.references import NameRefused, Revision
from registry.variants import VariantRefused

DEFAULT_VARIANT = "default"
MAX_VARIANTS = 64  # of a version
MAX_VERSIONS = 10_000  # of a model
MAX_ALIASES = 64
MAX_MODELS = 10_000  # of a tenant
_MAX_CONFIG = 32
_CONFIG_WORD = 200


@dataclass(frozen=True, slots=True)
class Publication:
    name: str
    files: Sequence[File]
    variant: str = DEFAULT_VARIANT
    version: int = 0  # 0: a new one
    config: Mapping[str, str] = field(default_factory=dict)
    requires: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, str] = field(default_factory=dict)
    aliases: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Published:
    model: Model
    version: int
    variant: str
    created: bool  # False: the version had this variant with the same files already


class Models:
    def __init__(self, store: Store, storage: Storage) -> None:
        self.storage = storage
        self._store = store
        self._clock = storage.clock

    async def list(self, actor: Actor) -> Sequence[Model]:
        return await self._store.read(lambda session: models.visible(session, actor))

    async def show(self, actor: Actor, name: str, *, tenant: str | None = None) -> Model:
        """The actor's own comes before everybody's. Raises NotFound."""
        return await self._store.read(lambda session: _named(session, actor, name, tenant))

    async def resolve(self, actor: Actor, name: str, revision: Revision, *, tenant: str | None = None) -> Found:
        """Raises NotFound."""

        def read(session: Session) -> Found:
            model = _named(session, actor, name, tenant)
            version, variant = _meant(model, revision)
            packed = models.packed(session, model.tenant, variant.digest)
            if packed is None:
                raise LookupError(f"{model.name}: no manifest {variant.digest}")
            return Found(model, version, variant, packed)

        return await self._store.read(read)

    def tenant_of(self, actor: Actor, tenant: str | None) -> str:
        """Whose a push is. Raises Forbidden."""
        no_viewers(actor, "push models")
        if tenant is None or tenant == actor.tenant:
            return actor.tenant
        if actor.role is not UserRole.ADMIN:
            raise Forbidden(
                f"{actor.user} is of tenant {actor.tenant} and pushes no models of {tenant or 'everybody'}",
                code="not-your-tenant",
                mend="leave the tenant out, or ask an admin",
            )
        return tenant

    async def publish(self, actor: Actor, given: Publication, *, tenant: str | None = None) -> Published:
        """All files must be stored. Raises Forbidden, Invalid, NotFound, ConflictError."""
        owner = self.tenant_of(actor, tenant)
        packed, variant = self._checked(actor, given)

        def write(session: Session) -> Published:
            stored = models.stored_files(session, owner, {file.sha256 for file in given.files})
            made = replace(variant, pickles=_pickles(given.files, stored))
            number, created = _place(session, actor, owner, given, made)
            if created:
                models.save_variant(session, owner, given.name, number, made, packed)
            for alias in given.aliases:
                models.set_alias(session, owner, given.name, alias, number)
            model = models.one(session, owner, given.name)
            if model is None:
                raise LookupError(given.name)
            _check_aliases(model)
            return Published(model, number, variant.name, created)

        return await self._store.write(write)

    async def set_alias(self, actor: Actor, name: str, alias: str, version: int, *, tenant: str | None = None) -> Model:
        """Raises Forbidden, Invalid, NotFound."""
        no_viewers(actor, "change models")
        _refused(references.check_alias, alias)

        def write(session: Session) -> Model:
            model = _changeable(session, actor, name, tenant)
            _version(model, version)
            models.set_alias(session, model.tenant, name, alias, version)
            changed = _named(session, actor, name, model.tenant)
            _check_aliases(changed)
            return changed

        return await self._store.write(write)

    async def remove_alias(self, actor: Actor, name: str, alias: str, *, tenant: str | None = None) -> None:
        """Raises Forbidden, NotFound."""
        no_viewers(actor, "change models")

        def write(session: Session) -> None:
            model = _changeable(session, actor, name, tenant)
            if not models.remove_alias(session, model.tenant, name, alias):
                raise _no_alias(model, alias)

        await self._store.write(write)

    async def delete(self, actor: Actor, name: str, version: int = 0, *, tenant: str | None = None) -> None:
        """One version, or the model where it is 0. Raises Forbidden, NotFound, ConflictError."""
        no_viewers(actor, "delete models")

        def write(session: Session) -> None:
            model = _changeable(session, actor, name, tenant)
            if not version:
                models.delete_model(session, model)
                return
            _version(model, version)
            if pointing := [alias for alias, number in model.aliases.items() if number == version]:
                raise ConflictError(
                    f"version {version} of {name} is {', '.join(pointing)}",
                    code="alias-points-there",
                    mend=f"muster model alias {name} {pointing[0]} OTHER-VERSION first",
                )
            models.delete_version(session, model.tenant, name, version)

        await self._store.write(write)

    def _checked(self, actor: Actor, given: Publication) -> tuple[Packed, Variant]:
        """Raises Invalid."""
        _refused(references.check_model, given.name)
        _refused(references.check_label, given.variant, "variant")
        for alias in given.aliases:
            _refused(references.check_alias, alias)
        if len(given.config) > _MAX_CONFIG or any(len(k) + len(v) > _CONFIG_WORD for k, v in given.config.items()):
            raise _invalid(f"config: at most {_MAX_CONFIG} words of {_CONFIG_WORD} characters", "bad-config")
        try:
            packed = manifest.build(given.files, given.config)
            requires, measured = variants.requirements(given.requires), variants.measured(given.measured)
        except (ManifestRefused, VariantRefused) as error:
            raise _invalid(str(error), "bad-model") from error
        size = sum(file.size for file in given.files)
        now = self._clock()
        return packed, Variant(
            given.variant, packed.digest, size, len(given.files), False, requires, measured, now, actor.user
        )


def _place(session: Session, actor: Actor, owner: str, given: Publication, made: Variant) -> tuple[int, bool]:
    """Which version the variant goes into, and whether it is to be written."""
    model = models.one(session, owner, given.name)
    if given.version:
        version = _version(model or _nothing(given.name), given.version)
        if given.variant not in {one.name for one in version.variants}:
            if len(version.variants) >= MAX_VARIANTS:
                raise _invalid(f"version {version.number} has {MAX_VARIANTS} variants, the most", "too-many")
            return version.number, True
        if _same(version, made):
            return version.number, False
        raise ConflictError(
            f"version {version.number} of {given.name} has a variant {given.variant} with other files",
            code="variant-exists",
            mend="push a new version (without --version), or another variant",
        )
    if model is not None and model.versions and _same(model.versions[-1], made):
        return model.versions[-1].number, False
    if model is not None and len(model.versions) >= MAX_VERSIONS:
        raise _invalid(f"{given.name} has {MAX_VERSIONS} versions, the most", "too-many")
    if model is None and models.count(session, owner) >= MAX_MODELS:
        raise _invalid(f"there are {MAX_MODELS} models, the most", "too-many")
    return models.new_version(session, owner, given.name, actor.user, made.pushed_at), True


def _same(version: Version, made: Variant) -> bool:
    return any(
        (one.name, one.digest, one.requires, one.measured) == (made.name, made.digest, made.requires, made.measured)
        for one in version.variants
    )


def _pickles(files: Sequence[File], stored: Mapping[str, tuple[int, bool]]) -> bool:
    """Raises Invalid where a file is not stored, or has another size."""
    for file in files:
        if file.sha256 not in stored:
            raise _invalid(f"{file.path}: {file.sha256} is not stored: push it first", "file-missing")
        if stored[file.sha256][0] != file.size:
            raise _invalid(f"{file.path}: its size is {stored[file.sha256][0]}, not {file.size}", "bad-size")
    return any(stored[file.sha256][1] or pickles.runs_code(file.path, b"", b"") for file in files)


def _named(session: Session, actor: Actor, name: str, tenant: str | None) -> Model:
    """Raises NotFound."""
    found = {model.tenant: model for model in models.named(session, actor, name)}
    for owner in (actor.tenant, "") if tenant is None else (tenant,):
        if owner in found:
            return found[owner]
    if tenant is None and len(found) == 1:
        return next(iter(found.values()))  # another tenant's, which an admin sees
    close = did_you_mean(name, [model.name for model in models.visible(session, actor)])
    raise NotFound(
        f"there is no model {name!r}",
        code="no-such-model",
        mend=f"did you mean {close!r}?" if close else "muster model list shows them",
    )


def _changeable(session: Session, actor: Actor, name: str, tenant: str | None) -> Model:
    """Raises NotFound, Forbidden."""
    model = _named(session, actor, name, tenant)
    if actor.role is not UserRole.ADMIN and model.tenant != actor.tenant:
        raise Forbidden(f"the model {name} is everybody's", code="not-your-tenant", mend="ask an admin to do it")
    return model


def _meant(model: Model, revision: Revision) -> tuple[Version, Variant]:
    """Raises NotFound."""
    if revision.commit:
        for version in reversed(model.versions):
            for variant in version.variants:
                if variant.digest.startswith(f"sha256:{revision.commit}"):
                    return version, variant
        raise NotFound(f"{model.name} has no revision {revision.commit}", code="no-such-version", mend=_look(model))
    if revision.alias:
        if revision.alias not in model.aliases:
            raise _no_alias(model, revision.alias)
        version = _version(model, model.aliases[revision.alias])
    elif revision.version:
        version = _version(model, revision.version)
    elif model.versions:
        version = model.versions[-1]
    else:
        raise NotFound(f"{model.name} has no version left", code="no-such-version", mend="push one")
    named = {one.name: one for one in version.variants}
    wanted = revision.variant or (DEFAULT_VARIANT if DEFAULT_VARIANT in named else version.variants[0].name)
    if wanted not in named:
        raise NotFound(
            f"version {version.number} of {model.name} has no variant {wanted!r}",
            code="no-such-variant",
            mend=f"it has {', '.join(named)}",
        )
    return version, named[wanted]


def _version(model: Model, number: int) -> Version:
    if (found := model.version(number)) is None:
        raise NotFound(f"{model.name} has no version {number}", code="no-such-version", mend=_look(model))
    return found


def _nothing(name: str) -> Model:
    raise NotFound(f"there is no model {name!r}", code="no-such-model", mend="push it without --version")


def _no_alias(model: Model, alias: str) -> NotFound:
    there = ", ".join(model.aliases)
    return NotFound(
        f"{model.name} has no alias {alias!r}",
        code="no-such-alias",
        mend=f"it has {there}" if there else f"muster model alias {model.name} {alias} VERSION makes one",
    )


def _check_aliases(model: Model) -> None:
    if len(model.aliases) > MAX_ALIASES:
        raise _invalid(f"{model.name} has {MAX_ALIASES} aliases, the most", "too-many")


def _look(model: Model) -> str:
    return f"muster model show {model.name} lists them"


def _refused(check: Callable[..., None], *given: str) -> None:
    try:
        check(*given)
    except NameRefused as error:
        raise _invalid(str(error), "bad-name") from error


def _invalid(message: str, code: str) -> HubError:
    return Invalid(message, code=code, mend="mend what the message names")
