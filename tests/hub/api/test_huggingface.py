"""What Hugging Face's own client does not ask in the other tests: pages, folders, headers."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from hub.api import huggingface
from hub.api.app import create_api
from hub.models.catalogue import Models, Publication
from hub.models.storage import Storage
from hub.store.store import Store
from registry import chunk_lists, digests
from registry.cutting import Chunk
from registry.manifest import File
from tests.hub.api.fakes import ALICE, FakeHub
from tests.registry.fakes import MemoryBlobs

PATHS = ("README.md", "a/b/deep.bin", "a/one.bin", "a/two.bin", "model.safetensors")
DATA = b"weights"
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
async def http(hub: FakeHub, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    store = Store(f"sqlite:///{tmp_path}/hub.sqlite")
    await store.open()
    storage = Storage(store, MemoryBlobs(), clock=lambda: datetime.now(UTC))
    chunk = Chunk(digests.chunk_of(DATA), len(DATA))
    await storage.put_chunk(ALICE, ALICE.tenant, chunk.name, DATA)
    await storage.put_file(ALICE, ALICE.tenant, f"sha256:{SHA}", len(DATA), chunk_lists.pack([chunk]))
    models = Models(store, storage)
    files = [File(path, len(DATA), f"sha256:{SHA}") for path in PATHS]
    await models.publish(ALICE, Publication("org/name", files, aliases=["champion"]))
    transport = httpx.ASGITransport(create_api(replace(hub.services(), models=models)))
    headers = {"Authorization": "Bearer alice-token"}
    async with httpx.AsyncClient(transport=transport, base_url="https://hub.test", headers=headers) as client:
        yield client
    await store.close()


async def test_a_long_tree_comes_in_pages(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "_PAGE", 2)
    url: str | httpx.URL = "/api/models/org/name/tree/champion?recursive=true"
    seen: list[str] = []
    while url:
        answer = await http.get(url)
        assert answer.status_code == 200
        assert len(answer.json()) <= 2
        seen += [f"{one['type']} {one['path']}" for one in answer.json()]
        url = answer.links["next"]["url"] if "next" in answer.links else ""
    assert sorted(seen) == sorted([*(f"file {path}" for path in PATHS), "directory a", "directory a/b"])


async def test_a_folder_alone(http: httpx.AsyncClient) -> None:
    async def tree(folder: str) -> list[str]:
        return [one["path"] for one in (await http.get(f"/api/models/org/name/tree/main{folder}")).json()]

    assert await tree("") == ["README.md", "a", "model.safetensors"]
    assert await tree("/a") == ["a/b", "a/one.bin", "a/two.bin"]
    none = await http.get("/api/models/org/name/tree/main/none")
    assert (none.status_code, none.headers["x-error-code"]) == (404, "EntryNotFound")


async def test_what_a_file_says_of_itself(http: httpx.AsyncClient) -> None:
    answer = await http.head("/org/name/resolve/champion/a/b/deep.bin")
    commit = (await http.get("/api/models/org/name")).json()["sha"]
    assert answer.headers["etag"] == f'"{SHA}"'
    assert answer.headers["x-repo-commit"] == commit
    assert (answer.headers["content-length"], answer.headers["x-linked-size"]) == ("7", "7")
    assert (await http.get(f"/org/name/resolve/{commit}/model.safetensors")).content == DATA
    part = await http.get(f"/org/name/resolve/{commit}/model.safetensors", headers={"Range": "bytes=2-3"})
    assert (part.status_code, part.content) == (206, DATA[2:4])


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/models/org/none", "RepoNotFound"),
        ("/api/models/org/name/revision/none", "RevisionNotFound"),
        ("/api/models/org/name/revision/A%20B", "RevisionNotFound"),
        ("/api/models/org/name/revision/champion+none", "RevisionNotFound"),
        ("/org/name/resolve/champion/none.bin", "EntryNotFound"),
        ("/org/name/resolve/champion/a", "EntryNotFound"),
    ],
)
async def test_what_is_not_there(http: httpx.AsyncClient, path: str, code: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.headers["x-error-code"]) == (404, code)
    assert answer.json()["error"]["message"]


async def test_other_paths_and_strangers(http: httpx.AsyncClient) -> None:
    assert (await http.get("/nothing/here")).json()["error"]["code"] == "no-such-path"
    for path in ("/api/models/org/name", "/org/name/resolve/main/README.md", "/v1/models/org/name"):
        assert (await http.get(path, headers={"Authorization": "Bearer bob-token"})).status_code == 404
        assert (await http.get(path, headers={"Authorization": ""})).status_code == 401
