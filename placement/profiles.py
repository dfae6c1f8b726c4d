"""What packing tells nodes apart by: the devices they have, and how many thousandths of a card a unit of each is.

A MIG slice is as many sevenths of its card as its profile says; a time slice is a card by the number of its replicas.
"""

from __future__ import annotations

import re

from placement.fragmentation import Profile
from placement.inventory import DeviceClass, DeviceForm, Node
from placement.offcuts import WHOLE
from placement.survey import resource_of

_REPLICAS = "nvidia.com/gpu.replicas"
_MIG = re.compile(r"mig-(\d)g\.", re.IGNORECASE)
_MIG_SLICES = 7


def profile_of(node: Node) -> Profile:
    # Devices of a class are chosen by `placement.dra`, and are no parts of cards that this module could weigh.
    counted = [d for d in node.devices if d.form not in (DeviceForm.SHARED_MEMORY, DeviceForm.DRA)]
    share = resource_of(node.devices, DeviceForm.SHARED_MEMORY)
    return Profile(
        units=tuple((device.resource, _milli(device, node)) for device in counted),
        whole=resource_of(node.devices, DeviceForm.WHOLE) or resource_of(node.devices, DeviceForm.VGPU),
        share=share,
        card_units=node.capacity[share] // max(len(node.gpus), 1) if share else 0,
        products=frozenset(device.product for device in node.devices if device.product),
    )


def _milli(device: DeviceClass, node: Node) -> int:
    if device.form is DeviceForm.MIG:
        slices = _MIG.search(device.resource) or _MIG.search(device.product)
        return WHOLE * int(slices[1]) // _MIG_SLICES if slices else WHOLE // _MIG_SLICES
    if device.form is DeviceForm.TIME_SLICED:
        replicas = node.labels.get(_REPLICAS, "")
        return WHOLE // max(int(replicas), 1) if replicas.isascii() and replicas.isdigit() else WHOLE
    return WHOLE


def cards_of(profile: Profile, node: Node) -> float:
    """How many thousandths of cards the node has in all."""
    if profile.share and not profile.whole:
        return float(len(node.gpus) * WHOLE)
    return float(sum(node.capacity[name] * milli for name, milli in profile.units))
