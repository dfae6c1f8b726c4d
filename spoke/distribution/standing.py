"""What the spoke was told of one distribution, and how an order changes it: pure, so that the ledger only stores it."""

from __future__ import annotations

from dataclasses import dataclass

from placement.objects import ObjectKey
from spoke.cluster.port import Object
from wire.distribution import OLDER, Distribute, DistributionAck, DistributionOrder, DistributionRef, Withdraw
from wire.translate import objects_from_json, objects_to_json

# What others need is made first, and removed last.
_FIRST = ("v1/Namespace", "apiextensions.k8s.io/v1/CustomResourceDefinition")


@dataclass(frozen=True, slots=True)
class Standing:
    ref: DistributionRef
    objects_json: bytes = b""  # b"": to be rid of it
    adopt: bool = False
    left: tuple[ObjectKey, ...] = ()  # of what it was before: to be removed, in this order

    @property
    def objects(self) -> tuple[Object, ...]:
        """In the order in which they are to be applied."""
        return objects_from_json(self.objects_json, "objects") if self.objects_json else ()

    @property
    def is_over(self) -> bool:
        """A tombstone: nothing of it is left."""
        return not self.objects_json and not self.left


def accept(before: Standing | None, order: DistributionOrder) -> tuple[Standing, DistributionAck]:
    """The same order again gets the same answer, and changes nothing."""
    accepted = DistributionAck(order.ref)
    if before is not None and order.ref.generation < before.ref.generation:
        message = f"{order.ref.name} is at generation {before.ref.generation} here"
        return before, DistributionAck(order.ref, OLDER, message, before.ref.generation)
    if before is not None and order.ref == before.ref:
        return before, accepted
    had = (*(before.left if before else ()), *(key_of(obj) for obj in reversed(before.objects if before else ())))
    match order.order:
        case Distribute(objects, adopt):
            ordered = sorted(objects, key=_rank)
            wanted = {key_of(obj) for obj in ordered}
            left = tuple(dict.fromkeys(key for key in had if key not in wanted))
            return Standing(order.ref, objects_to_json(ordered), adopt, left), accepted
        case Withdraw(keys):
            return Standing(order.ref, left=tuple(dict.fromkeys((*had, *reversed(keys))))), accepted


def key_of(obj: Object) -> ObjectKey:
    metadata = obj["metadata"]
    return ObjectKey(obj["apiVersion"], obj["kind"], metadata.get("namespace") or "", metadata["name"])


def _rank(obj: Object) -> int:
    type_ = f"{obj['apiVersion']}/{obj['kind']}"
    return _FIRST.index(type_) if type_ in _FIRST else len(_FIRST)
