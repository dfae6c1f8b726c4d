"""What the hub does not take, and what it does not give out."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.programs import HubProgram
from hub import model_pull, model_push
from hub.client import ApiError, MusterClient
from hub.model_push import Did, Label, PushRefused
from registry import chunk_lists, digests
from registry.cutting import LARGEST, Chunk
from registry.references import Revision
from tests.hub.models import samples

SHA = digests.sha256_of(b"ab")
CHUNKS = [Chunk(digests.chunk_of(data), 1) for data in (b"a", b"b")]


@pytest.fixture
def http(program: HubProgram) -> Iterator[httpx.Client]:
    tls: ssl.SSLContext = MusterClient(program.url, ca=program.ca).tls
    headers = {"Authorization": f"Bearer {program.admin_token}"}
    with httpx.Client(base_url=f"{program.url}/v1", headers=headers, verify=tls) as client:
        yield client


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_bytes_that_are_not_what_they_are_called(http: httpx.Client) -> None:
    name = CHUNKS[0].name
    assert refusal(http.put(f"/model-chunks/{name}", content=b"b")) == (422, "wrong-hash")
    assert refusal(http.put(f"/model-chunks/{name}", content=b"")) == (422, "bad-chunk")
    assert refusal(http.put(f"/model-chunks/{name}", content=bytes(LARGEST + 1))) == (413, "too-large")
    assert refusal(http.put("/model-chunks/..%2f..%2fetc", content=b"a"))[0] in (404, 422)
    for chunk, data in zip(CHUNKS, (b"a", b"b"), strict=True):
        assert http.put(f"/model-chunks/{chunk.name}", content=data).status_code == 200
    backwards = chunk_lists.pack(CHUNKS[::-1])
    assert refusal(http.put(f"/model-files/{SHA}?size=2", content=backwards)) == (422, "wrong-hash")
    listed = chunk_lists.pack(CHUNKS)
    assert refusal(http.put(f"/model-files/{SHA}?size=3", content=listed)) == (422, "bad-size")
    assert refusal(http.put("/model-files/sha256:no?size=2", content=listed)) == (422, "bad-digest")
    assert refusal(http.put(f"/model-files/{SHA}?size=2", content=listed[:-1])) == (422, "bad-chunks")
    assert http.put(f"/model-files/{SHA}?size=2", content=listed).json()["stored"]


@pytest.mark.parametrize(
    "path", ["../up", "/etc/passwd", "a/../../b", "a\\b", "C:x", "a//b", ".", "a\0b", "e\u0301", "x" * 300]
)
def test_names_that_lead_elsewhere(http: httpx.Client, path: str) -> None:
    body = {"files": [{"path": path, "size": 2, "sha256": SHA}]}
    assert refusal(http.post("/models/odd/-/versions", json=body))[0] == 422
    assert refusal(http.get("/models/odd")) == (404, "no-such-model")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"files": []}, "bad-model"),
        ({"files": [{"path": "a", "size": 2, "sha256": digests.sha256_of(b"none")}]}, "file-missing"),
        ({"files": [{"path": "a", "size": 9, "sha256": SHA}]}, "bad-size"),
        ({"files": [{"path": "a", "size": 2, "sha256": SHA}, {"path": "A", "size": 2, "sha256": SHA}]}, "bad-model"),
        ({"variant": "A B"}, "bad-name"),
        ({"aliases": ["7"]}, "bad-name"),
        ({"requires": {"gpu": "x"}}, "bad-model"),
        ({"version": 3}, "no-such-model"),
    ],
)
def test_what_cannot_be_published_changes_nothing(http: httpx.Client, more: dict[str, object], code: str) -> None:
    for chunk, data in zip(CHUNKS, (b"a", b"b"), strict=True):
        http.put(f"/model-chunks/{chunk.name}", content=data)
    assert http.put(f"/model-files/{SHA}?size=2", content=chunk_lists.pack(CHUNKS)).json()["stored"]
    body = {"files": [{"path": "a", "size": 2, "sha256": SHA}]} | more
    answer = http.post("/models/wrong/-/versions", json=body)
    assert refusal(answer)[1] == code
    assert refusal(http.get("/models/wrong"))[0] == 404


def test_a_variant_is_what_it_was(program: HubProgram, sample: Path) -> None:
    with program.client(program.admin_token) as client:
        model_push.push(client, model_push.look(sample), Label("fixed"), _quiet)
        (sample / "README.md").write_text("other")
        with pytest.raises(ApiError, match="has a variant default with other files"):
            model_push.push(client, model_push.look(sample), Label("fixed", version=1), _quiet)
        model_push.push(client, model_push.look(sample), Label("fixed", version=1, variant="int8"), _quiet)
        assert [one.name for one in client.models.show("fixed").versions[0].variants] == ["default", "int8"]
        assert client.models.manifest("fixed", Revision()).variant == "default"
        assert client.models.manifest("fixed", Revision(variant="int8")).variant == "int8"


def test_a_pickle_is_marked(program: HubProgram, sample: Path) -> None:
    (sample / "weights.bin").write_bytes(b"\x80\x04\x95\x00 anything")
    with program.client(program.admin_token) as client:
        model_push.push(client, model_push.look(sample), Label("pickled"), _quiet)
        assert client.models.show("pickled").versions[0].variants[0].pickles


def test_a_directory_that_cannot_be_a_model(tmp_path: Path) -> None:
    with pytest.raises(PushRefused, match="no files"):
        model_push.look(tmp_path)
    with pytest.raises(PushRefused, match="no directory"):
        model_push.look(tmp_path / "none")
    (tmp_path / "a").write_text("1")
    (tmp_path / "A").write_text("2")
    with pytest.raises(PushRefused, match="could not hold both"):
        model_push.look(tmp_path)
    (tmp_path / "A").rename(tmp_path / "a:b")
    with pytest.raises(PushRefused, match="a colon"):
        model_push.look(tmp_path)


def test_a_repository_of_hugging_faces_cache(tmp_path: Path) -> None:
    cache = tmp_path / "models--org--name"
    (cache / "blobs").mkdir(parents=True)
    (cache / "blobs" / "abc").write_text("weights")
    for revision in ("one", "two"):
        (cache / "snapshots" / revision).mkdir(parents=True)
    (cache / "snapshots" / "one" / "model.bin").symlink_to("../../blobs/abc")
    with pytest.raises(PushRefused, match="2 revisions"):
        model_push.look(cache)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("one")
    assert [(file.name, file.size) for file in model_push.look(cache).files] == [("model.bin", 7)]


def test_what_was_damaged_on_the_disk_is_not_given_out_and_is_mended_by_a_push(
    program: HubProgram, sample: Path, tmp_path: Path
) -> None:
    weights = samples.tensors(77)
    samples.write(sample, weights)
    with program.client(program.admin_token) as client:
        model_push.push(client, model_push.look(sample), Label("damaged"), _quiet)
        store = program.directory / "data" / "models" / "chunks"
        victims = [one for one in store.rglob("*.*") if one.is_file() and one.stat().st_size == weights[_ONE].nbytes]
        mine = [one for one in victims if weights[_ONE].tobytes() == one.read_bytes()]
        (victim,) = mine
        data = bytearray(victim.read_bytes())
        data[1000] ^= 1
        victim.write_bytes(data)
        wanted = model_pull.look(client, "damaged", Revision())
        with pytest.raises(ApiError, match="is damaged or gone"):
            model_pull.pull(client, wanted, tmp_path / "there", lambda count, came: None)
        assert not (tmp_path / "there" / "model.safetensors").exists()
        sent: list[int] = []
        model_push.push(
            client,
            model_push.look(sample),
            Label("damaged"),
            lambda did, count: sent.append(count) if did is Did.SENT else None,
        )
        assert sent == [weights[_ONE].nbytes]
        model_pull.pull(client, wanted, tmp_path / "there", lambda count, came: None)
    assert samples.files(tmp_path / "there") == samples.files(sample)


_ONE = "layers.5.weight"


def _quiet(did: Did, count: int) -> None: ...
