"""Names by content: chunks by BLAKE3, files and manifests by SHA-256 (what OCI and Hugging Face compare)."""

from __future__ import annotations

import hashlib
import re

from blake3 import blake3

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK = re.compile(r"[0-9a-f]{64}")


def sha256_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def chunk_of(data: bytes | memoryview) -> str:
    """A chunk's name: 64 hexadecimal digits of BLAKE3."""
    return blake3(data).hexdigest()


def is_sha256(text: str) -> bool:
    return _SHA256.fullmatch(text) is not None


def is_chunk(text: str) -> bool:
    return _CHUNK.fullmatch(text) is not None
