"""Playing a kind's controller where there is none: the pods it would make, and the status it would write.

For the host cluster, and for tests of kinds whose operator is not to be had. Everything a controller does differently
from another is in the kind's file (`emulation` says what may stand there); this module fills it in. The status has the
kind's native form, so that the same status rules (`observe`) work on it as on a real cluster.

Not promised: Services, init containers and mounts that operators add; restarting a container in place is the kubelet's
part (`spec.restartPolicy` of the pods says when), and counting those restarts as `restartCount` lets retries end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from placement.kinds import fields, paths, roles, slots
from placement.kinds.conditions import spec_holds
from placement.kinds.emulation import VARIABLE, Emulation, EnvRule, PodLabel, variables_of
from placement.kinds.fields import Object
from placement.kinds.kind import Kind
from placement.kinds.observe import container_words
from placement.kinds.roles import RoleEntry, Shape
from placement.kinds.slots import Present, Slot

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own for generated names
_RESTARTED_BY_OPERATOR = "ExitCode"  # PyTorchJob: the operator decides by the exit code; the kubelet does nothing
_Variables = Mapping[str, str]


def pods(
    kind: Kind, obj: Object, existing: Sequence[Object] = (), *, address: str = "", port: int | None = None
) -> tuple[dict[str, Any], ...]:
    """The pods that the controller of `obj` would create now, beside `existing` (the pods it made before).

    Call it again whenever a pod changed: Jobs go on to their next indices and replace what failed, an OrderedReady
    StatefulSet goes on one by one. Nothing more comes once the whole has succeeded or failed, or while it is
    suspended. Names are stable: the same call answers the same pods. () for a kind that is its own pod.

    `address`: where every pod of the object is reached, in place of its DNS name ("127.0.0.1" on one machine).
    `port`: the rendezvous port where the manifest names none, for machines on which many jobs share the ports.
    """
    rules = kind.rules.emulate
    if rules is None or spec_holds(kind.rules.suspended, obj):
        return ()
    shape = roles.shape(kind, obj)
    wanted = slots.wanted(rules, obj, shape, slots.present(existing))
    if not wanted:
        return ()
    cast = _cast(rules, obj, shape, address, port)
    hosts = cast.hosts()
    return tuple(cast.pod(kind, slot, hosts) for slot in wanted)


def surplus(kind: Kind, obj: Object, existing: Sequence[Object]) -> tuple[Object, ...]:
    """Of the pods that it made before, those that `obj` does not ask for any more. Jobs that count completions end
    their pods themselves."""
    rules = kind.rules.emulate
    if rules is None or rules.completions is not None:
        return ()
    asked = {(slot.role, slot.index) for slot in slots.all_slots(rules, obj, roles.shape(kind, obj))}
    there = slots.present(existing)
    return tuple(pod.pod for pod in there if (pod.slot.role, pod.slot.index) not in asked)


def status(kind: Kind, obj: Object, existing: Sequence[Object]) -> dict[str, Any]:
    """The status that the controller would write, with `existing` the pods it made, in whatever phase they are.

    For a kind that is its own pod: the status it has.
    """
    rules = kind.rules.emulate
    if rules is None:
        return dict(obj.get("status") or {})
    shape = roles.shape(kind, obj)
    there = slots.present(existing)
    total = _counters(there)
    gang = max(shape.awaited, 1)
    going = "running" if total["ready"] + total["succeeded"] >= gang else "pending"
    state = slots.outcome(rules, obj, shape, there) or going
    words: dict[str, Any] = {
        **total,
        "gang": shape.awaited,
        "success": "SuccessPolicy" if slots.is_policy_met(rules, obj, shape, there) else "CompletionsReached",
        "generation": paths.find(obj, ("metadata", "generation")) or 1,
        **_failure(there),
    }
    by_role = {
        role.name: {**words, **_counters([pod for pod in there if pod.slot.role == role.name])} for role in shape.roles
    }
    trees = rules.status
    by_state = {
        "pending": trees.pending,
        "running": trees.running,
        "succeeded": trees.succeeded,
        "failed": trees.failed,
    }
    filled: dict[str, Any] = _filled({**trees.always, **by_state[state]}, words, by_role)
    return filled


def role_labels(kind: Kind, obj: Object, role: RoleEntry) -> Mapping[str, str]:
    """The labels that the controller puts on the role's pods besides their template's; index 0 stands for all."""
    rules = kind.rules.emulate
    if rules is None:
        return {}
    cast = _cast(rules, obj, Shape((role,), 0, 0), "", None)
    return cast.marks(rules.labels, cast.variables(Slot(role.name, slots.number(obj, rules.first_index) or 0)))


@dataclass(frozen=True, slots=True)
class _Cast:
    """One object and everything its pods have in common."""

    rules: Emulation
    obj: Object
    shape: Shape
    address: str
    common: Mapping[str, str]  # variables that are the same for all

    def pod(self, kind: Kind, slot: Slot, hosts: _Hosts) -> dict[str, Any]:
        role = next(role for role in self.shape.roles if role.name == slot.role)
        own = self.variables(slot)
        own = {**own, **hosts.first, "first_host": hosts.ranked[0] if hosts.ranked else own["host"]}
        own["rank"] = str(hosts.ranks.get((slot.role, slot.index), slot.index))
        if len(hosts.ranked) > 1:
            own["peers"] = hosts.peers(own["port"], self.rules.no_peers)
        labels = {**_dict(role.template, "metadata", "labels"), **self.marks(self.rules.labels, own)}
        annotations = {**_dict(role.template, "metadata", "annotations"), **self.marks(self.rules.annotations, own)}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": own["pod"],
                "namespace": own["namespace"],
                "labels": labels,
                "annotations": {**annotations, slots.ANNOTATION: slot.written()},
                "ownerReferences": [_owner(kind, self.obj)],
            },
            "spec": self._spec(role, own, hosts),
        }

    def variables(self, slot: Slot) -> dict[str, str]:
        index = str(slot.index)
        known = {**self.common, "role": slot.role, "role_lower": slot.role.lower(), "index": index, "rank": index}
        known["hash"] = _hash(known["uid"] or f"{known['namespace']}/{known['name']}", slot.written())
        known["pod"] = _text(self.rules.pod_name, known) or known["name"]
        known["host"] = self.address or _text(self.rules.host, known) or known["pod"]
        return known

    def marks(self, rules: Sequence[PodLabel], own: _Variables) -> dict[str, str]:
        return {
            rule.key: text
            for rule in rules
            if (rule.when is None or spec_holds(rule.when, self.obj))
            and not (rule.first_only and own["rank"] != "0")
            and (text := _text(rule.value, own)) is not None
        }

    def hosts(self) -> _Hosts:
        every = slots.all_slots(self.rules, self.obj, self.shape)
        ranked = tuple(self.variables(slot)["host"] for slot in every)
        by_role: dict[str, list[str]] = {role.name: [] for role in self.shape.roles}
        for slot, host in zip(every, ranked, strict=True):
            by_role[slot.role].append(host)
        first = {f"first_host.{role}": hosts[0] for role, hosts in by_role.items() if hosts}
        first |= {f"hosts.{role}": ",".join(hosts) for role, hosts in by_role.items() if hosts}
        return _Hosts(ranked, by_role, first, {(slot.role, slot.index): rank for rank, slot in enumerate(every)})

    def _spec(self, role: RoleEntry, own: _Variables, hosts: _Hosts) -> dict[str, Any]:
        spec = dict(_dict(role.template, "spec"))
        for key, text in (("hostname", self.rules.hostname), ("subdomain", self.rules.subdomain)):
            value = _text(text, own)
            if value and not spec.get(key):
                spec[key] = value
        if (policy := self.rules.restart_policy) is not None:
            given = paths.find(role.entry, policy.path) or policy.default
            spec["restartPolicy"] = "Never" if given == _RESTARTED_BY_OPERATOR else given
        for part, init in (("containers", False), ("initContainers", True)):
            if isinstance(spec.get(part), list):
                spec[part] = [self._container(each, own, hosts, init) for each in fields.dicts(spec[part])]
        return spec

    def _container(self, container: Object, own: _Variables, hosts: _Hosts, init: bool) -> dict[str, Any]:
        env = list(fields.dicts(container.get("env")))
        there = {each.get("name") for each in env}
        for rule in self.rules.env:
            if (init and not rule.init) or (rule.when is not None and not spec_holds(rule.when, self.obj)):
                continue
            for name, value in self._values(rule, own, hosts):
                if name not in there:
                    there.add(name)
                    env.append({"name": name, "value": value})
        return {**container, "env": env}

    def _values(self, rule: EnvRule, own: _Variables, hosts: _Hosts) -> Iterator[tuple[str, str]]:
        if rule.path is not None:
            value = paths.find(self.obj, rule.path)
            if isinstance(value, str | int):
                yield rule.name, str(value)
            return
        scopes: list[_Variables] = [{**own, **each} for each in hosts.each_role()] if rule.each_role else [own]
        for scope in scopes:
            name, text = _text(rule.name, scope), _text(rule.value, scope)
            if name is not None and text is not None:
                yield name, _multiplied(text, paths.find(self.obj, rule.times)) if rule.times is not None else text


@dataclass(frozen=True, slots=True)
class _Hosts:
    ranked: tuple[str, ...]
    by_role: Mapping[str, Sequence[str]]
    first: Mapping[str, str]  # "first_host.Master" -> its host; "hosts.Worker" -> all of them, with commas
    ranks: Mapping[tuple[str, int], int]

    def peers(self, port: str, left_out: Sequence[str]) -> str:
        shown = {role.lower(): hosts for role, hosts in self.by_role.items() if hosts and role not in left_out}
        every = {role: [f"{host}:{port}" for host in hosts] for role, hosts in shown.items()}
        return json.dumps(every, separators=(",", ":"))

    def each_role(self) -> Iterator[_Variables]:
        for role, hosts in self.by_role.items():
            yield {
                "each_role": role,
                "each_env": role.replace("-", "_").upper(),
                "each_hosts": ",".join(hosts),
                "each_pods": str(len(hosts)),
            }


def _cast(rules: Emulation, obj: Object, shape: Shape, address: str, port: int | None) -> _Cast:
    common = {
        "name": str(paths.find(obj, ("metadata", "name")) or ""),
        "namespace": str(paths.find(obj, ("metadata", "namespace")) or "default"),
        "uid": str(paths.find(obj, ("metadata", "uid")) or ""),
        "pods": str(shape.pods),
        "port": str(_port(rules, obj, shape, port)),
    }
    for name, variable in (rules.variables or {}).items():
        values = (paths.find(obj, path) for path in variable.paths)
        value = next((value for value in values if isinstance(value, str | int)), variable.default)
        if value is not None:
            common[name] = str(value)
    return _Cast(rules, obj, shape, address, common)


def _port(rules: Emulation, obj: Object, shape: Shape, fixed: int | None) -> int:
    """The first pod's container port of the kind's name, else `fixed`, else the kind's default."""
    if rules.port is None:
        return 0
    first = next(iter(slots.all_slots(rules, obj, shape)), None)
    for role in shape.roles:
        if first is not None and role.name == first.role:
            for container in fields.dicts(paths.find(role.template, ("spec", "containers"))):
                for each in fields.dicts(container.get("ports")):
                    if each.get("name") == rules.port.name and isinstance(each.get("containerPort"), int):
                        return int(each["containerPort"])
    return rules.port.default if fixed is None else fixed


def _dict(holder: Any, *path: str) -> Mapping[str, Any]:
    value = paths.find(holder, path)
    return value if isinstance(value, dict) else {}


def _text(template: str, known: _Variables) -> str | None:
    """The template filled in; None where the object does not give one of its variables."""
    if any(name not in known for name in variables_of(template)):
        return None
    return VARIABLE.sub(lambda match: known[match[1]], template)


def _multiplied(text: str, times: Any) -> str:
    """Where the factor is no whole number ("auto"), it counts as 1, as operators have it."""
    factor = str(times)
    return str(int(text) * int(factor)) if factor.isascii() and factor.isdigit() else text


def _hash(whose: str, slot: str) -> str:
    digest = sha256(f"{whose}/{slot}".encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:5])


def _owner(kind: Kind, obj: Object) -> dict[str, Any]:
    metadata = _dict(obj, "metadata")
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": metadata.get("name", ""),
        "uid": metadata.get("uid", ""),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _counters(there: Sequence[Present]) -> dict[str, int]:
    return {
        "pods": len(there),
        "pending": sum(pod.phase == "Pending" for pod in there),
        "running": sum(pod.phase == "Running" for pod in there),
        "ready": sum(pod.ready for pod in there),
        "active": sum(pod.active for pod in there),
        "succeeded": sum(pod.phase == "Succeeded" for pod in there),
        "failed": sum(pod.phase == "Failed" for pod in there),
    }


def _failure(there: Sequence[Present]) -> dict[str, str]:
    for pod in there:
        said = container_words(paths.find(pod.pod, ("status", "containerStatuses")))
        if pod.phase == "Failed" or (pod.restarts and said):
            reason = paths.find(pod.pod, ("status", "reason")) or "PodFailed"
            words = said or paths.find(pod.pod, ("status", "message")) or "failed"
            return {"reason": str(reason), "message": f"pod {paths.find(pod.pod, ('metadata', 'name'))}: {words}"}
    return {"reason": "", "message": ""}


def _filled(tree: Any, counters: Mapping[str, Any], by_role: Mapping[str, Mapping[str, Any]]) -> Any:
    if isinstance(tree, dict):
        if "$each_role" in tree:
            return {role: _filled(tree["$each_role"], own, {}) for role, own in by_role.items()}
        return {key: _filled(value, counters, by_role) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_filled(value, counters, by_role) for value in tree]
    if isinstance(tree, str) and tree.startswith("$"):
        return counters[tree[1:]]
    return tree
