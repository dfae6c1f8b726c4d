"""A file of a model as an answer of HTTP: whole or a range of it, with its SHA-256 as the entity tag."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from hub.api import ranges, streams
from hub.api.services import Services
from hub.errors import NotFound
from hub.models.records import Found
from registry import manifest
from registry.manifest import File


def find(found: Found, path: str) -> File:
    """Raises NotFound."""
    file = manifest.read(found.packed).find(path)
    if file is None:
        raise NotFound(
            f"{found.model.name} version {found.version.number} ({found.variant.name}) has no file {path!r}",
            code="no-such-file",
            mend="its manifest names them",
        )
    return file


async def answer(
    request: Request,
    served: Services,
    resources: AsyncExitStack,
    found: Found,
    file: File,
    more: Mapping[str, str],
) -> Response:
    etag = f'"{file.sha256.removeprefix("sha256:")}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-transform",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": "attachment",
        **more,
    }
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    try:
        part = ranges.wanted(request.headers, file.size, etag)
    except ranges.Unsatisfiable:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{file.size}"})
    begin, end = part or (0, file.size)
    headers["Content-Length"] = str(end - begin)
    if part:
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{file.size}"
    status, media_type = (206 if part else 200), manifest.http_type_of(file.path)
    if request.method == "HEAD" or begin == end:
        return Response(status_code=status, headers=headers, media_type=media_type)
    source = served.models.storage.read(found.model.tenant, file.sha256, begin, end)
    data = await streams.opened(streams.until_closed(source, served.closing), resources)
    return StreamingResponse(data, status, headers, media_type)
