"""Models as people have them: weights by safetensors' own writer, a tokenizer, a card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random

import numpy as np
from safetensors.numpy import save_file


def tensors(seed: int, count: int = 8, rows: int = 300) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"layers.{at}.weight": rng.random((rows, 1024), dtype=np.float32) for at in range(count)}


def write(directory: Path, weights: Mapping[str, np.ndarray], words: str = "a model") -> Path:
    (directory / "tokenizer").mkdir(parents=True, exist_ok=True)
    save_file(dict(weights), directory / "model.safetensors")
    (directory / "README.md").write_text(words)
    (directory / "config.json").write_text('{"hidden_size": 1024}')
    (directory / "tokenizer" / "vocab.json").write_bytes(Random(1).randbytes(3_000_000))
    (directory / "empty.txt").write_bytes(b"")
    return directory


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    }
