"""Which product nodes report for the accelerator that a catalogue names.

A catalogue says `A100-80GB`, nodes `NVIDIA-A100-SXM4-80GB` or `NVIDIA-A100-80GB-PCIe`. What tells them apart, as far as
the catalogue goes, is the memory and words of the machine's or the card's name; beyond that, what the nodes of the
cluster do report; beyond that, the form that clouds mostly have. What is not in the table is not guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

_SAME_MEMORY = 0.12  # catalogues round, and count what drivers keep


@dataclass(frozen=True, slots=True)
class Variant:
    product: str
    memory_gib: float
    form: str = ""  # a word of it: sxm, pcie, nvl


_A100_40 = (Variant("NVIDIA-A100-SXM4-40GB", 40, "sxm"), Variant("NVIDIA-A100-PCIE-40GB", 40, "pcie"))
_A100_80 = (Variant("NVIDIA-A100-SXM4-80GB", 80, "sxm"), Variant("NVIDIA-A100-80GB-PCIe", 80, "pcie"))
_A800 = (Variant("NVIDIA-A800-SXM4-80GB", 80, "sxm"), Variant("NVIDIA-A800-80GB-PCIe", 80, "pcie"))
_H100 = (
    Variant("NVIDIA-H100-80GB-HBM3", 80, "sxm"),
    Variant("NVIDIA-H100-PCIe", 80, "pcie"),
    Variant("NVIDIA-H100-NVL", 94, "nvl"),
)
_H200 = (Variant("NVIDIA-H200", 141, "sxm"), Variant("NVIDIA-H200-NVL", 141, "nvl"))
_V100_16 = (Variant("Tesla-V100-SXM2-16GB", 16, "sxm"), Variant("Tesla-V100-PCIE-16GB", 16, "pcie"))
_V100_32 = (Variant("Tesla-V100-SXM2-32GB", 32, "sxm"), Variant("Tesla-V100-PCIE-32GB", 32, "pcie"))


def _one(product: str, memory_gib: float) -> tuple[Variant, ...]:
    return (Variant(product, memory_gib),)


_RTX_A4000, _RTX_A5000 = _one("NVIDIA-RTX-A4000", 16), _one("NVIDIA-RTX-A5000", 24)
_RTX_A6000, _RTX_6000_ADA = _one("NVIDIA-RTX-A6000", 48), _one("NVIDIA-RTX-6000-Ada-Generation", 48)

# The catalogue's name in small letters -> the products that it may be, the most usual first.
VARIANTS: Mapping[str, tuple[Variant, ...]] = {
    "a2": _one("NVIDIA-A2", 16),
    "a10": _one("NVIDIA-A10", 24),
    "a10g": _one("NVIDIA-A10G", 24),
    "a16": _one("NVIDIA-A16", 16),
    "a30": _one("NVIDIA-A30", 24),
    "a40": _one("NVIDIA-A40", 48),
    "a100": _A100_40 + _A100_80,
    "a100-40gb": _A100_40,
    "a100-40gb-sxm": _A100_40[:1],
    "a100-80gb": _A100_80,
    "a100-80gb-sxm": _A100_80[:1],
    "a800": _A800,
    "b200": _one("NVIDIA-B200", 180),
    "b300": _one("NVIDIA-B300-SXM6-AC", 270),
    "gb200": _one("NVIDIA-GB200", 186),
    "gb300": _one("NVIDIA-GB300", 279),
    "gh200": _one("NVIDIA-GH200-480GB", 96),
    "h20": _one("NVIDIA-H20", 96),
    "h100": _H100,
    "h100-mega": _H100[:1],
    "h100-sxm": _H100[:1],
    "h100-nvlink": _H100[:1],
    "h100-80gb": _H100[:2],
    "h100-nvl": _H100[2:],
    "h100-pcie": _H100[1:2],
    "h200": _H200,
    "h200-sxm": _H200[:1],
    "h200-nvl": _H200[1:],
    "h800": _one("NVIDIA-H800", 80),
    "k80": _one("Tesla-K80", 12),
    "l4": _one("NVIDIA-L4", 24),
    "l20": _one("NVIDIA-L20", 48),
    "l40": _one("NVIDIA-L40", 48),
    "l40s": _one("NVIDIA-L40S", 48),
    "m60": _one("Tesla-M60", 8),
    "p4": _one("Tesla-P4", 8),
    "p40": _one("Tesla-P40", 24),
    "p100": _one("Tesla-P100-PCIE-16GB", 16),
    "rtx3090": _one("NVIDIA-GeForce-RTX-3090", 24),
    "rtx4090": _one("NVIDIA-GeForce-RTX-4090", 24),
    "rtx5090": _one("NVIDIA-GeForce-RTX-5090", 32),
    "a4000": _RTX_A4000,
    "rtxa4000": _RTX_A4000,
    "a5000": _RTX_A5000,
    "rtxa5000": _RTX_A5000,
    "a6000": _RTX_A6000,
    "rtxa6000": _RTX_A6000,
    "rtx6000": _one("Quadro-RTX-6000", 24),
    "rtx6000-ada": _RTX_6000_ADA,
    "rtx6000ada": _RTX_6000_ADA,
    "rtxpro6000": _one("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", 96),
    "rtxpro6000s": _one("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", 96),
    "rtxpro6000ws": _one("NVIDIA-RTX-PRO-6000-Blackwell-Workstation-Edition", 96),
    "t4": _one("Tesla-T4", 16),
    "t4g": _one("NVIDIA-T4G", 16),
    "v100": _V100_16 + _V100_32,
    "v100-32gb": _V100_32,
}


def product_of(accelerator: str, memory_gib: float | None, words: str, present: Collection[str]) -> str | None:
    """None where the table does not know the name. `words`: in small letters; `present`: what nodes report."""
    variants = VARIANTS.get(accelerator.casefold())
    if variants is None:
        return None
    if memory_gib is not None:
        variants = tuple(v for v in variants if _alike(v.memory_gib, memory_gib)) or variants
    variants = tuple(v for v in variants if v.form and v.form in words) or variants
    there = [v.product for v in variants if v.product in present]
    return there[0] if there else variants[0].product


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME_MEMORY * max(one, other)
