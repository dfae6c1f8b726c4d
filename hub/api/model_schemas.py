"""Models over the wire. Chunks and lists of chunks travel as they are, without JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from hub.api.schemas import Name, Wire
from placement import sizes

MODELS_PATH = "/models"
CHUNKS_PATH = "/model-chunks"
FILES_PATH = "/model-files"
MAX_PUBLICATION_BYTES = 8 << 20

Words = Annotated[dict[str, Annotated[str, Field(max_length=200)]], Field(max_length=32)]


class ModelFileIn(Wire):
    path: Annotated[str, Field(max_length=512)]
    size: Annotated[int, Field(ge=0, le=sizes.MOST_BYTES)]
    sha256: Annotated[str, Field(max_length=71, description="sha256:… of a file that is stored.")]


class PublicationIn(Wire):
    files: Annotated[list[ModelFileIn], Field(max_length=10_000)]
    variant: Name = "default"
    version: Annotated[int, Field(ge=0, le=999_999_999, description="0: a new one; else a variant more of it.")] = 0
    config: Words = Field(default_factory=dict, description="ModelPack's words: format, precision, quantization …")
    requires: Words = Field(default_factory=dict)
    measured: Words = Field(default_factory=dict)
    aliases: Annotated[list[Name], Field(max_length=64, default_factory=list)]


class AliasIn(Wire):
    version: Annotated[int, Field(ge=1, le=999_999_999)]


class FileStateOut(Wire):
    stored: bool
    missing: list[int] = Field(description="Places in the list of chunks: send these, then ask again.")
    proved: int = Field(description="Bytes so far, of a file that has all chunks and is not stored yet: ask again.")


class ChunkOut(Wire):
    created: bool


class VariantOut(Wire):
    name: str
    digest: str = Field(description="Of its manifest.")
    commit: str = Field(description="What Hugging Face's clients call the revision.")
    size: int
    files: int
    pickles: bool = Field(description="A file of it runs code when it is loaded.")
    requires: dict[str, str]
    measured: dict[str, str]
    pushed_at: datetime
    pushed_by: str


class VersionOut(Wire):
    number: int
    created_at: datetime
    created_by: str
    variants: list[VariantOut]


class ModelOut(Wire):
    tenant: str = Field(description='"": everybody\'s.')
    name: str
    created_at: datetime
    created_by: str
    aliases: dict[str, int]
    versions: list[VersionOut]


class ModelListOut(Wire):
    models: list[ModelOut]


class PublishedOut(Wire):
    model: ModelOut
    version: int
    variant: str
    created: bool = Field(description="False: the version had this variant with the same files already.")


class ManifestOut(Wire):
    version: int
    variant: str
    digest: str
    manifest: str = Field(description="Canonical JSON, whose SHA-256 is the digest.")
    config: str


class ModelStorageOut(Wire):
    chunks: int
    stored: int = Field(description="Bytes of the chunks.")
    named: int = Field(description="Bytes of all variants, each counted whole.")
    unused: int = Field(description="Bytes of chunks that nothing refers to: unfinished pushes, and what is to go.")
    garbage: int = Field(description="Objects that will be deleted.")
    models: int
