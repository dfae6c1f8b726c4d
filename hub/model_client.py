"""Models by the hub's REST API: the part of `hub.client.MusterClient` that is its `models`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from hub.api import model_schemas
from registry.references import Revision, text_of

M = TypeVar("M", bound=BaseModel)

_PIECE = 64 << 10  # bytes
_READ_S = 60.0  # without a byte of a file


class ModelsClient:
    def __init__(
        self,
        call: Callable[..., httpx.Response],
        streaming: Callable[..., AbstractContextManager[httpx.Response]],
        parse: Callable[[type[Any], httpx.Response], Any],
    ) -> None:
        self._call = call
        self._streaming = streaming
        self._parse = parse

    def list(self) -> list[model_schemas.ModelOut]:
        return self._model(model_schemas.ModelListOut, self._call("GET", model_schemas.MODELS_PATH)).models

    def show(self, name: str, *, tenant: str | None = None) -> model_schemas.ModelOut:
        return self._model(model_schemas.ModelOut, self._call("GET", _path(name), params=_tenant(tenant)))

    def storage(self) -> model_schemas.ModelStorageOut:
        return self._model(model_schemas.ModelStorageOut, self._call("GET", "/model-storage"))

    def set_alias(self, name: str, alias: str, version: int, *, tenant: str | None = None) -> model_schemas.ModelOut:
        path, body = f"{_path(name)}/-/aliases/{quote(alias, safe='')}", {"version": version}
        return self._model(model_schemas.ModelOut, self._call("PUT", path, params=_tenant(tenant), json=body))

    def remove_alias(self, name: str, alias: str, *, tenant: str | None = None) -> None:
        path = f"{_path(name)}/-/aliases/{quote(alias, safe='')}"
        self._call("DELETE", path, params=_tenant(tenant), again=False)

    def delete(self, name: str, version: int = 0, *, tenant: str | None = None) -> None:
        path = f"{_path(name)}/-/versions/{version}" if version else _path(name)
        self._call("DELETE", path, params=_tenant(tenant), again=False)

    def put_chunk(self, name: str, data: bytes, *, tenant: str | None = None) -> model_schemas.ChunkOut:
        path = f"{model_schemas.CHUNKS_PATH}/{name}"
        # In pieces: of what is left the HTTP library makes a copy for every 16 KiB that TLS takes.
        pieces = [data[begin : begin + _PIECE] for begin in range(0, len(data), _PIECE)]
        headers = _BYTES | {"Content-Length": str(len(data))}
        answer = self._call("PUT", path, params=_tenant(tenant), content=pieces, headers=headers)
        return self._model(model_schemas.ChunkOut, answer)

    def put_file(
        self, sha256: str, size: int, packed: bytes, *, tenant: str | None = None
    ) -> model_schemas.FileStateOut:
        path, params = f"{model_schemas.FILES_PATH}/{sha256}", {"size": str(size), **_tenant(tenant)}
        answer = self._call("PUT", path, params=params, content=packed, headers=_BYTES)
        return self._model(model_schemas.FileStateOut, answer)

    def publish(
        self, name: str, body: model_schemas.PublicationIn, *, tenant: str | None = None
    ) -> model_schemas.PublishedOut:
        path = f"{_path(name)}/-/versions"
        answer = self._call("POST", path, params=_tenant(tenant), json=body.model_dump(mode="json"))
        return self._model(model_schemas.PublishedOut, answer)

    def manifest(self, name: str, revision: Revision, *, tenant: str | None = None) -> model_schemas.ManifestOut:
        path = f"{_path(name)}/-/manifests/{quote(text_of(revision), safe='')}"
        return self._model(model_schemas.ManifestOut, self._call("GET", path, params=_tenant(tenant)))

    @contextmanager
    def file(
        self, name: str, revision: Revision, path: str, *, begin: int = 0, tenant: str | None = None
    ) -> Iterator[Iterator[bytes]]:
        """Its bytes from `begin` on, which must lie before its end."""
        where = f"{_path(name)}/-/files/{quote(text_of(revision), safe='')}/{quote(path)}"
        headers = {"Range": f"bytes={begin}-"} if begin else None
        with self._streaming(where, _tenant(tenant), read_s=_READ_S, headers=headers) as answer:
            yield answer.iter_raw()

    def _model(self, model: type[M], answer: httpx.Response) -> M:
        found: M = self._parse(model, answer)
        return found


_BYTES = {"Content-Type": "application/octet-stream"}


def _path(name: str) -> str:
    return f"{model_schemas.MODELS_PATH}/{quote(name)}"


def _tenant(tenant: str | None) -> dict[str, str]:
    return {} if tenant is None else {"tenant": tenant}
