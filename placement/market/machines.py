"""Where cards are priced apart from the machine around them: which machines those are.

Google Cloud's catalogue lists A100s and newer without their machine, and the machine without its cards; the two belong
together and are paid together. Cards that go into any machine (T4, V100, P100, P4) are paid with whatever is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# cloud -> accelerator in small letters -> number of cards -> machine types, any of which goes with them
APART: Mapping[str, Mapping[str, Mapping[int, Sequence[str]]]] = {
    "gcp": {
        "a100": {**{n: (f"a2-highgpu-{n}g",) for n in (1, 2, 4, 8)}, 16: ("a2-megagpu-16g",)},
        "a100-80gb": {n: (f"a2-ultragpu-{n}g",) for n in (1, 2, 4, 8)},
        "h100": {n: (f"a3-highgpu-{n}g",) for n in (1, 2, 4, 8)},
        "h100-mega": {8: ("a3-megagpu-8g",)},
        "h200": {8: ("a3-ultragpu-8g",)},
        "b200": {8: ("a4-highgpu-8g",)},
        "l4": {
            1: tuple(f"g2-standard-{cores}" for cores in (4, 8, 12, 16, 32)),
            2: ("g2-standard-24",),
            4: ("g2-standard-48",),
            8: ("g2-standard-96",),
        },
    }
}


def around(cloud: str, accelerator: str, count: float) -> Sequence[str]:
    """() where any machine may be."""
    return APART.get(cloud, {}).get(accelerator.casefold(), {}).get(int(count), ())
