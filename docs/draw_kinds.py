"""Draws the table of docs/kinds.md from the files in placement/kinds, so that the page cannot say what they do not.

`python docs/draw_kinds.py` writes the page; what stands outside the marks is written by hand and kept.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from placement.kinds import paths, trainjobs
from placement.kinds.catalogue import Catalogue
from placement.kinds.conditions import (
    AllOf,
    AnyOf,
    AtLeast,
    Cel,
    Condition,
    Every,
    Exists,
    HasCondition,
    Mentions,
    Negate,
    OneOf,
)
from placement.kinds.kind import KindFile, Roles
from placement.kinds.tallies import Amount, TallyRule
from placement.lifecycle import Event

PAGE = Path(__file__).with_name("kinds.md")
BEGIN, END = "<!-- drawn by make generate: edit the kind files -->", "<!-- drawn until here -->"


def page() -> str:
    """The page as it should be: its own text, and the tables anew."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def tables() -> str:
    catalogue = Catalogue.builtin()
    files: dict[int, KindFile] = {}
    for kind in catalogue.kinds:
        files.setdefault(id(kind.rules), kind.rules)
    ordered = sorted(files.values(), key=lambda rules: (rules.kind.lower(), rules.group))
    lines = [
        "| kind | apiVersion | roles | starts together | elastic | runs on the host cluster |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_shape_row(rules) for rules in ordered]
    lines += ["", "| kind | runs when | succeeds when | fails when | its pods are made by |", "|---|---|---|---|---|"]
    lines += [_status_row(rules) for rules in ordered]
    lines += ["", "| kind | progress | retries |", "|---|---|---|"]
    lines += [_tally_row(rules) for rules in ordered if rules.progress is not None or rules.retries is not None]
    lines += ["", "| runs by a calendar ([cron.md](cron.md)) | apiVersion | each run is |", "|---|---|---|"]
    lines += [f"| {other.kind} | {', '.join(other.versions)} | a Job |" for other in catalogue.others.calendars]
    lines += ["", "| goes along with the workload that uses it | apiVersion | a cluster that does not serve it |"]
    lines += ["|---|---|---|"]
    lines += [
        f"| {other.kind} | {', '.join(other.versions)} | {_ELSEWHERE[other.installed]} |"
        for other in catalogue.others.dependencies
    ]
    for heading, others in (
        ("is read, and not applied", catalogue.others.left_out),
        ("is not submitted", catalogue.others.refused),
    ):
        lines += ["", f"| {heading} | because |", "|---|---|"]
        lines += [f"| {other.kind} ({', '.join(other.versions)}) | {other.because} |" for other in others]
    return "\n".join(lines)


_ELSEWHERE = {"": "", "needed": "is left out", "wished": "runs the workload without"}


def _shape_row(rules: KindFile) -> str:
    versions = ", ".join(f"{rules.group}/{version}".lstrip("/") for version in rules.versions)
    played = "yes" if rules.emulate is not None or rules.kind in ("Pod", "PodGroup") else ""
    roles = "; ".join(_role(place) for place in rules.places)
    if rules.nested is not None:
        roles = f"those of `{paths.shown(rules.nested.at)}`, times `{paths.shown(rules.nested.times.path)}`"
    return _row(rules.kind, versions, roles, _gang(rules), _elastic(rules), played)


def _role(place: Roles) -> str:
    if place.at == (trainjobs.JOBS,):
        return "each Job of its runtime; where that lies in the cluster, node: `spec.trainer`"
    at = f"`{paths.shown(place.at)}`" if place.at else "the object"
    if place.form == "one":
        named = place.name
    elif place.form == "map":
        named = ", ".join(place.known) or "its keys"
    else:
        named = "each entry"
    late = ""
    if place.late is not None and place.late.when is None:
        late = " (after the others)" if place.late.roles else " (some after others)"
    return f"{named}: {at}{late}"


def _gang(rules: KindFile) -> str:
    if rules.nested is not None:
        return f"what a {rules.nested.name} starts together"
    said = [f"`{paths.shown(path)}`" for path in rules.gang.paths]
    least = "all pods" if rules.gang.minimum == "all" else f"{rules.gang.minimum} pod"
    if rules.gang.minimum == "all" and any(place.range for place in rules.places):
        least = "each role's minimum"
    if rules.gang.all_when is not None:
        least = f"all where {_words(rules.gang.all_when)}, else {least}"
    return " or ".join([*said, least]) if said else least


def _elastic(rules: KindFile) -> str:
    if rules.elastic is not None:
        bounds = f"`{paths.shown(rules.elastic.minimum)}`–`{paths.shown(rules.elastic.maximum)}`"
        return f"{rules.elastic.role}: {bounds}{_chosen(rules.places[0])}"
    found = []
    for place in rules.places:
        known = place.range
        if known is None:
            if place.resize is not None:
                found.append(f"each: down to the gang{_chosen(place)}")
            continue
        low, high = (
            (known.of_object.minimum, known.of_object.maximum) if known.of_object else (known.minimum, known.maximum)
        )
        found.append(f"{place.name}: `{paths.shown(low)}`–`{paths.shown(high)}`{_chosen(place)}")
    return "; ".join(dict.fromkeys(found))


def _chosen(place: Roles) -> str:
    """Whether Muster chooses how many they are."""
    if place.resize is None:
        return ""
    return ", chosen by Muster" + (" also while it runs" if place.resize.running else " at its start")


def _status_row(rules: KindFile) -> str:
    said = {event: _joined(rule.when for rule in rules.status if rule.event is event) for event in Event}
    succeeds = "never: it serves" if rules.long_running is True else said[Event.SUCCEED]
    return _row(rules.kind, said[Event.RUNNING], succeeds, said[Event.FAIL] or "–", rules.controller)


def _tally_row(rules: KindFile) -> str:
    kind = f"{rules.kind} ({rules.group or 'v1'})"
    return _row(kind, _tally(rules.progress), _tally(rules.retries))


def _tally(rule: TallyRule | None) -> str:
    if rule is None:
        return ""
    if rule.text:
        return f"`{paths.shown(rule.text)}`"
    restarts = ", and restarts of its containers" if rule.restarts else ""
    limit = f" of {_amount(rule.of)}" if rule.of is not None else ""
    return f"{_amount(rule.done)}{restarts}{limit}"


def _amount(amount: Amount | None) -> str:
    if amount is None:
        return ""
    words = f"`{amount.cel}`" if amount.cel else " + ".join(f"`{paths.shown(path)}`" for path in amount.sum)
    return f"{words} (default {amount.default})" if amount.default else words


def _joined(conditions: Iterable[Condition]) -> str:
    return "; or ".join(_words(condition) for condition in conditions)


def _words(condition: Condition) -> str:
    match condition:
        case Exists(path):
            return f"`{paths.shown(path)}` is there"
        case OneOf(path, one_of, _):
            return f"`{paths.shown(path)}` is {' or '.join(_value(each) for each in one_of)}"
        case HasCondition(name, status):
            return f"{name} is {status}"
        case AtLeast(summed, at_least):
            return f"{' + '.join(f'`{paths.shown(path)}`' for path in summed)} ≥ {at_least}"
        case Mentions(names):
            return f"there is a condition {' or '.join(names)}"
        case Every():
            counters = " + ".join(f"`{paths.shown(path)}`" for path in condition.sum)
            later = ", unless it waits for the end of others" if condition.after is not None else ""
            return (
                f"of each of `{paths.shown(condition.every)}`: {counters} ≥ `{paths.shown(condition.at_least)}`{later}"
            )
        case AllOf(inner):
            return " and ".join(_words(each) for each in inner)
        case AnyOf(inner):
            return " or ".join(_words(each) for each in inner)
        case Negate(inner_condition):
            return f"not ({_words(inner_condition)})"
        case Cel(text):
            return f"`{text}`"


def _value(value: str | bool | int) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) or "empty"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
