"""What the hints `muster.dev/divide…` say, and whether an object of that kind can be divided over clusters at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from placement.kinds.conditions import spec_holds
from placement.kinds.fields import Object
from placement.kinds.kind import KindFile
from placement.kinds.problems import Findings
from placement.kinds.roles import RoleEntry
from placement.workload import Divide, DivideBy

DIVIDE = "muster.dev/divide"
WEIGHTS = f"{DIVIDE}-weights"
MIN_PER_REGION = f"{DIVIDE}-min-per-region"
MAX_CLUSTERS = f"{DIVIDE}-max-clusters"
_MOST = 10_000
_MOST_PER_REGION = 100
_Given = Mapping[str, tuple[str, str]]  # hint -> (value, path)


def wish(found: Findings, rules: KindFile, obj: Object, roles: Sequence[RoleEntry], hints: _Given) -> Divide | None:
    """None where all of it is to run in one cluster, or where a problem was found."""
    details = [name for name in (WEIGHTS, MIN_PER_REGION, MAX_CLUSTERS) if name in hints]
    if DIVIDE not in hints:
        for name in details:
            found.error(hints[name][1], f"{name} says how and nothing says that", f"add {DIVIDE}: {DivideBy.WEIGHTS}")
        return None
    value, path = hints[DIVIDE]
    before = len(found.problems)
    if value.strip() not in list(DivideBy):
        found.error(path, f'"{value[:60]}" is wrong', f"write one of {', '.join(DivideBy)}")
        return None
    by = DivideBy(value.strip())
    if why_not := _cannot(rules, obj, roles):
        found.error(path, why_not, f"remove {DIVIDE}: it then runs in one cluster")
    if WEIGHTS in hints and by is not DivideBy.WEIGHTS:
        found.error(hints[WEIGHTS][1], f"weights go with {DIVIDE}: {DivideBy.WEIGHTS}, not {by}", "keep one of the two")
    if MIN_PER_REGION in hints and by is DivideBy.DUPLICATE:
        found.error(hints[MIN_PER_REGION][1], "where all is duplicated every region has all of it", "remove it")
    weights = _weights(found, *hints[WEIGHTS]) if WEIGHTS in hints else ()
    least = _number(found, *hints[MIN_PER_REGION], _MOST_PER_REGION) if MIN_PER_REGION in hints else 0
    most = _number(found, *hints[MAX_CLUSTERS], _MOST) if MAX_CLUSTERS in hints else None
    return Divide(by, weights, least, most) if len(found.problems) == before else None


def _cannot(rules: KindFile, obj: Object, roles: Sequence[RoleEntry]) -> str:
    """Why an object cannot be divided; "" where it can."""
    if rules.divided is None:
        return f"a {rules.kind} cannot be divided: its pods belong together"
    having = [role for role in roles if role.replicas > 0]
    if len(having) != 1:
        return f"it has the roles {', '.join(role.name for role in having)}, and only one role can be divided"
    if spec_holds(rules.divided.unless, obj):
        return f"this {rules.kind} cannot be divided: {rules.divided.because}"
    (role,) = having
    if not replicas_path(role):
        return f"the replicas of {role.name} are not one number that could be divided"
    return ""


def _weights(found: Findings, value: str, path: str) -> tuple[tuple[str, int], ...]:
    weights: dict[str, int] = {}
    for pair in value.split(","):
        cluster, equals, weight = (part.strip() for part in pair.partition("="))
        if not (cluster and equals and _is_number(weight)):
            found.error(path, f'"{pair.strip()[:60]}" is no weight', "write cluster=2,another=1")
        elif cluster in weights:
            found.error(path, f"{cluster} has two weights", "keep one")
        else:
            weights[cluster] = int(weight)
    return tuple(weights.items())


def _number(found: Findings, value: str, path: str, most: int) -> int:
    if _is_number(value.strip()) and int(value) <= most:
        return int(value)
    found.error(path, f'"{value[:60]}" is wrong', f"give a whole number from 1 to {most}")
    return 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(_MOST)) and 1 <= int(text) <= _MOST


def replicas_path(role: RoleEntry) -> tuple[str, ...]:
    """In the role's entry, where its share is written: its replicas, or else the least of its range. () for nowhere."""
    rules, ranged = role.rules.replicas, role.rules.range
    if rules is not None and rules.path and not rules.times:
        return rules.path
    return ranged.minimum if ranged is not None else ()


def resizes(role: RoleEntry) -> bool:
    """Whether its replicas are a number that can be changed while it runs."""
    return role.rules.replicas is not None and bool(role.rules.replicas.path)
