"""Models in and out by plain HTTP: /v1/models, and the chunks and files that a push sends first.

A push sends each file's list of chunks (PUT /v1/model-files/SHA256, 36 bytes a chunk: its BLAKE3 and its size), is told
which of them are missing, sends those (PUT /v1/model-chunks/BLAKE3), asks again until the file is stored, and names
what it has sent (POST /v1/models/NAME/-/versions). All of it may be repeated without harm.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.convertors import Convertor, register_url_convertor

from hub.api import model_files, streams
from hub.api.door import Caller, Served
from hub.api.model_schemas import (
    CHUNKS_PATH,
    FILES_PATH,
    MODELS_PATH,
    AliasIn,
    ChunkOut,
    FileStateOut,
    ManifestOut,
    ModelListOut,
    ModelOut,
    ModelStorageOut,
    PublicationIn,
    PublishedOut,
    VariantOut,
    VersionOut,
)
from hub.errors import Invalid
from hub.models.catalogue import Publication
from hub.models.records import Model, Variant
from registry import references
from registry.manifest import File
from registry.references import NameRefused, Revision


class _ModelName(Convertor[str]):
    """One part or two: `/models/org/name/-/…` leaves no doubt where the name ends."""

    regex = references.MODEL_PATTERN

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("model", _ModelName())

router = APIRouter(tags=["models"])
_MODEL = MODELS_PATH + "/{name:model}"
Tenant = Annotated[
    str | None, Query(description="Whose; \"\": everybody's. Without it: the caller's, then everybody's.")
]


@router.get(MODELS_PATH)
async def list_models(served: Served, actor: Caller) -> ModelListOut:
    return ModelListOut(models=[described(one) for one in await served.models.list(actor)])


@router.get("/model-storage")
async def storage(served: Served, actor: Caller) -> ModelStorageOut:
    """What the tenant's models take; for admins, all."""
    usage, models = await served.models.storage.usage(actor), await served.models.list(actor)
    counted = [one for one in models if actor.sees_every_tenant or one.tenant == actor.tenant]
    named = sum(variant.size for model in counted for version in model.versions for variant in version.variants)
    return ModelStorageOut(
        chunks=usage.chunks,
        stored=usage.stored,
        named=named,
        unused=usage.unused,
        garbage=usage.garbage,
        models=len(counted),
    )


@router.put(CHUNKS_PATH + "/{blake3}")
async def put_chunk(blake3: str, request: Request, served: Served, actor: Caller, tenant: Tenant = None) -> ChunkOut:
    """The body is the chunk; what does not have this BLAKE3 is refused."""
    owner = served.models.tenant_of(actor, tenant)
    return ChunkOut(created=await served.models.storage.put_chunk(actor, owner, blake3, await request.body()))


@router.put(FILES_PATH + "/{sha256}")
async def put_file(
    sha256: str,
    request: Request,
    served: Served,
    actor: Caller,
    size: Annotated[int, Query(ge=0)],
    tenant: Tenant = None,
) -> FileStateOut:
    """The body is its list of chunks. Ask until it is stored: the hub reads it back whole, and that takes its time."""
    owner = served.models.tenant_of(actor, tenant)
    state = await served.models.storage.put_file(actor, owner, sha256, size, await request.body())
    return FileStateOut(stored=state.stored, missing=list(state.missing), proved=state.proved)


@router.post(_MODEL + "/-/versions")
async def publish(name: str, body: PublicationIn, served: Served, actor: Caller, tenant: Tenant = None) -> PublishedOut:
    """All files must be stored. What the newest version already is makes no new one."""
    files = [File(one.path, one.size, one.sha256) for one in body.files]
    given = Publication(
        name, files, body.variant, body.version, body.config, body.requires, body.measured, body.aliases
    )
    made = await served.models.publish(actor, given, tenant=tenant)
    return PublishedOut(model=described(made.model), version=made.version, variant=made.variant, created=made.created)


@router.delete(_MODEL + "/-/versions/{number}", status_code=204)
async def delete_version(name: str, number: int, served: Served, actor: Caller, tenant: Tenant = None) -> None:
    """Refused while an alias names it."""
    if number < 1:
        raise Invalid(f"{number} is no version", code="bad-version", mend="versions are numbered from 1")
    await served.models.delete(actor, name, number, tenant=tenant)


@router.put(_MODEL + "/-/aliases/{alias}")
async def set_alias(
    name: str, alias: str, body: AliasIn, served: Served, actor: Caller, tenant: Tenant = None
) -> ModelOut:
    return described(await served.models.set_alias(actor, name, alias, body.version, tenant=tenant))


@router.delete(_MODEL + "/-/aliases/{alias}", status_code=204)
async def remove_alias(name: str, alias: str, served: Served, actor: Caller, tenant: Tenant = None) -> None:
    await served.models.remove_alias(actor, name, alias, tenant=tenant)


@router.get(_MODEL + "/-/manifests/{revision}")
async def show_manifest(name: str, revision: str, served: Served, actor: Caller, tenant: Tenant = None) -> ManifestOut:
    """`revision`: `main` (the newest), an alias, a number or a commit; and `+variant`."""
    found = await served.models.resolve(actor, name, revision_of(revision), tenant=tenant)
    return ManifestOut(
        version=found.version.number,
        variant=found.variant.name,
        digest=found.packed.digest,
        manifest=found.packed.manifest.decode(),
        config=found.packed.config.decode(),
    )


@router.head(_MODEL + "/-/files/{revision}/{path:path}", include_in_schema=False)
@router.get(_MODEL + "/-/files/{revision}/{path:path}", response_class=Response)
async def file(
    name: str,
    revision: str,
    path: str,
    request: Request,
    served: Served,
    actor: Caller,
    resources: streams.Resources,
    tenant: Tenant = None,
) -> Response:
    """The file, or a range of it; ETag is its SHA-256."""
    found = await served.models.resolve(actor, name, revision_of(revision), tenant=tenant)
    return await model_files.answer(request, served, resources, found, model_files.find(found, path), {})


@router.get(_MODEL)
async def show_model(name: str, served: Served, actor: Caller, tenant: Tenant = None) -> ModelOut:
    return described(await served.models.show(actor, name, tenant=tenant))


@router.delete(_MODEL, status_code=204)
async def delete_model(name: str, served: Served, actor: Caller, tenant: Tenant = None) -> None:
    """All versions of it. The bytes go once nothing else needs them and their leases and grace are over."""
    await served.models.delete(actor, name, tenant=tenant)


def revision_of(text: str) -> Revision:
    """Raises Invalid."""
    try:
        return references.revision_of(text)
    except NameRefused as error:
        raise Invalid(str(error), code="bad-revision", mend="write main, an alias or a number, and +variant") from error


def described(model: Model) -> ModelOut:
    return ModelOut(
        tenant=model.tenant,
        name=model.name,
        created_at=model.created_at,
        created_by=model.created_by,
        aliases=dict(model.aliases),
        versions=[
            VersionOut(
                number=version.number,
                created_at=version.created_at,
                created_by=version.created_by,
                variants=[_variant(one) for one in version.variants],
            )
            for version in model.versions
        ],
    )


def _variant(one: Variant) -> VariantOut:
    return VariantOut(
        name=one.name,
        digest=one.digest,
        commit=one.commit,
        size=one.size,
        files=one.files,
        pickles=one.pickles,
        requires=one.requires.as_words(),
        measured=one.measured.as_words(),
        pushed_at=one.pushed_at,
        pushed_by=one.pushed_by,
    )
