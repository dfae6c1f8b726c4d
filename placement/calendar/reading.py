"""A CronJob as it is written, and the Job that one run of it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from placement.calendar import schedule as schedules
from placement.calendar.decisions import Concurrency, Rules
from placement.calendar.schedule import BadSchedule, Schedule
from placement.kinds import fields, hints, identity
from placement.kinds.fields import Object
from placement.kinds.problems import Findings, did_you_mean

KIND, API_VERSION = "CronJob", "batch/v1"
SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
BY_HAND = "cronjob.kubernetes.io/instantiate"
LONGEST_NAME = 52  # eleven more are added for a run
TEMPLATE = "spec.jobTemplate"
KEPT_SUCCEEDED, KEPT_FAILED = 3, 1
_FIELDS = frozenset(
    {
        "schedule",
        "timeZone",
        "startingDeadlineSeconds",
        "concurrencyPolicy",
        "suspend",
        "jobTemplate",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    }
)


@dataclass(frozen=True, slots=True)
class CronJob:
    name: str
    namespace: str
    rules: Rules
    manifest: dict[str, Any]  # as given, with its namespace written out
    kept_succeeded: int = KEPT_SUCCEEDED
    kept_failed: int = KEPT_FAILED


def is_one(obj: Object) -> bool:
    return obj.get("kind") == KIND and obj.get("apiVersion") == API_VERSION


def read(found: Findings, obj: Object, namespace: str) -> CronJob | None:
    """None where something is wrong with it; its template is read with the Job that it makes."""
    who = identity.identify(found, obj, "label", namespace, "")
    if len(who.name) > LONGEST_NAME:
        message = f"{who.name!r} has {len(who.name)} characters, at most {LONGEST_NAME} are allowed"
        found.error("metadata.name", message, "shorten it: each run adds eleven")
    identity.check_metadata(found, obj)
    spec = fields.mapping(found, obj, "", "spec")
    for unknown in sorted(spec.keys() - _FIELDS):
        close = did_you_mean(unknown, _FIELDS)
        found.error(f"spec.{unknown}", "this field is not known", f"did you mean {close}?" if close else "remove it")
    template = fields.mapping(found, spec, "spec", "jobTemplate")
    if not isinstance(template.get("spec"), dict):
        found.error(f"{TEMPLATE}.spec", "is missing", "give the Job's spec")
    metadata = fields.mapping(found, template, TEMPLATE, "metadata")
    for part in ("labels", "annotations"):
        fields.string_map(found, metadata, f"{TEMPLATE}.metadata", part)
    rules = Rules(
        _schedule(found, spec),
        _deadline(found, spec),
        _concurrency(found, spec),
        _boolean(found, spec, "suspend"),
    )
    succeeded = _number(found, spec, "successfulJobsHistoryLimit", KEPT_SUCCEEDED)
    failed = _number(found, spec, "failedJobsHistoryLimit", KEPT_FAILED)
    if found.problems:
        return None
    return CronJob(who.name, who.namespace, rules, identity.named(obj, who), succeeded, failed)


def rules_of(manifest: Object, *, suspended: bool) -> Rules:
    """Of one that was read before; whether it is suspended is known elsewhere since then."""
    found, spec = Findings(), manifest["spec"]
    return Rules(_schedule(found, spec), _deadline(found, spec), _concurrency(found, spec), suspended)


def run_name(name: str, scheduled_at: datetime) -> str:
    """As Kubernetes names it: by the minutes since 1970."""
    return f"{name}-{int(scheduled_at.timestamp()) // 60}"


def run_of(manifest: Object, name: str, scheduled_at: datetime, *, by_hand: bool = False) -> dict[str, Any]:
    """The Job. Hints on the CronJob itself are the run's, unless its template says otherwise."""
    own, template = manifest["metadata"], manifest["spec"]["jobTemplate"]
    given = template.get("metadata") or {}
    metadata: dict[str, Any] = {"name": name, "namespace": own["namespace"]}
    for part in ("labels", "annotations"):
        merged = {**_hints(own.get(part)), **(given.get(part) or {})}
        if merged:
            metadata[part] = merged
    metadata["annotations"] = {
        **metadata.get("annotations", {}),
        SCHEDULED_AT: f"{scheduled_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        **({BY_HAND: "manual"} if by_hand else {}),
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}


def _hints(given: Any) -> dict[str, str]:
    return {key: value for key, value in (given or {}).items() if key.startswith(hints.PREFIX)}


def _schedule(found: Findings, spec: Mapping[str, Any]) -> Schedule:
    text, zone = fields.text(found, spec, "spec", "schedule"), fields.text(found, spec, "spec", "timeZone")
    nothing = Schedule("0 0 1 1 *", "UTC")
    if not text:
        if not any(problem.path == "spec.schedule" for problem in found.problems):
            found.error("spec.schedule", "is missing", "write minute, hour, day, month, day of week: 0 3 * * *")
        return nothing
    try:
        schedules.parse("0 0 1 1 *", zone)
    except BadSchedule as error:
        found.error("spec.timeZone", str(error), error.mend)
        zone = ""
    try:
        return schedules.parse(text, zone)
    except BadSchedule as error:
        found.error("spec.schedule", str(error), error.mend)
        return nothing


def _deadline(found: Findings, spec: Mapping[str, Any]) -> timedelta | None:
    if spec.get("startingDeadlineSeconds") is None:
        return None
    return timedelta(seconds=_number(found, spec, "startingDeadlineSeconds", 0))


def _concurrency(found: Findings, spec: Mapping[str, Any]) -> Concurrency:
    text = fields.text(found, spec, "spec", "concurrencyPolicy") or Concurrency.ALLOW
    try:
        return Concurrency(text)
    except ValueError:
        close = did_you_mean(text, Concurrency)
        mend = f"did you mean {close}?" if close else f"one of {', '.join(Concurrency)}"
        found.error("spec.concurrencyPolicy", f"there is no {text!r}", mend)
        return Concurrency.ALLOW


def _boolean(found: Findings, spec: Mapping[str, Any], key: str) -> bool:
    value = spec.get(key)
    if value is not None and not isinstance(value, bool):
        found.error(f"spec.{key}", f"{value!r} is neither true nor false", "write true or false")
    return value is True


def _number(found: Findings, spec: Mapping[str, Any], key: str, default: int) -> int:
    value = fields.count(found, spec.get(key), f"spec.{key}")
    return default if value is None else value
