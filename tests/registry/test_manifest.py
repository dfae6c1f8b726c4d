from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import digests, file_names, manifest
from registry.manifest import File, ManifestRefused

SHA = digests.sha256_of(b"x")
FILES = (File("model.safetensors", 10, SHA), File("tokenizer/vocab.json", 3, SHA), File("README.md", 1, SHA))


def test_the_same_files_give_the_same_bytes_in_whatever_order() -> None:
    one = manifest.build(FILES, {"format": "safetensors", "precision": "bf16"})
    other = manifest.build(FILES[::-1], {"precision": "bf16", "format": "safetensors"})
    assert one == other
    assert one.digest == digests.sha256_of(one.manifest)


def test_what_is_built_is_read_again() -> None:
    packed = manifest.build(FILES, {"format": "safetensors"})
    read = manifest.read(packed)
    assert set(read.files) == set(FILES)
    assert (read.size, read.config) == (14, {"format": "safetensors"})
    assert read.find("README.md") == FILES[2]
    assert read.find("readme") is None


def test_it_is_what_modelpack_says() -> None:
    body = orjson.loads(manifest.build(FILES, {}).manifest)
    assert body["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert [layer["mediaType"].removeprefix("application/vnd.cncf.model.") for layer in body["layers"]] == [
        "doc.v1.raw",
        "weight.v1.raw",
        "weight.config.v1.raw",
    ]


def test_one_that_was_touched_is_refused() -> None:
    packed = manifest.build(FILES, {})
    with pytest.raises(ManifestRefused, match="the manifest is not sha256"):
        manifest.read(replace(packed, manifest=packed.manifest.replace(b'"size":10', b'"size":11')))
    with pytest.raises(ManifestRefused, match=r"config\.digest"):
        manifest.read(replace(packed, config=packed.config + b" "))


@given(st.binary(max_size=200), st.dictionaries(st.sampled_from(["artifactType", "config", "layers"]), st.none()))
def test_what_is_no_manifest_is_refused_and_nothing_else(noise: bytes, body: dict[str, None]) -> None:
    for data in (noise, orjson.dumps(body), b"[]", b'{"artifactType": "%s"}' % manifest.ARTIFACT_TYPE.encode()):
        with pytest.raises(ManifestRefused):
            manifest.read(manifest.Packed(digests.sha256_of(data), data, b"{}"))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "there is none"),
        ((replace(FILES[0], size=-1),), "-1"),
        ((replace(FILES[0], sha256="md5:1"),), "no digest"),
        ((replace(FILES[0], path="../x"),), "'..' as a part"),
        ((FILES[0], replace(FILES[0], path="MODEL.safetensors")), "could not hold both"),
        ((FILES[0], replace(FILES[0], path="model.safetensors/x")), "could not hold both"),
    ],
)
def test_files_that_cannot_be(files: tuple[File, ...], said: str) -> None:
    with pytest.raises(ManifestRefused, match=said):
        manifest.build(files, {})


@pytest.mark.parametrize("name", ["model.bin", "a/b/c.json", "größe.txt", "a b.txt", ".gitattributes"])
def test_names_that_can_be(name: str) -> None:
    assert file_names.problem_of(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "a/../b",
        "./a",
        "a//b",
        "a\\b",
        "C:x",
        "a\n",
        "a\u202eb",
        "u\u0308",
        "x" * 300,
        " a",
        "a.",
        "\ud800",
    ],
)
def test_names_that_cannot(name: str) -> None:
    assert file_names.problem_of(name)


@given(st.text(max_size=30))
def test_a_name_that_can_be_stays_where_it_is_put(name: str) -> None:
    from pathlib import PurePosixPath

    if not file_names.problem_of(name):
        path = PurePosixPath("/models") / name
        assert path.is_relative_to("/models")
        assert ".." not in path.parts
        assert str(path) == f"/models/{name}"
