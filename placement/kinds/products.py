"""The names GPU feature discovery gives to NVIDIA products: the driver's name with dashes for blanks.

The list serves "did you mean" and nothing else: a product that is not on it is not refused, and not even doubted
where it has the form.
"""

from __future__ import annotations

import re
from functools import lru_cache

from placement.kinds.problems import did_you_mean

KNOWN_PRODUCTS = (
    "NVIDIA-A100-SXM4-80GB",
    "NVIDIA-A100-SXM4-40GB",
    "NVIDIA-A100-80GB-PCIe",
    "NVIDIA-A100-PCIE-40GB",
    "NVIDIA-H100-80GB-HBM3",
    "NVIDIA-H100-PCIe",
    "NVIDIA-H100-NVL",
    "NVIDIA-H200",
    "NVIDIA-H200-NVL",
    "NVIDIA-H20",
    "NVIDIA-H800",
    "NVIDIA-A800-SXM4-80GB",
    "NVIDIA-A800-80GB-PCIe",
    "NVIDIA-B200",
    "NVIDIA-B300-SXM6-AC",
    "NVIDIA-GB200",
    "NVIDIA-GB300",
    "NVIDIA-GH200-480GB",
    "NVIDIA-L4",
    "NVIDIA-L20",
    "NVIDIA-L40",
    "NVIDIA-L40S",
    "NVIDIA-A2",
    "NVIDIA-A10",
    "NVIDIA-A10G",
    "NVIDIA-A16",
    "NVIDIA-A30",
    "NVIDIA-A40",
    "NVIDIA-RTX-A6000",
    "NVIDIA-RTX-6000-Ada-Generation",
    "NVIDIA-GeForce-RTX-3090",
    "NVIDIA-GeForce-RTX-4090",
    "NVIDIA-GeForce-RTX-5090",
    "Tesla-T4",
    "Tesla-P4",
    "Tesla-P40",
    "Tesla-P100-PCIE-16GB",
    "Tesla-V100-SXM2-16GB",
    "Tesla-V100-SXM2-32GB",
    "Tesla-V100-PCIE-16GB",
    "Tesla-V100-PCIE-32GB",
)

_FORM = re.compile(r"(NVIDIA|Tesla|Quadro|GeForce|GRID|TITAN|Orin|Xavier|Thor)[-A-Za-z0-9_.]*")
_SUFFIX = re.compile(r"(-MIG-\d+g\.\d+gb(\.me)?)?(-SHARED)?$")


def is_discovery_form(product: str) -> bool:
    """Whether feature discovery could have written it: begins as drivers name cards, with dashes for blanks."""
    return _FORM.fullmatch(product) is not None


@lru_cache(maxsize=256)
def probably_meant(product: str) -> str:
    """The known product nearest to a misspelt one; "" where none is near."""
    base = _SUFFIX.sub("", product.strip().replace(" ", "-"))
    suffix = product[len(base) :]
    folded = {known.casefold(): known for known in KNOWN_PRODUCTS}
    for prefix in ("", "NVIDIA-", "Tesla-"):
        if known := folded.get(f"{prefix}{base}".casefold()):
            return known + suffix
    near = did_you_mean(f"NVIDIA-{base}", KNOWN_PRODUCTS, cutoff=0.75) or did_you_mean(base, KNOWN_PRODUCTS, cutoff=0.6)
    return near + suffix if near else ""
