"""What the body of a submit is: one file of manifests (YAML or JSON, any number of documents), or many files at once.

The text of a file is passed on byte for byte: only the manifest reader below says what is wrong with it.
"""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Request
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from hub.api.limits import too_large
from hub.api.schemas import MAX_MANIFEST_BYTES, BulkIn
from hub.errors import Invalid

_YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
_JSON = frozenset({"application/json"})

# For OpenAPI, which cannot see what is read by hand.
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/yaml": {"schema": {"type": "string", "description": "One or many documents, at most 1 MiB."}},
            "application/json": {
                "schema": {
                    "description": "One object as JSON, at most 1 MiB; or many files in bulk, 16 MiB in all.",
                    "anyOf": [{"type": "object"}, BulkIn.model_json_schema()],
                }
            },
        },
    }
}


async def read(request: Request) -> tuple[bytes, ...]:
    """The files. Raises HTTPException 413 and 415, and Invalid for a bulk body that is none."""
    raw = await _text(request)
    texts = _bulk(raw) if _content_type(request) in _JSON else None
    if texts is None:
        texts = (raw,)
    for text in texts:
        if len(text) > MAX_MANIFEST_BYTES:
            raise too_large(len(text), MAX_MANIFEST_BYTES)
    return texts


async def read_one(request: Request) -> bytes:
    texts = await read(request)
    if len(texts) != 1:
        raise Invalid(
            f"a plan takes one file, these are {len(texts)}", code="one-file-only", mend="plan one after the other"
        )
    return texts[0]


async def _text(request: Request) -> bytes:
    content_type = _content_type(request)
    if content_type not in _YAML | _JSON:
        raise HTTPException(415, f"the content type {content_type or '(none)'} is not taken here")
    return await request.body()


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _bulk(raw: bytes) -> tuple[bytes, ...] | None:
    try:
        loaded = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(loaded, dict) or "manifests" not in loaded or "kind" in loaded:
        return None
    try:
        return tuple(text.encode() for text in BulkIn.model_validate(loaded).manifests)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise Invalid(
            f"the bulk body is not valid: {path}: {first['msg']}",
            code="invalid-bulk",
            mend='send {"manifests": ["text of a file", ...]}',
        ) from error
