"""What hub and spoke say to each other about objects that configure a cluster, and the translation of it.

As `translate`: what comes in is not trusted, each field at fault is named, and one bad item spoils no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from placement.distribution.states import ObjectState, State
from placement.objects import ObjectKey
from wire import link_pb2 as pb
from wire.checks import ProtocolError, each, enum_value, fits
from wire.orders import Object
from wire.translate import objects_from_json, objects_to_json

OLDER, UNKNOWN, INVALID = "older-generation", "unknown", "invalid"
MAX_OBJECTS = 1000  # of one report: a file holds a hundred, and what earlier ones held may still be going
MAX_REASON = 1500


@dataclass(frozen=True, slots=True, order=True)
class DistributionRef:
    """One order about one distribution to one cluster."""

    name: str
    generation: int


@dataclass(frozen=True, slots=True)
class Distribute:
    objects: tuple[Object, ...]
    adopt: bool = False


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Nothing of it is to be left. `keys`: what it may have, for a spoke that has lost its ledger."""

    keys: tuple[ObjectKey, ...] = ()


@dataclass(frozen=True, slots=True)
class DistributionOrder:
    ref: DistributionRef
    order: Distribute | Withdraw


@dataclass(frozen=True, slots=True)
class DistributionAck:
    ref: DistributionRef
    refused_code: str = ""  # "" accepted; OLDER, UNKNOWN, INVALID
    refused_message: str = ""
    known_generation: int = 0  # with OLDER


@dataclass(frozen=True, slots=True)
class DistributionReport:
    ref: DistributionRef
    objects: tuple[ObjectState, ...] = ()
    gone: bool = False


@fits("distribution_ref")
def ref_to_wire(ref: DistributionRef) -> pb.DistributionRef:
    return pb.DistributionRef(name=ref.name, generation=ref.generation)


def ref_from_wire(message: pb.DistributionRef) -> DistributionRef:
    if not message.name:
        raise ProtocolError("distribution.ref.name", "is missing")
    if not message.generation:
        raise ProtocolError("distribution.ref.generation", "is missing; generations start at 1")
    return DistributionRef(message.name, message.generation)


@fits("distribution_order")
def order_to_wire(order: DistributionOrder) -> pb.DistributionOrder:
    ref = ref_to_wire(order.ref)
    match order.order:
        case Distribute(objects, adopt):
            body = pb.Distribute(objects_json=objects_to_json(objects), adopt=adopt)
            return pb.DistributionOrder(ref=ref, distribute=body)
        case Withdraw(keys):
            return pb.DistributionOrder(ref=ref, withdraw=pb.Withdraw(objects=[_key_to_wire(key) for key in keys]))


def _key_to_wire(key: ObjectKey) -> pb.DistributedObject:
    return pb.DistributedObject(api_version=key.api_version, kind=key.kind, namespace=key.namespace, name=key.name)


def _key_from_wire(message: pb.DistributedObject) -> ObjectKey:
    return ObjectKey(message.api_version[:253], message.kind[:253], message.namespace[:253], message.name[:253])


def orders_from_wire(
    message: pb.DistributionOrders,
) -> tuple[list[DistributionOrder], list[tuple[pb.DistributionOrder, ProtocolError]]]:
    return each(message.orders, _order_from_wire)


def _order_from_wire(message: pb.DistributionOrder) -> DistributionOrder:
    ref = ref_from_wire(message.ref)
    match message.WhichOneof("order"):
        case "distribute":
            objects = objects_from_json(message.distribute.objects_json, "distribute.objects_json")
            for number, obj in enumerate(objects):
                _check_identity(obj, f"distribute.objects_json[{number}]")
            return DistributionOrder(ref, Distribute(objects, message.distribute.adopt))
        case "withdraw":
            return DistributionOrder(ref, Withdraw(tuple(map(_key_from_wire, message.withdraw.objects[:MAX_OBJECTS]))))
        case _:
            raise ProtocolError("distribution.order", "is neither distribute nor withdraw; is this agent too old?")


def refusals(bad: Sequence[tuple[pb.DistributionOrder, ProtocolError]]) -> list[DistributionAck]:
    """Of orders that could not be read; where not even what they are about could be, there is nobody to tell."""
    readable = [(one.ref, error) for one, error in bad if one.ref.name and one.ref.generation]
    return [DistributionAck(ref_from_wire(ref), INVALID, str(error)) for ref, error in readable]


def _check_identity(obj: Object, where: str) -> None:
    metadata = obj.get("metadata")
    named = isinstance(metadata, dict) and isinstance(metadata.get("name"), str) and metadata["name"]
    if not named or not all(isinstance(obj.get(key), str) and obj[key] for key in ("apiVersion", "kind")):
        raise ProtocolError(where, "has no apiVersion, kind or metadata.name")


def standing_from_wire(message: pb.DistributionOrders) -> frozenset[DistributionRef]:
    """Raises ProtocolError where one is bad: what is left out of it is removed."""
    return frozenset(ref_from_wire(one) for one in message.standing)


def acks_to_wire(acks: Sequence[DistributionAck]) -> list[pb.DistributionAck]:
    return [
        pb.DistributionAck(
            ref=ref_to_wire(ack.ref),
            refused_code=ack.refused_code,
            refused_message=ack.refused_message[:MAX_REASON],
            known_generation=ack.known_generation,
        )
        for ack in acks
    ]


def report_to_wire(report: DistributionReport) -> pb.DistributionReport:
    objects = []
    for one in report.objects[:MAX_OBJECTS]:
        said = _key_to_wire(one.key)
        said.state, said.reason = one.state, one.reason[:MAX_REASON]
        objects.append(said)
    return pb.DistributionReport(ref=ref_to_wire(report.ref), objects=objects, gone=report.gone)


def news_from_wire(
    message: pb.DistributionNews,
) -> tuple[list[DistributionAck], list[DistributionReport], list[ProtocolError]]:
    acks, bad_acks = each(message.acks, _ack_from_wire)
    reports, bad_reports = each(message.reports, _report_from_wire)
    return acks, reports, [error for _, error in (*bad_acks, *bad_reports)]


def _ack_from_wire(message: pb.DistributionAck) -> DistributionAck:
    reason = message.refused_message[:MAX_REASON]
    return DistributionAck(ref_from_wire(message.ref), message.refused_code, reason, message.known_generation)


def _report_from_wire(message: pb.DistributionReport) -> DistributionReport:
    ref = ref_from_wire(message.ref)
    if len(message.objects) > MAX_OBJECTS:
        raise ProtocolError("distribution_report.objects", f"{len(message.objects)} are more than {MAX_OBJECTS}")
    return DistributionReport(ref, tuple(_state_from_wire(one) for one in message.objects), message.gone)


def _state_from_wire(message: pb.DistributedObject) -> ObjectState:
    state = enum_value(State, message.state, "distributed_object.state")
    if state is State.OFFLINE:
        raise ProtocolError("distributed_object.state", "'Offline' is not a spoke's to say")
    return ObjectState(_key_from_wire(message), state, message.reason[:MAX_REASON])
