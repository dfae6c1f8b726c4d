"""The only translator between the link's messages and the domain's values.

Outgoing: every domain value that the messages have room for becomes one; what does not fit (a negative count, a number
over 32 bits) raises ProtocolError and is a bug of this side. Incoming: the peer is not trusted, so every enum,
index and reference is checked here and ProtocolError names the field; whatever passes needs no second look.
The lists that hold many jobs (`commands`, `reports` …) are read item by item: one bad item is set aside with its error
and the rest is used. Not carried, because a spoke needs none of it: a workload's references, its warnings and its hints
but for the priority.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from placement.data import CLAIM, DataMove, Replica
from placement.lifecycle import Event
from placement.tally import Tally
from placement.workload import (
    DataUse,
    DeviceNeed,
    Hints,
    LabelRequirement,
    NodeConstraint,
    Operator,
    Role,
    SliceRequest,
    Toleration,
    TopologyMode,
    TopologyRequest,
    Workload,
)
from wire import link_pb2 as pb
from wire.checks import ProtocolError, amounts_of, each, enum_value, fits, time_of
from wire.orders import (
    Command,
    CommandAck,
    DataFound,
    JobRef,
    LogLines,
    LogQuery,
    Object,
    PodPlace,
    Report,
    ReportAck,
    RoleCount,
    Scale,
    Staging,
    Start,
    Stop,
)

MAX_URI = 512
MAX_BYTES = 1 << 60

# What a spoke may say of a job. The other events are the hub's own, and no report can cause them.
REPORTABLE = frozenset(
    {
        Event.STAGING,
        Event.STARTING,
        Event.RUNNING,
        Event.SUCCEED,
        Event.FAIL,
        Event.STOPPED,
        Event.INTERRUPTED,
        Event.REFUSE,
    }
)


def command_to_wire(command: Command) -> pb.Command:
    match command.order:
        case Start() as start:
            return _start_to_wire(command, start)
        case Stop() as stop:
            return _stop_to_wire(command, stop)
        case Scale() as scale:
            return _scale_to_wire(command, scale)


@fits("start")
def _start_to_wire(command: Command, start: Start) -> pb.Command:
    body = pb.Start(objects_json=objects_to_json(start.objects), workload=_workload_to_wire(start.workload))
    body.spot = start.spot
    body.moves.extend(_move_to_wire(move) for move in start.moves)
    return pb.Command(id=command.id, ref=ref_to_wire(command.ref), start=body)


def _move_to_wire(move: DataMove) -> pb.DataMove:
    """Without its price, and without its target, which is the cluster that is told."""
    return pb.DataMove(
        dataset=move.dataset,
        size_bytes=move.size_bytes,
        source_region=move.source.region,
        source_cluster=move.source.cluster,
        source_uri=move.source.uri,
        place=move.place,
        secret=move.secret,
    )


@fits("stop")
def _stop_to_wire(command: Command, stop: Stop) -> pb.Command:
    return pb.Command(
        id=command.id, ref=ref_to_wire(command.ref), stop=pb.Stop(grace_s=stop.grace_s, reason=stop.reason)
    )


@fits("scale")
def _scale_to_wire(command: Command, scale: Scale) -> pb.Command:
    pods = [pb.RolePods(role=role, pods=count) for role, count in scale.pods.items()]
    body = pb.Scale(revision=scale.revision, pods=pods, reason=scale.reason)
    if scale.objects:
        body.objects_json = objects_to_json(scale.objects)
    return pb.Command(id=command.id, ref=ref_to_wire(command.ref), scale=body)


def commands_from_wire(message: pb.Commands) -> tuple[list[Command], list[tuple[pb.Command, ProtocolError]]]:
    return each(message.commands, command_from_wire)


def command_from_wire(message: pb.Command) -> Command:
    if not message.id:
        raise ProtocolError("command.id", "is missing")
    ref = ref_from_wire(message.ref, "command.ref")
    match message.WhichOneof("order"):
        case "start":
            start = message.start
            objects = objects_from_json(start.objects_json, "start.objects_json")
            workload = workload_from_wire(start.workload, "start.workload")
            return Command(message.id, ref, Start(objects, workload, start.spot, _moves(start)))
        case "stop":
            if not 0 <= message.stop.grace_s < float("inf"):
                raise ProtocolError("stop.grace_s", f"{message.stop.grace_s} is not a number of seconds from 0 on")
            return Command(message.id, ref, Stop(message.stop.grace_s, message.stop.reason))
        case "scale":
            return Command(message.id, ref, _scale_from_wire(message.scale))
        case _:
            raise ProtocolError("command.order", "is nothing known here; is this agent older than its hub?")


def _scale_from_wire(message: pb.Scale) -> Scale:
    if not message.revision:
        raise ProtocolError("scale.revision", "is missing; it starts at 1")
    pods = {each.role: each.pods for each in message.pods}
    if not pods or "" in pods or len(pods) < len(message.pods):
        raise ProtocolError("scale.pods", "names no role, or one without a name, or one twice")
    objects = objects_from_json(message.objects_json, "scale.objects_json") if message.objects_json else ()
    return Scale(message.revision, pods, message.reason, objects)


def _move_from_wire(message: pb.DataMove, where: str) -> DataMove:
    if not message.dataset:
        raise ProtocolError(f"{where}.dataset", "is missing")
    source = Replica(message.source_region, message.source_cluster, message.source_uri)
    return DataMove(message.dataset, message.size_bytes, source, "", 0.0, 0.0, message.place, message.secret)


def moves_to_wire(moves: Sequence[DataMove]) -> bytes:
    """As a ledger keeps them."""
    return pb.Start(moves=[_move_to_wire(move) for move in moves]).SerializeToString()


def moves_from_wire(text: bytes) -> tuple[DataMove, ...]:
    return _moves(pb.Start.FromString(text))


def _moves(start: pb.Start) -> tuple[DataMove, ...]:
    return tuple(_move_from_wire(move, f"start.moves[{i}]") for i, move in enumerate(start.moves))


def objects_to_json(objects: Sequence[Object]) -> bytes:
    return orjson.dumps([dict(obj) for obj in objects])


def objects_from_json(text: bytes, where: str) -> tuple[Object, ...]:
    try:
        objects = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(where, f"is not JSON: {error}") from error
    if not isinstance(objects, list) or not objects or not all(isinstance(obj, dict) for obj in objects):
        raise ProtocolError(where, "is not a list of one or more objects")
    return tuple(objects)


@fits("ack")
def ack_to_wire(ack: CommandAck) -> pb.CommandAck:
    return pb.CommandAck(
        id=ack.id, ref=ref_to_wire(ack.ref), refused_code=ack.refused_code, refused_message=ack.refused_message
    )


def acks_from_wire(message: pb.CommandAcks) -> tuple[list[CommandAck], list[tuple[pb.CommandAck, ProtocolError]]]:
    return each(message.acks, ack_from_wire)


def ack_from_wire(message: pb.CommandAck) -> CommandAck:
    if not message.id:
        raise ProtocolError("ack.id", "is missing")
    ref = ref_from_wire(message.ref, "ack.ref")
    return CommandAck(message.id, ref, message.refused_code, message.refused_message)


# ---- data: found up ----


@fits("datasets")
def found_to_wire(found: Sequence[DataFound]) -> pb.Datasets:
    return pb.Datasets(found=[pb.DataFound(uri=one.uri, size_bytes=one.size_bytes) for one in found])


def found_from_wire(message: pb.Datasets) -> tuple[list[DataFound], list[tuple[pb.DataFound, ProtocolError]]]:
    return each(message.found, _found_from_wire)


def _found_from_wire(message: pb.DataFound) -> DataFound:
    namespace, _, claim = message.uri.removeprefix(CLAIM).partition("/")
    if not message.uri.startswith(CLAIM) or not namespace or not claim or "/" in claim or len(message.uri) > MAX_URI:
        raise ProtocolError("found.uri", f"{message.uri[:100]!r} is no claim")
    if message.size_bytes > MAX_BYTES:
        raise ProtocolError("found.size_bytes", f"{message.size_bytes} is more than there is")
    return DataFound(message.uri, message.size_bytes)


def kind_files_to_wire(files: Mapping[str, str]) -> pb.KindFiles:
    return pb.KindFiles(files=[pb.KindFile(name=name, text=text) for name, text in sorted(files.items())])


def kind_files_from_wire(message: pb.KindFiles) -> dict[str, str]:
    return {one.name: one.text for one in message.files}


def ref_to_wire(ref: JobRef) -> pb.JobEpoch:
    return pb.JobEpoch(job=ref.job, epoch=ref.epoch)


def ref_from_wire(message: pb.JobEpoch, where: str) -> JobRef:
    if not message.job:
        raise ProtocolError(f"{where}.job", "is missing")
    if not message.epoch:
        raise ProtocolError(f"{where}.epoch", "is missing; epochs start at 1")
    return JobRef(message.job, message.epoch)


# ---- jobs: reports up ----


@fits("report")
def report_to_wire(report: Report) -> pb.Report:
    return pb.Report(
        ref=ref_to_wire(report.ref),
        seq=report.seq,
        event=report.event,
        reason=report.reason,
        roles=[
            pb.RoleCount(role=r.role, ready=r.ready, succeeded=r.succeeded, failed=r.failed, total=r.total)
            for r in report.roles
        ],
        pods=[pb.PodPlace(pod=p.pod, role=p.role, node=p.node, gpus=p.gpus) for p in report.pods],
        at=report.at.timestamp(),
        checkpoint_at=report.checkpoint_at.timestamp() if report.checkpoint_at else 0.0,
        staging=_staging_to_wire(report.staging) if report.staging else None,
        stalled_since=report.stalled_since.timestamp() if report.stalled_since else 0.0,
        progress=_tally_to_wire(report.progress),
        retries=_tally_to_wire(report.retries),
        size=report.size,
        size_refused=report.size_refused,
    )


def _tally_to_wire(tally: Tally | None) -> pb.Tally | None:
    return None if tally is None else pb.Tally(done=tally.done, of=tally.of)


def _staging_to_wire(staging: Staging) -> pb.Staging:
    return pb.Staging(done_bytes=staging.done_bytes, total_bytes=staging.total_bytes, staged=staging.staged)


def reports_from_wire(message: pb.Reports) -> tuple[list[Report], list[tuple[pb.Report, ProtocolError]]]:
    return each(message.reports, report_from_wire)


def report_from_wire(message: pb.Report) -> Report:
    ref = ref_from_wire(message.ref, "report.ref")
    if not message.seq:
        raise ProtocolError("report.seq", "is missing; it starts at 1")
    event = enum_value(Event, message.event, "report.event")
    if event not in REPORTABLE:
        raise ProtocolError("report.event", f"'{event}' is not a spoke's to say")
    return Report(
        ref=ref,
        seq=message.seq,
        event=event,
        reason=message.reason,
        at=time_of(message.at, "report.at"),
        roles=tuple(RoleCount(r.role, r.ready, r.succeeded, r.failed, r.total) for r in message.roles),
        pods=tuple(PodPlace(p.pod, p.role, p.node, tuple(p.gpus)) for p in message.pods),
        checkpoint_at=time_of(message.checkpoint_at, "report.checkpoint_at") if message.checkpoint_at else None,
        stalled_since=time_of(message.stalled_since, "report.stalled_since") if message.stalled_since else None,
        staging=Staging(message.staging.done_bytes, message.staging.total_bytes, tuple(message.staging.staged))
        if message.HasField("staging")
        else None,
        progress=_tally_from_wire(message.progress, "report.progress") if message.HasField("progress") else None,
        retries=_tally_from_wire(message.retries, "report.retries") if message.HasField("retries") else None,
        size=message.size,
        size_refused=message.size_refused,
    )


def _tally_from_wire(message: pb.Tally, where: str) -> Tally:
    if max(message.done, message.of) > MAX_BYTES:
        raise ProtocolError(where, f"is {max(message.done, message.of)}, at most {MAX_BYTES} is allowed")
    return Tally(message.done, message.of if message.HasField("of") else None)


@fits("report_ack")
def report_ack_to_wire(ack: ReportAck) -> pb.ReportAck:
    return pb.ReportAck(ref=ref_to_wire(ack.ref), seq=ack.seq)


def report_acks_from_wire(message: pb.ReportAcks) -> tuple[list[ReportAck], list[tuple[pb.ReportAck, ProtocolError]]]:
    return each(message.acks, report_ack_from_wire)


def report_ack_from_wire(message: pb.ReportAck) -> ReportAck:
    return ReportAck(ref_from_wire(message.ref, "report_ack.ref"), message.seq)


# ---- logs ----


@fits("log_request")
def log_request_to_wire(request_id: int, query: LogQuery, window: int) -> pb.LogRequest:
    return pb.LogRequest(
        id=request_id,
        ref=ref_to_wire(query.ref),
        role=query.role,
        follow=query.follow,
        tail_lines=query.tail_lines,
        window=window,
        rank=query.rank,
        since=query.since.timestamp() if query.since else 0,
        previous=query.previous,
        timestamps=query.timestamps,
        container=query.container,
        after=dict(query.after),
        of=query.of,
    )


def log_query_from_wire(message: pb.LogRequest) -> LogQuery:
    return LogQuery(
        ref_from_wire(message.ref, "log_request.ref"),
        message.role,
        message.follow,
        tail_lines=message.tail_lines,
        rank=message.rank if message.HasField("rank") else None,
        since=time_of(message.since, "log_request.since") if message.since else None,
        previous=message.previous,
        timestamps=message.timestamps,
        container=message.container,
        after=tuple(sorted(message.after.items())),
        of=message.of,
    )


@fits("log_chunk")
def log_lines_to_wire(request_id: int, lines: LogLines) -> pb.LogChunk:
    return pb.LogChunk(id=request_id, pod=lines.pod, data=lines.data, position=lines.position)


def log_lines_from_wire(message: pb.LogChunk) -> LogLines:
    return LogLines(message.pod, message.data, message.position)


# ---- the workload ----


@fits("workload")
def workload_to_wire(workload: Workload) -> pb.Workload:
    return _workload_to_wire(workload)


def _workload_to_wire(workload: Workload) -> pb.Workload:
    return pb.Workload(
        api_version=workload.api_version,
        kind=workload.kind,
        name=workload.name,
        namespace=workload.namespace,
        roles=[_role_to_wire(role) for role in workload.roles],
        min_pods=workload.awaited_pods,
        topology_level=workload.topology.level if workload.topology else "",
        topology_mode=workload.topology.mode if workload.topology else "",
        long_running=workload.long_running,
        priority=workload.hints.priority,
        data=[pb.DataUse(name=use.name, checkpoint=use.checkpoint) for use in workload.data],
        groups=workload.groups if workload.groups > 1 else 0,
    )


def _role_to_wire(role: Role) -> pb.Role:
    return pb.Role(
        name=role.name,
        replicas=role.replicas,
        minimum=0 if role.late else role.minimum,  # the spoke is told what to wait for
        requests=dict(role.requests),
        devices=[pb.DeviceNeed(resource=d.resource, amount=d.amount, is_share=d.is_share) for d in role.devices],
        constraint=_constraint_to_wire(role.constraint),
        products=role.products,
        maximum=role.maximum or 0,
        topology_level=role.topology.level if role.topology else "",
        topology_mode=role.topology.mode if role.topology else "",
        slice_size=role.slices.size if role.slices else 0,
        slice_level=role.slices.level if role.slices else "",
        stage=role.stage,
        stage_minimum=role.minimum if role.stage else 0,
    )


def _constraint_to_wire(constraint: NodeConstraint) -> pb.NodeConstraint:
    return pb.NodeConstraint(
        terms=[
            pb.Term(
                requirements=[
                    pb.LabelRequirement(key=r.key, operator=r.operator, values=r.values) for r in requirements
                ]
            )
            for requirements in constraint.terms
        ],
        tolerations=[
            pb.Toleration(key=t.key, operator=t.operator, value=t.value, effect=t.effect)
            for t in constraint.tolerations
        ],
    )


def workload_from_wire(message: pb.Workload, where: str = "workload") -> Workload:
    for name, value in (("api_version", message.api_version), ("kind", message.kind), ("name", message.name)):
        if not value:
            raise ProtocolError(f"{where}.{name}", "is missing")
    return Workload(
        api_version=message.api_version,
        kind=message.kind,
        name=message.name,
        namespace=message.namespace,
        roles=tuple(_role_from_wire(role, f"{where}.roles[{i}]") for i, role in enumerate(message.roles)),
        min_pods=message.min_pods,
        topology=_topology_from_wire(message, where),
        hints=Hints(priority=message.priority),
        data=tuple(DataUse(use.name, use.checkpoint) for use in message.data),
        long_running=message.long_running,
        awaited=message.min_pods if any(role.stage for role in message.roles) else None,
        groups=_groups_from_wire(message, where),
    )


def _groups_from_wire(message: pb.Workload, where: str) -> int:
    groups = message.groups or 1
    for amount in (message.min_pods, *(role.replicas for role in message.roles)):
        if amount % groups:
            raise ProtocolError(f"{where}.groups", f"{amount} pods are not {groups} equal parts")
    return groups


def _topology_from_wire(message: pb.Workload | pb.Role, where: str) -> TopologyRequest | None:
    if not message.topology_level:
        return None
    mode = enum_value(TopologyMode, message.topology_mode, f"{where}.topology_mode")
    return TopologyRequest(message.topology_level, mode)


def _slices_from_wire(message: pb.Role, where: str) -> SliceRequest | None:
    if not message.slice_size:
        return None
    if not message.slice_level:
        raise ProtocolError(f"{where}.slice_level", "is missing")
    return SliceRequest(message.slice_size, message.slice_level)


def _role_from_wire(message: pb.Role, where: str) -> Role:
    terms = tuple(
        tuple(
            LabelRequirement(r.key, enum_value(Operator, r.operator, f"{where}.constraint.operator"), tuple(r.values))
            for r in term.requirements
        )
        for term in message.constraint.terms
    )
    tolerations = tuple(Toleration(t.key, t.operator, t.value, t.effect) for t in message.constraint.tolerations)
    return Role(
        name=message.name,
        replicas=message.replicas,
        minimum=message.stage_minimum if message.stage else message.minimum,
        requests=amounts_of(message.requests, f"{where}.requests"),
        devices=tuple(DeviceNeed(d.resource, d.amount, d.is_share) for d in message.devices),
        constraint=NodeConstraint(terms, tolerations),
        products=tuple(message.products),
        maximum=message.maximum or None,
        topology=_topology_from_wire(message, where),
        slices=_slices_from_wire(message, where),
        late=message.stage > 0,
        stage=message.stage,
    )
