"""The registry's tables: the catalogue of models, and which objects hold their bytes.

All but the objects' names are by tenant: nobody learns from a push that another tenant has the same bytes. `uses`
counts what refers to a row (a manifest to a file, a file to a chunk); what has none lives as long as its lease.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Text
from sqlmodel import Field

from hub.store.rows import Row, Utc, table_of, text_key


class ModelRow(Row, table=True):
    __tablename__ = "models"
    tenant: str = text_key(253)  # "": everybody's
    name: str = text_key(200)
    last_version: int = Field(sa_column=Column(Integer, nullable=False))  # given out; deleted ones too
    created_at: datetime = Field(sa_column=Column(Utc, nullable=False))
    created_by: str = Field(sa_column=Column(String(253), nullable=False))


class ModelVersionRow(Row, table=True):
    __tablename__ = "model_versions"
    tenant: str = text_key(253)
    model: str = text_key(200)
    number: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    created_at: datetime = Field(sa_column=Column(Utc, nullable=False))
    created_by: str = Field(sa_column=Column(String(253), nullable=False))


class ModelVariantRow(Row, table=True):
    __tablename__ = "model_variants"
    __table_args__ = (Index("ix_model_variants_by_digest", "tenant", "digest"),)
    tenant: str = text_key(253)
    model: str = text_key(200)
    version: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    name: str = text_key()
    digest: str = Field(sa_column=Column(String(71), nullable=False))  # of the manifest
    size: int = Field(sa_column=Column(BigInteger, nullable=False))  # bytes of all files
    files: int = Field(sa_column=Column(Integer, nullable=False))
    pickles: bool = Field(sa_column=Column(Boolean, nullable=False))  # a file of it runs code when it is loaded
    requires_json: str = Field(sa_column=Column(Text, nullable=False))
    measured_json: str = Field(sa_column=Column(Text, nullable=False))
    pushed_at: datetime = Field(sa_column=Column(Utc, nullable=False))
    pushed_by: str = Field(sa_column=Column(String(253), nullable=False))


class ModelAliasRow(Row, table=True):
    __tablename__ = "model_aliases"
    tenant: str = text_key(253)
    model: str = text_key(200)
    name: str = text_key()
    version: int = Field(sa_column=Column(Integer, nullable=False))


class ModelManifestRow(Row, table=True):
    __tablename__ = "model_manifests"
    tenant: str = text_key(253)
    digest: str = text_key(71)
    manifest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    config: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class ModelFileRow(Row, table=True):
    __tablename__ = "model_files"
    __table_args__ = (Index("ix_model_files_by_lease", "uses", "leased_until"),)
    tenant: str = text_key(253)
    sha256: str = text_key(71)
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    chunks: bytes = Field(sa_column=Column(LargeBinary, nullable=False))  # as registry.chunk_lists packs them
    runs_code: bool = Field(sa_column=Column(Boolean, nullable=False))
    uses: int = Field(sa_column=Column(Integer, nullable=False))
    leased_until: datetime = Field(sa_column=Column(Utc, nullable=False))


class ModelChunkRow(Row, table=True):
    __tablename__ = "model_chunks"
    __table_args__ = (Index("ix_model_chunks_by_lease", "uses", "leased_until"),)
    tenant: str = text_key(253)
    name: str = text_key()
    size: int = Field(sa_column=Column(Integer, nullable=False))
    object: str = Field(sa_column=Column(String(253), nullable=False))  # "": it was found damaged, and is to come again
    uses: int = Field(sa_column=Column(Integer, nullable=False))
    leased_until: datetime = Field(sa_column=Column(Utc, nullable=False))


class ModelGarbageRow(Row, table=True):
    """Objects that no chunk refers to: those being written, and those that are no longer needed."""

    __tablename__ = "model_garbage"
    object: str = text_key(253)
    due: datetime = Field(sa_column=Column(Utc, nullable=False, index=True))
    doomed: bool = Field(sa_column=Column(Boolean, nullable=False))  # it is being deleted: nothing may refer to it


models = table_of(ModelRow)
versions = table_of(ModelVersionRow)
variants = table_of(ModelVariantRow)
aliases = table_of(ModelAliasRow)
manifests = table_of(ModelManifestRow)
files = table_of(ModelFileRow)
chunks = table_of(ModelChunkRow)
garbage = table_of(ModelGarbageRow)
