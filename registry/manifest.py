"""A variant of a model as one canonical JSON document: an OCI manifest with ModelPack's media types.

It names every file by path, size and SHA-256, and its own SHA-256 names it: what a site verifies, a signature signs and
a rollout rolls out. Chunks are not in it: how bytes travel may change, what they are may not.

    ModelPack: https://github.com/modelpack/model-spec (media types of version 1, raw layers)
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from registry import digests, file_names

ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
WEIGHT_CONFIG = "application/vnd.cncf.model.weight.config.v1.raw"
DOC = "application/vnd.cncf.model.doc.v1.raw"
CODE = "application/vnd.cncf.model.code.v1.raw"
DATASET = "application/vnd.cncf.model.dataset.v1.raw"
FILE_PATH = "org.cncf.model.filepath"

MAX_FILES = 10_000

_WEIGHTS: tuple[str, ...] = (
    ".safetensors",
    ".gguf",
    ".onnx",
    ".pt",
    ".pth",
    ".bin",
    ".ckpt",
    ".h5",
    ".keras",
    ".plan",
    ".engine",
)
_WEIGHTS += (".tflite", ".npz", ".npy", ".msgpack", ".pb", ".ubj", ".pkl", ".joblib", ".mar", ".pdiparams", ".data")
_DOCS = (".md", ".rst", ".pdf", ".txt.license")
_DOC_NAMES = frozenset({"readme", "license", "notice", "licence", "use_policy"})
_CODE = (".py", ".ipynb", ".sh", ".cu", ".cpp", ".so")


class ManifestRefused(Exception):
    """It is no manifest of a model; the message names the field and the value."""


@dataclass(frozen=True, slots=True)
class File:
    path: str  # within the model, checked by `file_names`
    size: int  # bytes
    sha256: str  # "sha256:…"

    @property
    def media_type(self) -> str:
        return media_type_of(self.path)


@dataclass(frozen=True, slots=True)
class Manifest:
    files: tuple[File, ...]  # by path
    config: Mapping[str, str]  # ModelPack's words: format, architecture, precision, quantization, paramSize

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def find(self, path: str) -> File | None:
        return next((file for file in self.files if file.path == path), None)


@dataclass(frozen=True, slots=True)
class Packed:
    """The documents as they are stored, signed and served."""

    digest: str  # of `manifest`
    manifest: bytes
    config: bytes


def build(files: Sequence[File], config: Mapping[str, str]) -> Packed:
    """The same files and words always give the same bytes. Raises ManifestRefused."""
    check(files)
    ordered = sorted(files, key=lambda file: file.path)
    config_json = _canonical(
        {
            "descriptor": {},
            "config": dict(config),
            "modelfs": {"type": "layers", "diffIds": [file.sha256 for file in ordered]},
        }
    )
    manifest_json = _canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": ARTIFACT_TYPE,
            "config": {
                "mediaType": CONFIG_TYPE,
                "digest": digests.sha256_of(config_json),
                "size": len(config_json),
            },
            "layers": [
                {
                    "mediaType": file.media_type,
                    "digest": file.sha256,
                    "size": file.size,
                    "annotations": {FILE_PATH: file.path},
                }
                for file in ordered
            ],
        }
    )
    return Packed(digests.sha256_of(manifest_json), manifest_json, config_json)


def read(packed: Packed) -> Manifest:
    """What it says, once its digests are proved. Raises ManifestRefused."""
    if digests.sha256_of(packed.manifest) != packed.digest:
        raise ManifestRefused(f"the manifest is not {packed.digest}")
    manifest, config = _parsed(packed.manifest, "the manifest"), _parsed(packed.config, "the config")
    try:
        if manifest["artifactType"] != ARTIFACT_TYPE:
            raise ManifestRefused(f"artifactType: it is {manifest['artifactType']!r}, not {ARTIFACT_TYPE}")
        if manifest["config"]["digest"] != digests.sha256_of(packed.config):
            raise ManifestRefused("config.digest: it is not that of the config")
        files = tuple(
            File(layer["annotations"][FILE_PATH], layer["size"], layer["digest"]) for layer in manifest["layers"]
        )
        words = {str(key): str(value) for key, value in config["config"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ManifestRefused(f"a field is missing or of the wrong type: {error}") from error
    check(files)
    return Manifest(files, words)


def check(files: Sequence[File]) -> None:
    """Raises ManifestRefused where a name, a size or a digest cannot be, or two names exclude each other."""
    if not files:
        raise ManifestRefused("files: there is none")
    if len(files) > MAX_FILES:
        raise ManifestRefused(f"files: there are {len(files)}, at most {MAX_FILES} are allowed")
    for file in files:
        if type(file.path) is not str or (problem := file_names.problem_of(file.path)):
            raise ManifestRefused(f"the file name {file.path!r} {problem or 'is no string'}")
        if type(file.size) is not int or file.size < 0:
            raise ManifestRefused(f"{file.path}: the size {file.size!r} is no number of bytes")
        if type(file.sha256) is not str or not digests.is_sha256(file.sha256):
            raise ManifestRefused(f"{file.path}: {file.sha256!r} is no digest of SHA-256")
    if clash := file_names.clash_of([file.path for file in files]):
        raise ManifestRefused(f"one file system could not hold both {clash}")


def media_type_of(path: str) -> str:
    """ModelPack's, by the file's name."""
    name = path.rpartition("/")[2].lower()
    stem = name.partition(".")[0]
    if name.endswith(_WEIGHTS):
        return WEIGHT
    if stem in _DOC_NAMES or name.endswith(_DOCS):
        return DOC
    if name.endswith(_CODE):
        return CODE
    if name.endswith((".parquet", ".arrow", ".csv", ".jsonl")):
        return DATASET
    return WEIGHT_CONFIG


def http_type_of(path: str) -> str:
    """What a web server would say that the file is; never a type that a browser would run."""
    guessed = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return guessed if guessed in ("application/json", "text/plain", "text/markdown") else "application/octet-stream"


def _canonical(value: Any) -> bytes:
    """Keys sorted, no spaces, UTF-8: the form of RFC 8785 for what is in here (strings and whole numbers)."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _parsed(data: bytes, what: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ManifestRefused(f"{what} is no JSON: {error}") from error
