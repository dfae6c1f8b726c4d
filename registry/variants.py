"""What a variant of a model needs of the hardware it runs on, and how good and how quick it was found to be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from placement import sizes

_WORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._+-]{0,61}[A-Za-z0-9])?")
_CAPABILITY = re.compile(r"[0-9]{1,2}\.[0-9]")
_VERSIONS = re.compile(r"(?:[<>=!~]=?[0-9][0-9A-Za-z.*]*)(?:,[<>=!~]=?[0-9][0-9A-Za-z.*]*){0,7}")


class VariantRefused(Exception):
    """The message names the field, the value and the mend."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """ "" and 0: it does not matter."""

    architecture: str = ""  # of the CPU: amd64, arm64
    accelerator: str = ""  # its vendor or product: nvidia, Jetson-Orin
    compute_capability: str = ""  # at least
    runtime: str = ""  # onnxruntime, tensorrt, vllm
    runtime_versions: str = ""  # >=1.18,<2
    vram: int = 0  # bytes, at least
    precision: str = ""  # fp16, int8, q4_k_m

    def as_words(self) -> dict[str, str]:
        """By the names that `requirements` takes; only what matters."""
        found = {each.name.replace("_", "-"): getattr(self, each.name) for each in fields(self)}
        return {name: str(value) for name, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Measured:
    """None: not measured."""

    quality: float | None = None  # whatever the team measures; more is better
    latency_ms: float | None = None
    memory: int | None = None  # bytes, while it answers

    def as_words(self) -> dict[str, str]:
        found = {"quality": self.quality, "latency-ms": self.latency_ms, "memory": self.memory}
        return {
            name: f"{value:.10g}" if isinstance(value, float) else str(value)
            for name, value in found.items()
            if value is not None
        }


def pairs(given: Iterable[str], flag: str) -> dict[str, str]:
    """`name=value` each. Raises VariantRefused."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise VariantRefused(f"{flag} {text}: write {flag} name=value")
        if name in found:
            raise VariantRefused(f"{flag} {name}: it is there twice")
        found[name] = value
    return found


def requirements(words: Mapping[str, str]) -> Requirements:
    """Raises VariantRefused."""
    known = [each.name.replace("_", "-") for each in fields(Requirements)]
    for name, value in words.items():
        if name not in known:
            raise VariantRefused(f"requires.{name}: no such requirement; known: {', '.join(known)}")
        if name == "vram":
            continue
        pattern, mend = {
            "compute-capability": (_CAPABILITY, "8.0, for instance"),
            "runtime-versions": (_VERSIONS, ">=1.18,<2, for instance"),
        }.get(name, (_WORD, "letters, digits, ' ', '.', '_', '+' and '-', at most 63"))
        if not pattern.fullmatch(value):
            raise VariantRefused(f"requires.{name}: {value[:80]!r} is not one; write {mend}")
    if "runtime-versions" in words and "runtime" not in words:
        raise VariantRefused("requires.runtime-versions: of which runtime? give runtime too")
    rest = {name.replace("-", "_"): value for name, value in words.items() if name != "vram"}
    return Requirements(**rest, vram=_bytes(words.get("vram", "0"), "requires.vram"))


def measured(words: Mapping[str, str]) -> Measured:
    """Raises VariantRefused."""
    numbers: dict[str, float] = {}
    for name, value in words.items():
        if name not in ("quality", "latency-ms", "memory"):
            raise VariantRefused(f"measured.{name}: nothing of that name; known: quality, latency-ms, memory")
        if name == "memory":
            continue
        try:
            numbers[name] = float(value)
        except ValueError:
            raise VariantRefused(f"measured.{name}: {value[:80]!r} is no number") from None
        if not -1e12 < numbers[name] < 1e12 or (name == "latency-ms" and numbers[name] < 0):
            raise VariantRefused(f"measured.{name}: {value[:80]} cannot be")
    memory = _bytes(words["memory"], "measured.memory") if "memory" in words else None
    return Measured(numbers.get("quality"), numbers.get("latency-ms"), memory)


def _bytes(value: str, field: str) -> int:
    try:
        return sizes.parse(value if not value.isdigit() else int(value))
    except ValueError as error:
        raise VariantRefused(f"{field}: {error}") from error
