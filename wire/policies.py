"""A cluster's policy between message and value.

What comes from a spoke is held to the rules of a policy file, so that no pattern of it can keep the hub busy. A control
that this side does not know is left out: nothing here asks for it.
"""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from placement.safety.policy import Policy
from placement.safety.words import CONTROLS
from wire import link_pb2 as pb
from wire.checks import ProtocolError, fits

MAX_ENTRIES = 1000
_POLICY = TypeAdapter(Policy)


@fits("policy")
def to_wire(policy: Policy) -> pb.Policy:
    return pb.Policy(
        level=policy.level.value,
        namespaces=policy.namespaces,
        kinds=policy.kinds,
        exemptions=[
            pb.Exemption(
                namespaces=one.namespaces,
                controls=one.controls,
                capabilities=one.capabilities,
                host_paths=one.host_paths,
                references=one.references,
            )
            for one in policy.exemptions
        ],
    )


def from_wire(message: pb.Policy, where: str) -> Policy:
    entries = len(message.namespaces) + len(message.kinds) + sum(map(_size, message.exemptions))
    if entries > MAX_ENTRIES:
        raise ProtocolError(where, f"has {entries} entries, at most {MAX_ENTRIES} are allowed")
    said = {
        "level": message.level,
        "namespaces": tuple(message.namespaces),
        "kinds": tuple(message.kinds),
        "exemptions": tuple(_exemption(one) for one in message.exemptions),
    }
    try:
        return _POLICY.validate_python(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ProtocolError(f"{where}.{'.'.join(map(str, first['loc']))}", first["msg"]) from error


def _exemption(message: pb.Exemption) -> dict[str, object]:
    return {
        "namespaces": tuple(message.namespaces),
        "controls": tuple(name for name in message.controls if name in CONTROLS),
        "capabilities": tuple(message.capabilities),
        "host_paths": tuple(message.host_paths),
        "references": tuple(message.references),
    }


def _size(one: pb.Exemption) -> int:
    lists = (one.namespaces, one.controls, one.capabilities, one.host_paths, one.references)
    return 1 + sum(map(len, lists))
