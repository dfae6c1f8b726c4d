"""Values to JSON text and back, for the columns that hold whole values: workloads, objects, summaries, decisions.

Written by hand rather than by reflection: a job is decoded for every page that lists it and for every queued job at
start. Reading is lenient about fields that older rows lack (they take the dataclass's default) and strict about the
rest. What a decision's placement holds of its workload is not written: the job has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, cast

import orjson

from hub.records import DivisionRecord, Object, Shunned
from placement.data import DataMove, Dataset, Replica
from placement.elastic import sizes
from placement.fleet import Reservation
from placement.inventory import DeviceClass, DeviceForm, DomainGroup, NodeClass, Shape, Summary, Taint
from placement.queues.tree import Budget, Preemption, Queue, Quota, Reach
from placement.resources import Resources
from placement.safety.footprint import Footprint
from placement.safety.levels import Breach, Level
from placement.safety.policy import Exemption, Policy
from placement.safety.tenants import Tenant
from placement.tally import Tally
from placement.verdict import Candidate, Decision, ExpectedStart, Placed, Reason, Rejected, RoomMade, Score, Waiting
from placement.workload import (
    Brought,
    DataUse,
    DeviceNeed,
    Divide,
    DivideBy,
    Hints,
    IfTooLarge,
    LabelRequirement,
    NodeConstraint,
    Operator,
    OverrideRefusal,
    Reference,
    Role,
    Sizes,
    SliceRequest,
    Toleration,
    TopologyMode,
    TopologyRequest,
    Variant,
    Workload,
)
from wire.orders import PodPlace, RoleCount

Json = dict[str, Any]


def dump(value: object) -> str:
    """Any of the values below, or plain JSON."""
    return orjson.dumps(value, default=_plain).decode()


def load(text: str) -> Any:
    return orjson.loads(text)


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form in the store")


# ---- objects, roles and pods of a job ----


def objects_of(text: str) -> tuple[Object, ...]:
    return tuple(load(text))


def role_counts_of(text: str) -> tuple[RoleCount, ...]:
    return tuple(RoleCount(**row) for row in load(text))


def pod_places_of(text: str) -> tuple[PodPlace, ...]:
    return tuple(PodPlace(row["pod"], row["role"], row["node"], tuple(row["gpus"])) for row in load(text))


# ---- divided works ----


def division_of(text: str | None) -> DivisionRecord | None:
    if text is None:
        return None
    row = load(text)
    return DivisionRecord(
        replicas=row["replicas"],
        scaled=row["scaled"],
        shares=row["shares"],
        wanted=row["wanted"],
        reasons=tuple((code, message) for code, message in row["reasons"]),
        changed_at=_moment(row["changed_at"]),
        shunned={name: Shunned(one["why"], _moment(one["until"])) for name, one in row["shunned"].items()},
        resizes=row["resizes"],
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


# ---- reservations ----


def reservation_of(row: Any) -> Reservation:
    """Of a row of them, with the `workload_json` that was submitted."""
    submitted = workload_of(row.workload_json)
    if row.variant_json is not None:
        submitted = replace(submitted, variants={row.cluster: variant_of(row.variant_json)})
    workload = sized(submitted, row.pods_json)
    wanted = sized(workload, row.wanted_json) if row.wanted_json else None
    return Reservation(
        job=row.job,
        epoch=row.epoch,
        cluster=row.cluster,
        workload=workload,
        spot=row.spot,
        uses=uses_of(row.uses_json),
        usd_per_hour=row.usd_per_hour,
        since=row.since,
        moves_usd=row.egress_usd,
        placed_at=row.placed_at,
        revision=row.revision,
        was=sized(submitted, row.was_json) if row.was_json else None,
        settles=wanted is not None,
        shrinks_to=wanted if wanted is not None and wanted.pods < workload.pods else None,
        shrinks_for=row.shrinks_for,
    )


# ---- sizes ----


def pods_text(workload: Workload) -> str:
    """Of one whose size may be chosen; "" of any other, which has as many pods as it was submitted with."""
    return dump(sizes.pods_of(workload)) if any(role.sizes for role in workload.roles) else ""


def sized(workload: Workload, pods: str) -> Workload:
    """A workload as it was submitted, with the pods of `pods_text`."""
    return sizes.with_pods(workload, load(pods)) if pods else workload


# ---- queues ----


def uses_of(text: str) -> tuple[tuple[str, float], ...]:
    return tuple((device, float(amount)) for device, amount in load(text))


def queue_of(
    name: str, cohort: str, weight: float, quotas: str, budget: str, burst_after_hours: float | None, preemption: str
) -> Queue:
    found = {device: Quota(**quota) for device, quota in load(quotas).items()}
    reaches = {field: Reach(value) for field, value in load(preemption).items()}
    return Queue(name, cohort, found, weight, Budget(**load(budget)), burst_after_hours, Preemption(**reaches))


# ---- tenants and policies ----


def exemptions_of(rows: Sequence[Json]) -> tuple[Exemption, ...]:
    return tuple(Exemption(**{name: _untupled(value) for name, value in row.items()}) for row in rows)


def tenant_of(name: str, namespaces: str, level: str, kinds: str, exemptions: str, queues: str) -> Tenant:
    lifted = exemptions_of(load(exemptions))
    return Tenant(name, tuple(load(namespaces)), Level(level), tuple(load(kinds)), lifted, tuple(load(queues)))


# ---- workload ----


def dataset_of(
    name: str, size_bytes: int, replicas: str, residency: str, tenant: str, learned: bool, secret: str
) -> Dataset:
    held = tuple(Replica(**row) for row in load(replicas))
    return Dataset(name, size_bytes, held, tuple(load(residency)), tenant, learned, secret)


def moves_of(row: Json) -> tuple[DataMove, ...]:
    return tuple(DataMove(**{**move, "source": Replica(**move["source"])}) for move in row.get("moves", ()))


def tally_of(done: int | None, of: int | None) -> Tally | None:
    return None if done is None else Tally(done, of)


def workload_of(text: str) -> Workload:
    return workload_from(load(text))


def workload_from(row: Json) -> Workload:
    return Workload(
        api_version=row["api_version"],
        kind=row["kind"],
        name=row["name"],
        namespace=row["namespace"],
        roles=tuple(_role(role) for role in row["roles"]),
        min_pods=row["min_pods"],
        topology=_topology(row["topology"]),
        hints=_hints(row["hints"]),
        references=tuple(Reference(**reference) for reference in row["references"]),
        data=tuple(DataUse(**use) for use in row.get("data", ())),
        brings=tuple(Brought(**one) for one in row.get("brings", ())),
        long_running=row["long_running"],
        warnings=tuple(row["warnings"]),
        footprint=_footprint(row.get("footprint") or {}),
        awaited=row.get("awaited"),
        groups=row.get("groups", 1),
        variants={name: _variant(one) for name, one in (row.get("variants") or {}).items()},
    )


def variant_of(text: str) -> Variant:
    return _variant(load(text))


def _variant(row: Json) -> Variant:
    workload, refusal = row["workload"], row["refusal"]
    return Variant(
        tuple(row["overrides"]),
        workload_from(workload) if workload is not None else None,
        OverrideRefusal(**refusal) if refusal is not None else None,
    )


def _footprint(row: Json) -> Footprint:
    breaches = tuple(Breach(**{**one, "level": Level(one["level"])}) for one in row.get("breaches", ()))
    return Footprint(row.get("namespace", ""), tuple(row.get("kinds", ())), breaches)


def _hints(row: Json) -> Hints:
    known: Json = {name: _untupled(value) for name, value in row.items() if name in _HINTS}
    if "if_too_large" in known:
        known["if_too_large"] = IfTooLarge(known["if_too_large"])
    if known.get("divide"):
        known["divide"] = _divide(known["divide"])
    return Hints(**known)


def _divide(row: Json) -> Divide:
    weights = tuple((cluster, weight) for cluster, weight in row["weights"])
    return Divide(DivideBy(row["by"]), weights, row["min_per_region"], row["max_clusters"])


_HINTS = frozenset(field.name for field in fields(Hints))


def _role(row: Json) -> Role:
    return Role(
        name=row["name"],
        replicas=row["replicas"],
        minimum=row["minimum"],
        requests=Resources(row["requests"]),
        devices=tuple(DeviceNeed(**need) for need in row["devices"]),
        constraint=_constraint(row["constraint"]),
        products=tuple(row["products"]),
        maximum=row["maximum"],
        late=row.get("late", False),
        stage=row.get("stage", 0),
        sizes=Sizes(**sizes) if (sizes := row.get("sizes")) else None,
        topology=_topology(row.get("topology")),
        slices=SliceRequest(**slices) if (slices := row.get("slices")) else None,
    )


def _topology(row: Json | None) -> TopologyRequest | None:
    return TopologyRequest(row["level"], TopologyMode(row["mode"])) if row else None


def _constraint(row: Json) -> NodeConstraint:
    return NodeConstraint(
        terms=tuple(
            tuple(LabelRequirement(one["key"], Operator(one["operator"]), tuple(one["values"])) for one in term)
            for term in row["terms"]
        ),
        tolerations=tuple(Toleration(**toleration) for toleration in row["tolerations"]),
    )


# ---- summary ----


def summary_of(text: str) -> Summary:
    row = load(text)
    return Summary(
        revision=row["revision"],
        levels=tuple((name, label) for name, label in row["levels"]),
        node_classes=tuple(_node_class(one) for one in row["node_classes"]),
        shapes=tuple(
            Shape(one["node_class"], Resources(one["free"]), one["nodes"], tuple(one["shares"]))
            for one in row["shapes"]
        ),
        domains=tuple(
            DomainGroup(
                one["level"], one["count"], _pairs(one["nodes"]), one["example"], _pairs(one.get("children", ()))
            )
            for one in row["domains"]
        ),
        kinds=frozenset(row["kinds"]),
        hidden_labels=frozenset(row["hidden_labels"]),
        counted=frozenset((job, epoch) for job, epoch in row["counted"]),
        resized=frozenset((job, epoch, size) for job, epoch, size in row.get("resized", ())),
        resizes=row.get("resizes", False),
        gpus_total=row["gpus_total"],
        gpus_free=row["gpus_free"],
        nodes_total=row["nodes_total"],
        gpus_unusable=row.get("gpus_unusable", 0),
        why_unusable=tuple(row.get("why_unusable", ())),
        policy=_policy(row.get("policy")),
    )


def _policy(row: Json | None) -> Policy | None:
    if row is None:
        return None
    lifted = exemptions_of(row["exemptions"])
    return Policy(Level(row["level"]), tuple(row["namespaces"]), tuple(row["kinds"]), lifted)


def _pairs(rows: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((first, second) for first, second in rows)


def _node_class(row: Json) -> NodeClass:
    return NodeClass(
        labels=tuple((key, value) for key, value in row["labels"]),
        taints=tuple(Taint(**taint) for taint in row["taints"]),
        devices=tuple(DeviceClass(**{**device, "form": DeviceForm(device["form"])}) for device in row["devices"]),
        capacity=Resources(row["capacity"]),
    )


# ---- decision ----


def dump_decision(decision: Decision) -> str:
    verdict = decision.verdict
    if isinstance(verdict, Placed):
        outcome: Json = {
            "placed": verdict.reservation.cluster,
            "spot": verdict.reservation.spot,
            "pods": pods_text(verdict.reservation.workload),
            "terms": dict(verdict.score.terms),
            "uses": verdict.reservation.uses,
            "usd_per_hour": verdict.reservation.usd_per_hour,
            "since": verdict.reservation.since,
            "moves_usd": verdict.reservation.moves_usd,
            "moves": verdict.moves,
        }
    else:
        name = "waiting" if isinstance(verdict, Waiting) else "rejected"
        outcome = {name: [_reason_row(reason) for reason in verdict.reasons]}
        if isinstance(verdict, Waiting) and verdict.start is not None:
            outcome["start"] = verdict.start
        if isinstance(verdict, Waiting) and verdict.room is not None:
            outcome["room"] = verdict.room
    candidates = [
        {
            "cluster": candidate.cluster,
            "reasons": [_reason_row(reason) for reason in candidate.reasons],
            "terms": dict(candidate.score.terms) if candidate.score else None,
            "domain": candidate.domain,
            "at_least": candidate.at_least,
            "moves": candidate.moves,
            "without": candidate.without,
        }
        for candidate in decision.candidates
    ]
    return dump({"job": decision.job, "epoch": decision.epoch, "verdict": outcome, "candidates": candidates})


def decision_of(text: str, workload: Workload) -> Decision:
    row = load(text)
    outcome = row["verdict"]
    verdict: Placed | Waiting | Rejected
    if "placed" in outcome:
        held = Reservation(
            row["job"],
            row["epoch"],
            outcome["placed"],
            sized(workload, outcome.get("pods", "")),
            outcome["spot"],
            tuple((device, amount) for device, amount in outcome.get("uses", ())),
            outcome.get("usd_per_hour", 0.0),
            datetime.fromisoformat(outcome["since"]) if outcome.get("since") else None,
            outcome.get("moves_usd", 0.0),
        )
        verdict = Placed(held, Score(outcome["terms"]), moves_of(outcome))
    elif "waiting" in outcome:
        verdict = Waiting(_reasons(outcome["waiting"]), _start(outcome.get("start")), _room(outcome.get("room")))
    else:
        verdict = Rejected(_reasons(outcome["rejected"]))
    candidates = tuple(
        Candidate(
            one["cluster"],
            _reasons(one["reasons"]),
            Score(one["terms"]) if one["terms"] is not None else None,
            one["domain"],
            one.get("at_least", False),
            moves_of(one),
            tuple(one.get("without", ())),
        )
        for one in row["candidates"]
    )
    return Decision(row["job"], row["epoch"], verdict, candidates)


def _start(row: Json | None) -> ExpectedStart | None:
    if row is None:
        return None
    return ExpectedStart(row["cluster"], datetime.fromisoformat(row["at"]), tuple(row["after"]))


def _room(row: Json | None) -> RoomMade | None:
    if row is None:
        return None
    jobs = {"victims": tuple(row["victims"]), "shrinking": tuple(row.get("shrinking", ()))}
    return RoomMade(**{**row, "at": datetime.fromisoformat(row["at"]), **jobs})


def _reason_row(reason: Reason) -> Json:
    row: Json = {field.name: getattr(reason, field.name) for field in fields(reason)}
    return {"code": reason.code, **row}


def _reasons(rows: Sequence[Json]) -> tuple[Reason, ...]:
    known = _reason_classes()
    return tuple(
        known[row["code"]](**{name: _untupled(value) for name, value in row.items() if name != "code"})
        for row in rows
        # A reason that this release no longer words is left out rather than failing the whole explanation.
        if row["code"] in known
    )


def _reason_classes() -> dict[str, type[Reason]]:
    found: dict[str, type[Reason]] = {}
    waiting = [Reason]
    while waiting:
        for one in waiting.pop().__subclasses__():
            found[one.code] = one
            waiting.append(one)
    return found


def _untupled(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value


def labels_of(text: str) -> dict[str, str]:
    return cast(dict[str, str], load(text))
