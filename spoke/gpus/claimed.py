"""Whether a device that a pod has by claim (DRA) is unfit: its driver has put a NoExecute taint on it.

Kubernetes may evict the pod itself where its device taint controller runs; here the whole gang goes, and says why. A
device with NoSchedule only is given to nobody anew, and who has it keeps it: that is what the effect means. A device
that is no longer offered at all counts as well while its driver offers others of the same pool; a driver that offers
none is being started anew.
"""

from __future__ import annotations

from placement.dra.devices import DeviceToleration
from spoke.claim_facts import ClaimFacts
from spoke.device_book import DeviceBook
from spoke.pods import PodFacts


def trouble(book: DeviceBook, pod: PodFacts) -> str:
    if not book.is_read:
        return ""
    for name in pod.claims:
        claim = book.claim_seen(pod.namespace, name)
        for id_ in claim.devices if claim is not None and claim.allocated else ():
            assert claim is not None  # noqa: S101  it has devices
            driver, pool, device = id_
            offered = book.device(id_)
            if offered is None:
                if book.offers_others(driver, pool, pod.node):
                    return f"device {device} of {pod.node}: {driver} offers it no more"
                continue
            for taint in offered.taints:
                if taint.effect == "NoExecute" and not any(t.tolerates(taint) for t in _tolerations(claim)):
                    value = f"={taint.value}" if taint.value else ""
                    return f"device {device} of {pod.node}: taint {taint.key}{value}:NoExecute"
    return ""


def _tolerations(claim: ClaimFacts) -> list[DeviceToleration]:
    """Of any of its requests."""
    return [each for request in claim.spec.requests for one in request.alternatives for each in one.tolerations]
