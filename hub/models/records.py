"""The catalogue's nouns: what `hub.store.models` answers and the faces show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from registry.manifest import Packed
from registry.variants import Measured, Requirements


@dataclass(frozen=True, slots=True)
class Variant:
    name: str
    digest: str  # of its manifest, "sha256:…"
    size: int  # bytes of all its files
    files: int
    pickles: bool  # a file of it runs code when it is loaded
    requires: Requirements
    measured: Measured
    pushed_at: datetime
    pushed_by: str

    @property
    def commit(self) -> str:
        """What Hugging Face's clients take for a revision's name."""
        return self.digest.removeprefix("sha256:")[:40]


@dataclass(frozen=True, slots=True)
class Version:
    number: int
    created_at: datetime
    created_by: str
    variants: tuple[Variant, ...]  # the oldest first


@dataclass(frozen=True, slots=True)
class Model:
    tenant: str  # "": everybody's
    name: str
    created_at: datetime
    created_by: str
    last_version: int
    aliases: Mapping[str, int]
    versions: tuple[Version, ...]  # ascending

    def version(self, number: int) -> Version | None:
        return next((one for one in self.versions if one.number == number), None)


@dataclass(frozen=True, slots=True)
class Found:
    """One variant of one version, as somebody asked for it."""

    model: Model
    version: Version
    variant: Variant
    packed: Packed

    @property
    def commit(self) -> str:
        return self.variant.commit
