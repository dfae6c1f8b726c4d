"""Which devices a node has: from what it can allocate and from the labels that its vendor's discovery puts on it.

The resource name tells vendor and form (`placement.kinds.devices`); labels tell product and memory, and change the
form: a node whose NVIDIA cards are cut up "singly" offers MIG slices, one whose cards are time-sliced offers slices,
under the very name of whole cards.

`aliyun.com/gpu-mem` is counted in MiB or in GiB as its plugin was set up, and no field says which. The unit is inferred
from the size of one card: no card has 1,024 GiB, and none that matters has less than 1,024 MiB.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from placement.inventory import DeviceClass, DeviceForm
from placement.kinds import devices as names
from placement.resources import Resources

GPU_COUNT = "aliyun.com/gpu-count"
_MIB_PER_GIB = 1024
_SIZE = re.compile(r"(\d+)\s*([KMGT]?)i?B?", re.IGNORECASE)
_MIB = {"": 1, "K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024}

# (product, memory) labels by vendor, in the order in which they are believed.
_LABELS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "nvidia": (("nvidia.com/gpu.product",), ("nvidia.com/gpu.memory",)),
    "amd": (
        ("amd.com/gpu.product-name", "beta.amd.com/gpu.product-name", "amd.com/gpu.device-id"),
        ("amd.com/gpu.vram", "beta.amd.com/gpu.vram"),
    ),
    "intel": (
        ("gpu.intel.com/product", "gpu.intel.com/device-id.0300.present", "gpu.intel.com/family"),
        ("gpu.intel.com/memory.max",),
    ),
}


def classes(labels: Mapping[str, str], allocatable: Resources) -> tuple[DeviceClass, ...]:
    """One class per accelerator resource of which the node has any."""
    found = []
    for resource, amount in sorted(allocatable.items()):
        name = names.classify(resource) if "/" in resource and amount > 0 else None
        if name is not None:
            found.append(_device_class(name, labels, allocatable))
    return tuple(found)


def shared_cards(allocatable: Resources, labels: Mapping[str, str], resource: str) -> tuple[int, int]:
    """(cards, units of each) behind a shared-memory resource."""
    total = allocatable[resource]
    cards = (
        allocatable[GPU_COUNT]
        or _number(labels.get("aliyun.com/gpu-count"))
        or _number(labels.get("nvidia.com/gpu.count"))
    )
    cards = max(cards, 1)
    return cards, total // cards


def _device_class(name: names.DeviceName, labels: Mapping[str, str], allocatable: Resources) -> DeviceClass:
    product, memory_mib = _product(name, labels)
    if name.form is DeviceForm.SHARED_MEMORY:
        _, units = shared_cards(allocatable, labels, name.resource)
        unit_mib = 1 if units >= _MIB_PER_GIB else _MIB_PER_GIB
        return DeviceClass(name.resource, name.vendor, product, memory_mib or units * unit_mib, name.form, unit_mib)
    return DeviceClass(name.resource, name.vendor, product, memory_mib, _form(name, labels, product))


def _form(name: names.DeviceName, labels: Mapping[str, str], product: str) -> DeviceForm:
    if name.vendor != "nvidia" or name.form is not DeviceForm.WHOLE:
        return name.form
    if _number(labels.get("nvidia.com/gpu.replicas")) > 1 or product.endswith("-SHARED"):
        return DeviceForm.TIME_SLICED
    if labels.get("nvidia.com/mig.strategy") == "single" and "-MIG-" in product:
        return DeviceForm.MIG
    return DeviceForm.VGPU if labels.get("nvidia.com/vgpu.present") == "true" else DeviceForm.WHOLE


def _product(name: names.DeviceName, labels: Mapping[str, str]) -> tuple[str, int]:
    # A MIG profile has labels of its own: nvidia.com/mig-1g.10gb.product.
    own = labels.get(f"{name.resource}.product"), labels.get(f"{name.resource}.memory")
    products, memories = _LABELS.get(name.vendor, ((), ()))
    product = own[0] or next((labels[key] for key in products if labels.get(key)), "")
    memory = own[1] or next((labels[key] for key in memories if labels.get(key)), "")
    return product, _mib(name.vendor, memory)


def _mib(vendor: str, text: str) -> int:
    if vendor == "intel" and text.isdigit():  # in bytes
        return int(text) >> 20
    match = _SIZE.fullmatch(text.strip()) if text else None
    return int(int(match[1]) * _MIB[match[2].upper()]) if match else 0


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
