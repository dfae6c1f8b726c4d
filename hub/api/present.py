"""The only place where the hub's records become the API's JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from hub.api import schemas
from hub.api.services import KnownQueue, KnownUser, PodLines, SubmittedJob
from hub.records import (
    Actor,
    ClusterState,
    CostReport,
    Explanation,
    Job,
    JobEvent,
    Manifest,
    Page,
    PartState,
    Planned,
    PlannedDivision,
)
from placement.costs import Cost
from placement.data import DataMove, Dataset
from placement.elastic.sizes import pods_of
from placement.outlook.outlook import Outlook
from placement.planner import PAID
from placement.queues.tree import Queue
from placement.rebalance.proposals import Proposal
from placement.tally import Tally
from placement.verdict import Candidate, Decision, Placed, Reason, Rejected, Score, Verdict, Waiting
from placement.workload import DeviceNeed, DivideBy, Role, TopologyRequest, Workload


def plan(planned: Planned) -> schemas.PlanOut:
    workload, verdict = planned.workload, planned.decision.verdict
    if planned.division is not None:
        return _planned_division(planned, planned.division)
    chosen = _chosen(verdict)
    candidates = _candidates(planned.decision.candidates, workload)
    return schemas.PlanOut(
        workload=_workload(workload),
        verdict=_word(verdict),
        chosen=chosen,
        candidates=candidates,
        reasons=_verdict_reasons(verdict),
        warnings=list(workload.warnings),
        domain=next((c.domain for c in candidates if c.cluster == chosen), ""),
        start=_start(verdict),
        room=_room(verdict),
        outlook=_outlook(planned.outlook),
        starts_with=_starts_with(verdict, workload),
    )


def _planned_division(planned: Planned, found: PlannedDivision) -> schemas.PlanOut:
    workload, made = planned.workload, found.made
    divided = workload.hints.divide
    reasons = _reasons(made.reasons)
    return schemas.PlanOut(
        workload=_workload(workload),
        verdict="placed" if made.total >= made.wanted else "waiting",
        chosen=None,
        candidates=[],
        reasons=reasons,
        warnings=list(workload.warnings),
        division=schemas.PlannedDivisionOut(
            by=divided.by if divided is not None else DivideBy.WEIGHTS,
            wanted=made.wanted,
            reasons=reasons,
            shares=[
                schemas.ShareOut(
                    cluster=one.cluster,
                    region=one.region,
                    replicas=made.shares.get(one.cluster, 0),
                    room=one.room,
                    usd_per_hour=one.usd_per_hour,
                    reason=None if one.why is None else _reasons([one.why])[0],
                )
                for one in found.places
            ],
        ),
    )


def _starts_with(verdict: Verdict, workload: Workload) -> dict[str, int] | None:
    placed = pods_of(verdict.reservation.workload) if isinstance(verdict, Placed) else {}
    return placed if placed and placed != pods_of(workload) else None


def manifest(one: Manifest) -> schemas.ManifestOut:
    return schemas.ManifestOut(
        workload=one.planned.workload.name,
        kind=one.planned.workload.kind,
        cluster=one.cluster,
        would_go_there=_chosen(one.planned.decision.verdict) == one.cluster,
        overrides=list(one.overrides),
        objects=[dict(obj) for obj in one.objects],
    )


def submitted(one: SubmittedJob) -> schemas.SubmittedOut:
    return schemas.SubmittedOut(job=job(one.job), created=one.created, warnings=list(one.job.workload.warnings))


def page(found: Page, as_of: int) -> schemas.JobPageOut:
    jobs = [job(one) for one in found.jobs]
    return schemas.JobPageOut(jobs=jobs, next_cursor=found.next_cursor, total=found.total, as_of=as_of)


def job(one: Job) -> schemas.JobOut:
    return schemas.JobOut(
        id=one.id,
        tenant=one.tenant,
        owner=one.owner,
        name=one.name,
        namespace=one.namespace,
        kind=one.kind,
        queue=one.queue,
        priority=one.priority,
        phase=one.phase,
        reason=one.reason,
        epoch=one.epoch,
        cluster=one.cluster,
        total_gpus=one.workload.total_gpus,
        min_pods=one.workload.min_pods,
        long_running=one.workload.long_running,
        roles=[
            schemas.RoleCountOut(role=r.role, ready=r.ready, succeeded=r.succeeded, failed=r.failed, total=r.total)
            for r in one.roles
        ],
        spot=one.spot,
        usd_per_hour=one.usd_per_hour,
        submitted_at=one.submitted_at,
        placed_at=one.placed_at,
        started_at=one.started_at,
        finished_at=one.finished_at,
        checkpoint_at=one.checkpoint_at,
        stalled_since=one.stalled_since,
        progress=_tally(one.progress),
        retries=_tally(one.retries),
        client_key=one.client_key,
        whole=one.whole,
        shares=None if one.division is None else dict(one.division.shares),
    )


def job_detail(one: Job, parts: Iterable[PartState] = ()) -> schemas.JobDetailOut:
    return schemas.JobDetailOut(
        **dict(job(one)),
        workload=_workload(one.workload),
        pods=[schemas.PodOut(pod=p.pod, role=p.role, node=p.node, gpus=list(p.gpus)) for p in one.pods],
        warnings=list(one.workload.warnings),
        division=_division(one, parts),
    )


def _division(one: Job, parts: Iterable[PartState]) -> schemas.DivisionOut | None:
    record, divided = one.division, one.workload.hints.divide
    if record is None or divided is None:
        return None
    return schemas.DivisionOut(
        by=divided.by,
        replicas=record.replicas,
        wanted=record.wanted,
        shares=dict(record.shares),
        reasons=[schemas.ReasonOut(code=code, message=message) for code, message in record.reasons],
        left_out={cluster: shunned.why for cluster, shunned in record.shunned.items()},
        changed_at=record.changed_at,
        parts=[
            schemas.PartOut(
                job=part.job.id,
                cluster=part.cluster,
                region=part.region,
                replicas=part.job.workload.pods,
                ready=sum(role.ready for role in part.job.roles),
                phase=part.job.phase,
                reason=part.job.reason,
                usd_per_hour=part.job.usd_per_hour,
                away=part.away,
            )
            for part in parts
        ],
    )


def explanation(found: Explanation, parts: Iterable[PartState] = ()) -> schemas.ExplanationOut:
    return schemas.ExplanationOut(
        job=job_detail(found.job, parts),
        decision=_decision(found.decision, found.job.workload) if found.decision is not None else None,
        history=[event(one) for one in found.history],
        outlook=_outlook(found.outlook),
    )


def event(one: JobEvent) -> schemas.EventOut:
    return schemas.EventOut(
        seq=one.seq,
        job=one.job,
        tenant=one.tenant,
        epoch=one.epoch,
        phase=one.phase,
        event=one.event,
        message=one.message,
        at=one.at,
    )


def log_line(lines: PodLines) -> schemas.LogLineOut:
    return schemas.LogLineOut(pod=lines.pod, data=lines.data.decode("utf-8", "replace"), position=lines.position)


def cluster(state: ClusterState) -> schemas.ClusterOut:
    return schemas.ClusterOut(
        name=state.name,
        region=state.region,
        labels=dict(state.labels),
        health=str(state.health),
        cordoned=state.cordoned,
        last_seen=state.last_seen,
        agent_version=state.agent_version,
        gpus_total=state.gpus_total,
        gpus_free=state.gpus_free,
        nodes=state.nodes,
        products=dict(state.products),
        jobs=state.jobs,
        gpus_unusable=state.gpus_unusable,
        why_unusable=list(state.why_unusable),
        certificate_expires_at=state.certificate_expires_at,
    )


def user(known: KnownUser) -> schemas.UserOut:
    return schemas.UserOut(name=known.name, tenant=known.tenant, role=str(known.role))


def queue(known: KnownQueue) -> schemas.QueueOut:
    return schemas.QueueOut(
        **dict(queue_spec(known.queue)),
        name=known.queue.name,
        parts=list(known.parts),
        waiting=known.waiting,
        running=known.running,
        uses=[
            schemas.QueueUseOut(device=one.device, used=one.used, may_use=one.may_use, left=one.left)
            for one in known.uses
        ],
        gpu_hours_day=known.gpu_hours_day,
        usd_day=known.usd_day,
        gpu_hours_month=known.gpu_hours_month,
        usd_month=known.usd_month,
    )


def cost_report(found: CostReport) -> schemas.CostReportOut:
    query = found.query
    return schemas.CostReportOut(
        by=query.by.value,
        since=query.since,
        until=query.until,
        as_of=found.as_of,
        lines=[schemas.CostLineOut(key=one.key, name=one.name, **dict(_cost(one.cost))) for one in found.lines],
        more=found.more,
        more_cost=_cost(found.more_cost),
        forgotten=_cost(found.forgotten),
        total=_cost(found.total),
    )


def _cost(one: Cost) -> schemas.CostOut:
    return schemas.CostOut(**asdict(one), usd=one.usd)


def queue_spec(one: Queue) -> schemas.QueueSpec:
    return schemas.QueueSpec(
        cohort=one.cohort,
        weight=one.weight,
        quotas={device: schemas.QuotaDoc(**asdict(quota)) for device, quota in one.quotas.items()},
        budget=schemas.BudgetDoc(**asdict(one.budget)),
        burst_after_hours=one.burst_after_hours,
        preemption=schemas.PreemptionDoc(
            within_queue=one.preemption.within_queue.value,
            reclaim=one.preemption.reclaim.value,
            fair_share=one.preemption.fair_share.value,
        ),
    )


def dataset(one: Dataset) -> schemas.DatasetOut:
    return schemas.DatasetOut(
        name=one.name,
        tenant=one.tenant,
        size=one.size_bytes,
        replicas=[
            schemas.ReplicaOut(cluster=r.cluster, region=r.region, uri=r.uri, copied=r.copied) for r in one.replicas
        ],
        residency=list(one.residency),
        secret=one.secret,
        learned=one.learned,
    )


def proposal(one: Proposal) -> schemas.ProposalOut:
    return schemas.ProposalOut(
        id=one.id,
        aim=one.aim.value,
        steps=[
            schemas.StepOut(
                job=step.job,
                epoch=step.epoch,
                source=step.source,
                target=step.target,
                gpus=step.gpus,
                lost_gpu_hours=step.lost_gpu_hours,
                usd=step.usd,
            )
            for step in one.steps
        ],
        lost_gpu_hours=one.lost_gpu_hours,
        usd=one.usd,
        gain_usd=one.gain_usd,
        net_usd=one.net_usd,
        gain=one.gain,
        job=one.job,
        cluster=one.cluster,
        earlier_hours=one.earlier_hours,
        saved_usd_per_hour=one.saved_usd_per_hour,
        whole_nodes=one.whole_nodes,
        whole_domains=one.whole_domains,
    )


def whoami(actor: Actor) -> schemas.WhoamiOut:
    return schemas.WhoamiOut(user=actor.user, tenant=actor.tenant, role=str(actor.role))


def _decision(decision: Decision, workload: Workload) -> schemas.DecisionOut:
    return schemas.DecisionOut(
        epoch=decision.epoch,
        verdict=_word(decision.verdict),
        chosen=_chosen(decision.verdict),
        reasons=_verdict_reasons(decision.verdict),
        candidates=_candidates(decision.candidates, workload),
        start=_start(decision.verdict),
        room=_room(decision.verdict),
    )


def _start(verdict: Verdict) -> schemas.StartOut | None:
    start = verdict.start if isinstance(verdict, Waiting) else None
    if start is None:
        return None
    return schemas.StartOut(cluster=start.cluster, at=start.at, after=list(start.after), message=start.message)


def _room(verdict: Verdict) -> schemas.RoomOut | None:
    room = verdict.room if isinstance(verdict, Waiting) else None
    if room is None:
        return None
    return schemas.RoomOut(
        cluster=room.cluster,
        at=room.at,
        victims=list(room.victims),
        lost_gpu_hours=room.lost_gpu_hours,
        usd=room.usd,
        message=room.message,
    )


def _outlook(seen: Outlook | None) -> schemas.OutlookOut | None:
    if seen is None:
        return None
    eta = seen.eta
    return schemas.OutlookOut(
        gpus=[
            schemas.GpuUseOut(
                cluster=one.cluster,
                total=one.total,
                free=one.free,
                usable=one.usable,
                rest=[schemas.NotForItOut(gpus=each.gpus, why=each.why) for each in one.rest],
            )
            for one in seen.gpus
        ],
        eta=None
        if eta is None
        else schemas.EtaOut(at=eta.at, cluster=eta.cluster, basis=eta.basis, reserved=eta.reserved),
        mends=list(seen.mends),
        preemption=seen.preemption,
        place=seen.place,
        ahead=list(seen.ahead),
    )


def _tally(tally: Tally | None) -> schemas.TallyOut | None:
    return None if tally is None else schemas.TallyOut(done=tally.done, of=tally.of)


def _workload(workload: Workload) -> schemas.WorkloadOut:
    return schemas.WorkloadOut(
        kind=workload.kind,
        name=workload.name,
        namespace=workload.namespace,
        roles=[_role(r) for r in workload.roles],
        gang=schemas.GangOut(
            min_pods=workload.min_pods,
            topology=_topology(workload.topology),
            groups=workload.groups,
            awaited=workload.awaited,
        ),
        total_gpus=workload.total_gpus,
        expected_hours=workload.hints.expected_hours,
        long_running=workload.long_running,
    )


def _role(role: Role) -> schemas.RoleOut:
    return schemas.RoleOut(
        name=role.name,
        replicas=role.replicas,
        min=role.minimum,
        gpus_per_pod=role.gpus_per_pod,
        device_class=_device_class(role),
        topology=_topology(role.topology),
        slices=None if role.slices is None else schemas.SlicesOut(size=role.slices.size, level=role.slices.level),
        sizes=None
        if role.sizes is None
        else schemas.SizesOut(least=role.sizes.least, most=role.sizes.most, running=role.sizes.running),
    )


def _topology(request: TopologyRequest | None) -> schemas.TopologyOut | None:
    return None if request is None else schemas.TopologyOut(level=request.level, mode=request.mode)


def _device_class(role: Role) -> str | None:
    if not role.devices:
        return None
    if role.products:
        return " | ".join(role.products)
    return " + ".join(_device(need) for need in role.devices)


def _device(need: DeviceNeed) -> str:
    return f"{need.resource}: {need.amount}" if need.is_share else need.resource


def _word(verdict: Verdict) -> schemas.PlanVerdict:
    if isinstance(verdict, Placed):
        return "placed"
    return "rejected" if isinstance(verdict, Rejected) else "waiting"


def _chosen(verdict: Verdict) -> str | None:
    return verdict.cluster if isinstance(verdict, Placed) else None


def _verdict_reasons(verdict: Verdict) -> list[schemas.ReasonOut]:
    return [] if isinstance(verdict, Placed) else _reasons(verdict.reasons)


def _candidates(candidates: Iterable[Candidate], workload: Workload) -> list[schemas.CandidateOut]:
    return [
        schemas.CandidateOut(
            cluster=one.cluster,
            feasible=one.feasible,
            reasons=_reasons(one.reasons),
            domain=one.domain,
            at_least=one.at_least,
            **_priced(one.score, workload.hints.expected_hours),
            moves=[_move(move) for move in one.moves],
            overrides=list(variant.overrides) if (variant := workload.variants.get(one.cluster)) is not None else [],
            without=list(one.without),
        )
        for one in candidates
    ]


def _priced(score: Score | None, hours: float) -> dict[str, Any]:
    if score is None:
        return {"score": None}
    terms = score.terms
    risk, gpu = terms.get("spot-risk", 0.0), terms.get("gpu", 0.0)
    return {
        "score": schemas.ScoreOut(total_usd=score.total_usd, terms=dict(terms)),
        "usd_per_hour": sum(terms.get(name, 0.0) for name in PAID) / hours,
        "spot": "spot-risk" in terms,
        "own": "amortised" in terms,
        "expected_hours": hours * (1 + risk / gpu) if gpu else hours,
    }


def _move(move: DataMove) -> schemas.DataMoveOut:
    return schemas.DataMoveOut(
        dataset=move.name,
        size=move.size_bytes,
        source=move.source.cluster if move.source.in_claim else move.source.region or move.source.cluster,
        left_behind=move.source.in_claim,
        usd=move.usd,
        hours=move.hours,
        place=move.place,
    )


def _reasons(reasons: Iterable[Reason]) -> list[schemas.ReasonOut]:
    return [schemas.ReasonOut(code=one.code, message=one.message) for one in reasons]
