"""What an object's own status says of the job's life, by the rules in its kind's file: the first that holds speaks.

Only the status is asked; what pods do that their controller has not noticed yet is for the caller to see. A status that
no rule is for is not taken for anything: it is said, in its own words, and the job stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from placement.kinds import paths, roles, statuses, tallies
from placement.kinds.conditions import Facts, condition_of, holds
from placement.kinds.fields import Object
from placement.kinds.kind import Kind, Reasons
from placement.kinds.statuses import says_nothing
from placement.lifecycle import Event
from placement.tally import Tally

_MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class Observation:
    event: Event | None  # STARTING, RUNNING, SUCCEED, FAIL; None where the status says nothing (yet)
    reason: str  # for people; "" where there is nothing to say
    not_understood: str = ""  # for people, with no event: the status says something, and no rule is for that
    progress: Tally | None = None
    retries: Tally | None = None


def observe(kind: Kind, obj: Object, facts: Facts | None = None) -> Observation:
    """`facts`: those of the object, where its spec is not at hand."""
    status = obj.get("status")
    if not status:
        return Observation(None, "")
    facts = facts or roles.facts(kind, obj)
    for rule in kind.rules.status:
        if holds(rule.when, obj, facts):
            progress, retries = tallies.read(kind.rules.progress, obj), tallies.read(kind.rules.retries, obj)
            return Observation(rule.event, _reason(rule.reason, obj), progress=progress, retries=retries)
    if not kind.rules.status or says_nothing(status):
        return Observation(None, "")
    return Observation(None, "", f"status not understood: {statuses.words(status)}")


def _reason(reasons: Reasons, obj: Object) -> str:
    for words in _said(reasons, obj):
        if words:
            return words if len(words) <= _MAX_REASON else words[: _MAX_REASON - 1] + "…"
    return reasons.text


def _said(reasons: Reasons, obj: Object) -> Iterator[str]:
    if reasons.containers is not None:
        yield container_words(paths.find(obj, reasons.containers))
    for name in reasons.conditions:
        condition = condition_of(obj, name)
        # PodScheduled says something when it is false, Failed when it is true; a met Progressing says nothing.
        if condition is not None and condition.get("message"):
            yield _joined(condition.get("reason"), condition.get("message"))
        elif condition is not None and condition.get("status") == "True":
            yield _joined(condition.get("reason"))
    yield _joined(*(paths.find(obj, path) for path in reasons.paths))


def container_words(statuses: Any) -> str:
    """Of a pod's containerStatuses: the first container that ended badly, else the first that waits for a reason."""
    waits = ""
    for status in statuses if isinstance(statuses, list) else ():
        name = status.get("name") if isinstance(status, dict) else None
        ended = paths.find(status, ("state", "terminated"))
        if isinstance(ended, dict) and ended.get("exitCode"):
            detail = _joined(ended.get("reason"), ended.get("message"))
            return f"container {name} exited with {ended['exitCode']}" + (f" ({detail})" if detail else "")
        waiting = paths.find(status, ("state", "waiting"))
        if isinstance(waiting, dict) and waiting.get("reason") and not waits:
            waits = f"container {name} waits: " + _joined(waiting.get("reason"), waiting.get("message"))
    return waits


def _joined(*parts: Any) -> str:
    return ": ".join(str(part) for part in parts if part)
