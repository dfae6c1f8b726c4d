"""Where the pods of a role, and slices of them, are wanted together: Muster's own words, Kueue's and Volcano's.

Muster's stand on the role's pod template: `muster.dev/topology-required` or `-preferred`, `muster.dev/slice-size` with
`muster.dev/slice-level`. Kueue's podset annotations stand there too. Volcano's `networkTopology` is the Job's, its
`partitionPolicy` a task's; both count tiers, which each cluster's own levels are asked for. An own word goes before
another's; what cannot be kept is an error where it was required, and else a warning.

What the only role asks for, the gang does. Roles that Kueue's `podset-group-name` joins are kept together by keeping
the whole gang together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from placement.inventory import TIER
from placement.kinds import fields, paths
from placement.kinds.fields import Object, join
from placement.kinds.hints import PREFIX, check_level
from placement.kinds.kind import Groups, KindFile
from placement.kinds.problems import Findings
from placement.kinds.roles import RoleEntry
from placement.workload import SliceRequest, TopologyMode, TopologyRequest

_KUEUE = "kueue.x-k8s.io/podset-"
_LAYERS = "slice-required-topology-constraints"


@dataclass(frozen=True, slots=True)
class Wishes:
    topology: TopologyRequest | None = None
    slices: SliceRequest | None = None
    group: str = ""
    kueue: TopologyRequest | None = None  # where it is Kueue's


@dataclass(frozen=True, slots=True)
class Localities:
    gang: TopologyRequest | None
    roles: tuple[Wishes, ...]  # as the roles are
    group: str = ""  # the level in one domain of which each group is to lie, of an object that is several


def of_gang(found: Findings, rules: KindFile, obj: Object) -> TopologyRequest | None:
    """What the kind's own field says of the whole: Volcano's `spec.networkTopology`."""
    if rules.network_topology is None:
        return None
    return _network_topology(
        found, paths.reach(found, obj, rules.network_topology), paths.shown(rules.network_topology)
    )


def of_roles(
    found: Findings,
    rules: KindFile,
    obj: Object,
    roles: Sequence[RoleEntry],
    gang: TopologyRequest | None,
    groups: int = 1,
) -> Localities:
    _warn_of_misplaced(found, obj, roles)
    wishes = tuple([_of_role(found, rules, role, own=role.template is not obj) for role in roles])
    if rules.groups is not None and (level := _level_of_groups(found, rules.groups, obj, wishes)):
        if groups == 1:
            return Localities(gang or TopologyRequest(level, TopologyMode.REQUIRED), tuple(map(_elsewhere, wishes)))
        parts = [SliceRequest(role.replicas // groups, level) if role.replicas > groups else None for role in roles]
        return Localities(
            gang,
            tuple(replace(wish, topology=None, slices=part) for wish, part in zip(wishes, parts, strict=True)),
            level,
        )
    if len(wishes) == 1:
        [only] = wishes
        return Localities(gang or only.topology, (replace(only, topology=None if gang is None else only.topology),))
    return _grouped(found, roles, wishes, gang)


def _elsewhere(wish: Wishes) -> Wishes:
    """What the gang as a whole asks for is not asked of the role."""
    return replace(wish, topology=None)


def _level_of_groups(found: Findings, rule: Groups, obj: Object, wishes: Sequence[Wishes]) -> str:
    """The kind's own field, or Kueue's required topology, which is a group's there; "" where neither says one.

    Slices that are asked for in words of their own go before both.
    """
    if any(wish.slices for wish in wishes):
        return ""
    given = paths.find(obj, rule.domain) if rule.domain else None
    if isinstance(given, str) and given:
        check_level(found, given, paths.shown(rule.domain))
        return given
    required = {wish.kueue.level for wish in wishes if wish.kueue and wish.kueue.mode is TopologyMode.REQUIRED}
    return required.pop() if len(required) == 1 and all(wish.kueue for wish in wishes) else ""


_NO_WISHES = Wishes()


def _of_role(found: Findings, rules: KindFile, role: RoleEntry, *, own: bool) -> Wishes:
    if role.rules.partitions is None and not _says_something(role):
        return _NO_WISHES
    kueue = _Kueue(found, role)
    mine = _Own(found, role) if own else None
    topology = mine.topology() if mine else None
    theirs = kueue.topology() if topology is None else None
    slices = (mine.slices() if mine else None) or kueue.slices() or _partition(found, rules, role)
    return Wishes(topology or theirs, slices, kueue.group(), theirs)


# ---- Muster's own ----


class _Own:
    def __init__(self, found: Findings, role: RoleEntry) -> None:
        self._found = found
        self._role = role
        self._given = _texts(role, PREFIX, ("labels", "annotations"))

    def topology(self) -> TopologyRequest | None:
        required, preferred = self._given.get("topology-required"), self._given.get("topology-preferred")
        if required and preferred:
            message = "topology-required and topology-preferred exclude each other"
            self._found.error(preferred[1], message, "keep one of them")
        return _request(self._found, required, preferred)

    def slices(self) -> SliceRequest | None:
        size, level = self._given.get("slice-size"), self._given.get("slice-level")
        return _sliced(self._found, self._role, size, level, f"{PREFIX}slice-size", f"{PREFIX}slice-level")


# ---- Kueue's ----


class _Kueue:
    def __init__(self, found: Findings, role: RoleEntry) -> None:
        self._found = found
        self._role = role
        self._given = _texts(role, _KUEUE, ("annotations",))

    def topology(self) -> TopologyRequest | None:
        names = [n for n in ("required-topology", "preferred-topology", "unconstrained-topology") if n in self._given]
        if len(names) > 1:
            message = f"{_KUEUE}{names[0]} and {_KUEUE}{names[1]} exclude each other"
            self._found.error(self._given[names[1]][1], message, "keep one of them")
        if (free := self._given.get("unconstrained-topology")) and free[0] != "true":
            self._found.error(free[1], f'"{free[0][:60]}" is wrong', 'write "true", or remove it')
        return _request(self._found, self._given.get("required-topology"), self._given.get("preferred-topology"))

    def slices(self) -> SliceRequest | None:
        size, level = self._given.get("slice-size"), self._given.get("slice-required-topology")
        if layers := self._given.get(_LAYERS):
            if size or level:
                message = f"{_KUEUE}{_LAYERS} excludes {_KUEUE}slice-required-topology and {_KUEUE}slice-size"
                self._found.error(layers[1], message, "keep one of them")
                return None
            return self._only_layer(*layers)
        return _sliced(self._found, self._role, size, level, f"{_KUEUE}slice-size", f"{_KUEUE}slice-required-topology")

    def group(self) -> str:
        return self._given.get("group-name", ("", ""))[0]

    def _only_layer(self, text: str, path: str) -> SliceRequest | None:
        try:
            layers = orjson.loads(text)
        except orjson.JSONDecodeError:
            layers = None
        if not isinstance(layers, list) or not layers or not all(isinstance(layer, dict) for layer in layers):
            mend = 'write a JSON list: [{"topology": "kubernetes.io/hostname", "size": 4}]'
            self._found.error(path, f'"{text[:60]}" is wrong', mend)
            return None
        if len(layers) > 1:
            mend = "keep one layer, and ask for the outer one as the gang's level"
            self._found.error(path, f"slices of slices are not kept: it has {len(layers)} layers", mend)
            return None
        size, level = layers[0].get("size"), layers[0].get("topology")
        return _sliced(
            self._found,
            self._role,
            None if size is None else (str(size), path),
            (level, path) if isinstance(level, str) else None,
            '"size"',
            '"topology"',
        )


def _grouped(
    found: Findings, roles: Sequence[RoleEntry], wishes: tuple[Wishes, ...], gang: TopologyRequest | None
) -> Localities:
    """Roles of one `podset-group-name` share one domain."""
    for name in dict.fromkeys(wish.group for wish in wishes if wish.group):
        members = [index for index, wish in enumerate(wishes) if wish.group == name]
        if len(members) < 2:
            continue
        path = _annotation(roles[members[-1]], f"{_KUEUE}group-name")
        asked = {wishes[index].topology for index in members}
        if len(asked) > 1:
            names = ", ".join(roles[index].name for index in members)
            message = f"the roles of group {name[:60]} ({names}) ask for different topologies"
            found.error(path, message, "give all of them the same level")
            continue
        request = asked.pop()
        if request is None:
            continue
        if gang not in (None, request):
            found.warn(f"{path}: group {name[:60]} is not kept, since the workload asks for a topology itself")
            continue
        if len(members) < len(roles):
            found.warn(
                f"{path}: Muster keeps whole gangs together, not some roles of one: "
                f"all roles are kept in one {request.level}"
            )
        gang = request
        wishes = tuple(replace(wish, topology=None) if index in members else wish for index, wish in enumerate(wishes))
    return Localities(gang, wishes)


def _warn_of_misplaced(found: Findings, obj: Object, roles: Sequence[RoleEntry]) -> None:
    if any(role.template is obj for role in roles):
        return
    metadata = obj.get("metadata")
    given = metadata.get("annotations") if isinstance(metadata, dict) else None
    for key in given if isinstance(given, dict) else ():
        if isinstance(key, str) and key.startswith(_KUEUE):
            found.warn(f"{key} is read from pod templates, not from the workload's metadata, and does nothing here")


# ---- Volcano's ----


def _network_topology(found: Findings, given: Any, path: str) -> TopologyRequest | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        fields.wrong_type(found, path, "a mapping", given)
        return None
    mode = fields.text(found, given, path, "mode", "hard")
    if mode not in ("hard", "soft"):
        found.error(join(path, "mode"), f'"{mode[:60]}" is wrong', "write hard or soft")
        return None
    level = _tier(found, given, path)
    if not level:
        if mode == "hard":
            found.warn(f"{path} names no tier: nothing is required by it")
        return None
    return TopologyRequest(level, TopologyMode.REQUIRED if mode == "hard" else TopologyMode.PREFERRED)


def _tier(found: Findings, given: Mapping[str, Any], path: str) -> str:
    name = fields.text(found, given, path, "highestTierName")
    at = join(path, "highestTierAllowed")
    tier = fields.count(found, given.get("highestTierAllowed"), at)
    if name and tier is not None:
        found.error(at, "highestTierAllowed and highestTierName exclude each other", "keep one of them")
    if name:
        found.warn(f"{join(path, 'highestTierName')}: {name[:60]} is taken for the level of that name")
        return name
    if tier == 0:
        found.error(at, "tiers count from 1", "give 1 or more")
    if not tier:
        return ""
    found.warn(
        f"{at}: tier {tier} is taken for a cluster's level number {tier} above the node; "
        f"{PREFIX}topology-required names a level to be sure"
    )
    return f"{TIER}{tier}"


def _partition(found: Findings, rules: KindFile, role: RoleEntry) -> SliceRequest | None:
    """A task's `partitionPolicy`: partitions of so many pods each, each within a tier."""
    if role.rules.partitions is None:
        return None
    policy = paths.reach(found, role.entry, role.rules.partitions, role.path)
    at = paths.shown(role.rules.partitions, role.path)
    if policy is None:
        return None
    if not isinstance(policy, dict):
        fields.wrong_type(found, at, "a mapping", policy)
        return None
    total = fields.count(found, policy.get("totalPartitions"), join(at, "totalPartitions"))
    size = fields.count(found, policy.get("partitionSize"), join(at, "partitionSize"))
    least = fields.count(found, policy.get("minPartitions"), join(at, "minPartitions"))
    if not total or not size or total * size != role.replicas:
        message = f"{total or 0} partitions of {size or 0} pods are not the {role.replicas} replicas"
        found.error(at, message, "make totalPartitions × partitionSize equal to replicas")
        return None
    if least and least < total:
        found.warn(f"{join(at, 'minPartitions')} is not kept: how many pods start together is minAvailable's to say")
    request = _network_topology(found, policy.get("networkTopology"), join(at, "networkTopology"))
    if request is None:
        return None
    if request.mode is TopologyMode.PREFERRED:
        found.warn(f"{join(at, 'networkTopology')} is soft: a partition's pods are kept together only where it is hard")
        return None
    return SliceRequest(size, request.level)


# ---- for all of them ----

_Text = tuple[str, str]  # (value, path)


def _texts(role: RoleEntry, prefix: str, parts: Sequence[str]) -> dict[str, _Text]:
    """What the pod template says under the prefix. A value that is no string has been said already."""
    metadata = role.template.get("metadata")
    answer: dict[str, _Text] = {}
    for part in parts:
        given = metadata.get(part) if isinstance(metadata, dict) else None
        for key, value in given.items() if isinstance(given, dict) else ():
            if isinstance(key, str) and key.startswith(prefix) and isinstance(value, str):
                at = join(join(join(role.template_path, "metadata"), part), key)
                answer[key.removeprefix(prefix)] = value.strip(), at
    return answer


def _says_something(role: RoleEntry) -> bool:
    """Whether its template has words of Muster's or Kueue's: most have none."""
    metadata = role.template.get("metadata")
    if not isinstance(metadata, dict):
        return False
    given = [holder for part in ("labels", "annotations") if isinstance(holder := metadata.get(part), dict)]
    return any(isinstance(key, str) and key.startswith((PREFIX, _KUEUE)) for holder in given for key in holder)


def _annotation(role: RoleEntry, key: str) -> str:
    return join(join(join(role.template_path, "metadata"), "annotations"), key)


def _request(found: Findings, required: _Text | None, preferred: _Text | None) -> TopologyRequest | None:
    given = required or preferred
    if given is None:
        return None
    check_level(found, *given)
    return TopologyRequest(given[0], TopologyMode.REQUIRED if required else TopologyMode.PREFERRED)


def _sliced(
    found: Findings, role: RoleEntry, size: _Text | None, level: _Text | None, size_key: str, level_key: str
) -> SliceRequest | None:
    if size is None and level is None:
        return None
    if size is None or level is None:
        there, path = (size_key, size[1]) if size else (level_key, level[1] if level else "")
        missing = level_key if size else size_key
        found.error(path, f"{there} is given without {missing}", f"add {missing}")
        return None
    check_level(found, *level)
    text, path = size
    pods = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not pods:
        found.error(path, f'"{text[:60]}" is wrong', 'give a whole number of 1 or more, quoted: "4"')
        return None
    if role.replicas and role.replicas % pods:
        below, above = role.replicas // pods * pods, -(-role.replicas // pods) * pods
        message = f"{role.replicas} pods of {role.name} are not slices of {pods}"
        found.error(path, message, f"{f'{below} or ' if below else ''}{above} pods, or another size")
        return None
    return SliceRequest(pods, level[0])
