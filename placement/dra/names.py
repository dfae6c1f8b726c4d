"""Under which name devices of a DeviceClass are counted among a node's resources.

`dra/gpu.nvidia.com` counts the devices of the class `gpu.nvidia.com`. No extended resource is called so: their domains
have a dot in them or end in `.io`, and the reader of manifests refuses `dra/…` in `resources`.
"""

from __future__ import annotations

from placement.resources import Resources

PREFIX = "dra/"


def resource_of(device_class: str) -> str:
    return PREFIX + device_class


def is_counted_by_claim(resource: str) -> bool:
    return resource.startswith(PREFIX)


def without_claimed(amounts: Resources) -> Resources:
    """What is asked or offered beside devices that are had by claim."""
    if not any(is_counted_by_claim(name) for name in amounts):
        return amounts
    return Resources({name: amount for name, amount in amounts.items() if not is_counted_by_claim(name)})
