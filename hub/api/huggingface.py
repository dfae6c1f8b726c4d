"""The part of Hugging Face's API that reads models, at the hub's root: what `snapshot_download`, and whatever stands on
it (transformers, vLLM, KServe's hf://), asks when HF_ENDPOINT is the hub. HF_TOKEN is a token of `muster user add`.

A repository is a model, a revision is `main` (the newest version), an alias, a number, or a commit, `+variant` where
one is meant. A commit is the beginning of the manifest's digest: what it names never changes.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from hub.api import failures, model_files, streams
from hub.api.door import Caller, Served
from hub.api.models import revision_of
from hub.errors import Invalid, NotFound
from hub.models.records import Found
from registry import manifest, references
from registry.manifest import File

root = APIRouter(include_in_schema=False)

_REPOSITORY, _REVISION, _ENTRY = "RepoNotFound", "RevisionNotFound", "EntryNotFound"
_WORDS = {"no-such-model": _REPOSITORY, "no-such-file": _ENTRY}
_PAGE = 1000  # entries of a tree in one answer


@root.get("/api/models/{name:model}")
async def newest(name: str, served: Served, actor: Caller) -> Response:
    return await at_revision(name, references.NEWEST, served, actor)


@root.get("/api/models/{name:model}/revision/{revision:path}")
async def at_revision(name: str, revision: str, served: Served, actor: Caller) -> Response:
    try:
        found = await served.models.resolve(actor, name, revision_of(revision))
    except (NotFound, Invalid) as error:
        return _refused(error)
    return JSONResponse(
        {
            "id": name,
            "modelId": name,
            "author": found.version.created_by,
            "sha": found.commit,
            "lastModified": found.variant.pushed_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "createdAt": found.model.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "private": True,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": file.path} for file in manifest.read(found.packed).files],
        }
    )


@root.get("/api/models/{name:model}/tree/{revision}")
@root.get("/api/models/{name:model}/tree/{revision}/{folder:path}")
async def tree(
    name: str,
    revision: str,
    request: Request,
    served: Served,
    actor: Caller,
    folder: str = "",
    recursive: bool = False,
    cursor: int = 0,
) -> Response:
    try:
        found = await served.models.resolve(actor, name, revision_of(revision))
    except (NotFound, Invalid) as error:
        return _refused(error)
    entries = _entries(found, folder.strip("/"), recursive)
    if folder and not entries:
        return _refused(NotFound(f"there is no folder {folder!r}", code="no-such-file", mend="see its manifest"))
    begin = max(cursor, 0)
    headers = {"X-Repo-Commit": found.commit}
    if begin + _PAGE < len(entries):
        following = request.url.include_query_params(cursor=begin + _PAGE)
        headers["Link"] = f'<{following}>; rel="next"'
    return JSONResponse(entries[begin : begin + _PAGE], headers=headers)


@root.api_route("/{name:model}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
async def resolve(
    name: str,
    revision: str,
    path: str,
    request: Request,
    served: Served,
    actor: Caller,
    resources: streams.Resources,
) -> Response:
    try:
        found = await served.models.resolve(actor, name, revision_of(revision))
        file = model_files.find(found, path)
    except (NotFound, Invalid) as error:
        return _refused(error)
    more = {"X-Repo-Commit": found.commit, "X-Linked-Size": str(file.size)}
    return await model_files.answer(request, served, resources, found, file, more)


def _entries(found: Found, folder: str, recursive: bool) -> list[dict[str, Any]]:
    begin = f"{folder}/" if folder else ""
    entries: dict[str, dict[str, Any]] = {}
    for file in manifest.read(found.packed).files:
        if not file.path.startswith(begin):
            continue
        parts = file.path.removeprefix(begin).split("/")
        for depth in range(1, len(parts)) if recursive else range(1, min(len(parts), 2)):
            path = begin + "/".join(parts[:depth])
            entries.setdefault(path, {"type": "directory", "path": path, "oid": found.commit, "size": 0})
        if recursive or len(parts) == 1:
            entries[file.path] = _entry(file)
    return list(entries.values())


def _entry(file: File) -> dict[str, Any]:
    digest = file.sha256.removeprefix("sha256:")
    return {
        "type": "file",
        "path": file.path,
        "size": file.size,
        "oid": digest[:40],
        "lfs": {"oid": digest, "size": file.size, "pointerSize": 0},
    }


def _refused(error: NotFound | Invalid) -> Response:
    """By the header their clients know what is missing; a revision that cannot be is none that is there."""
    word = _WORDS.get(error.code, _REVISION)
    headers = {"X-Error-Code": word, "X-Error-Message": error.message.encode("ascii", "replace").decode()}
    return failures.answer(404, failures.describe(error), headers)
