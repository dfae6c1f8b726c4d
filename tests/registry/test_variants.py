from __future__ import annotations

import pytest

from registry import variants
from registry.variants import Measured, Requirements, VariantRefused


def test_words_become_requirements_and_words_again() -> None:
    words = {"accelerator": "nvidia", "compute-capability": "8.0", "vram": "16GiB", "runtime": "vllm"}
    found = variants.requirements(words | {"runtime-versions": ">=0.6,<1"})
    assert found == Requirements(
        accelerator="nvidia", compute_capability="8.0", vram=16 << 30, runtime="vllm", runtime_versions=">=0.6,<1"
    )
    assert variants.requirements(found.as_words()) == found
    assert variants.requirements({}).as_words() == {}


def test_measured_zero_is_not_unmeasured() -> None:
    found = variants.measured({"quality": "0", "latency-ms": "12.5"})
    assert found == Measured(quality=0.0, latency_ms=12.5)
    assert variants.measured(found.as_words()) == found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"gpu": "x"}, "requires.gpu"),
        ({"compute-capability": "eight"}, "8.0, for instance"),
        ({"vram": "lots"}, "requires.vram"),
        ({"runtime-versions": ">=1"}, "of which runtime"),
        ({"runtime": "a", "runtime-versions": "newest"}, "runtime-versions"),
        ({"accelerator": "a\nb"}, "accelerator"),
    ],
)
def test_what_cannot_be_required_is_refused(words: dict[str, str], said: str) -> None:
    with pytest.raises(VariantRefused, match=said):
        variants.requirements(words)


@pytest.mark.parametrize("words", [{"quality": "nan"}, {"quality": "inf"}, {"latency-ms": "-1"}, {"speed": "1"}])
def test_what_cannot_be_measured_is_refused(words: dict[str, str]) -> None:
    with pytest.raises(VariantRefused, match=r"measured\."):
        variants.measured(words)


def test_pairs() -> None:
    assert variants.pairs(["a=1", "b=x=y"], "--require") == {"a": "1", "b": "x=y"}
    for wrong in (["a"], ["=1"], ["a="], ["a=1", "a=2"]):
        with pytest.raises(VariantRefused, match="--require"):
            variants.pairs(wrong, "--require")
