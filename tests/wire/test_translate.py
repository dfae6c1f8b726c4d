from __future__ import annotations

import contextlib
import dataclasses
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.data import DataMove, Replica
from placement.inventory import DeviceClass, DeviceForm, DomainGroup, NodeClass, Shape, Summary, Taint
from placement.lifecycle import Event
from placement.resources import Resources
from placement.safety.levels import Level
from placement.safety.policy import Exemption, Policy
from placement.tally import Tally
from placement.workload import (
    DeviceNeed,
    Hints,
    IfTooLarge,
    LabelRequirement,
    NodeConstraint,
    Operator,
    Reference,
    Role,
    Toleration,
    TopologyMode,
    TopologyRequest,
    Workload,
)
from wire import link_pb2 as pb
from wire import translate, translate_summary
from wire.checks import ProtocolError
from wire.orders import (
    Command,
    CommandAck,
    DataFound,
    JobRef,
    LogLines,
    LogQuery,
    PodPlace,
    Report,
    ReportAck,
    RoleCount,
    Staging,
    Start,
    Stop,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
name = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
count = st.integers(0, 2**32 - 1)
big = st.integers(1, 2**63 - 1)
amounts = st.dictionaries(name, st.integers(-(2**62), 2**62), max_size=4).map(Resources)
refs = st.builds(JobRef, name, st.integers(1, 2**32 - 1))


def tuples(items: st.SearchStrategy[object], most: int = 3) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(items, max_size=most).map(tuple)


constraints = st.builds(
    NodeConstraint,
    tuples(tuples(st.builds(LabelRequirement, text, st.sampled_from(Operator), tuples(text)))),
    tuples(st.builds(Toleration, text, st.sampled_from(["Equal", "Exists"]), text, text)),
)
roles = st.builds(
    Role,
    name=text,
    replicas=count,
    minimum=count,
    requests=amounts,
    devices=tuples(st.builds(DeviceNeed, text, count, st.booleans())),
    constraint=constraints,
    products=tuples(text),
    maximum=st.none() | st.integers(1, 2**32 - 1),
)
workloads = st.builds(
    Workload,
    api_version=name,
    kind=name,
    name=name,
    namespace=text,
    roles=tuples(roles),
    min_pods=count,
    topology=st.none() | st.builds(TopologyRequest, name, st.sampled_from(TopologyMode)),
    hints=st.builds(Hints, priority=st.integers(-(2**31), 2**31 - 1)),
    long_running=st.booleans(),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
objects = st.lists(st.dictionaries(text, json_values, max_size=4), min_size=1, max_size=3).map(tuple)
moves = st.builds(
    DataMove,
    name,
    st.integers(0, 2**63 - 1),
    st.builds(Replica, text, text, text),
    st.just(""),
    st.just(0.0),
    st.just(0.0),
    text,
    text,
)
commands = st.builds(
    Command,
    big,
    refs,
    st.builds(Start, objects, workloads, st.booleans(), tuples(moves))
    | st.builds(Stop, st.floats(0, 1e9, allow_nan=False), text),
)
tallies = st.builds(Tally, st.integers(0, translate.MAX_BYTES), st.none() | st.integers(0, translate.MAX_BYTES))
reports = st.builds(
    Report,
    ref=refs,
    seq=big,
    event=st.sampled_from(sorted(translate.REPORTABLE)),
    reason=text,
    at=st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    roles=tuples(st.builds(RoleCount, text, count, count, count, count)),
    pods=tuples(st.builds(PodPlace, text, text, text, tuples(count))),
    staging=st.none() | st.builds(Staging, st.integers(0, 2**63), st.integers(0, 2**63), tuples(text)),
    progress=st.none() | tallies,
    retries=st.none() | tallies,
)
device_classes = st.builds(DeviceClass, text, text, text, count, st.sampled_from(DeviceForm), count)
node_classes = st.builds(
    NodeClass,
    st.dictionaries(text, text, max_size=3).map(lambda labels: tuple(sorted(labels.items()))),
    tuples(st.builds(Taint, text, text, text)),
    tuples(device_classes),
    amounts,
)


namespaces = tuples(st.sampled_from(["*", "team-*", "a"]))
exemptions = st.builds(
    Exemption,
    namespaces,
    tuples(st.sampled_from(["hostNetwork", "nodeName"])),
    tuples(st.just("IPC_LOCK")),
    tuples(st.just("/data")),
    namespaces,
)
kinds = tuples(st.sampled_from(["*", "batch/v1/Job", "kubeflow.org/*"]))
policies = st.builds(Policy, st.sampled_from(Level), namespaces, kinds, tuples(exemptions))


@st.composite
def summaries(draw: st.DrawFn) -> Summary:
    classes = draw(st.lists(node_classes, max_size=3))
    shape = st.builds(Shape, st.integers(0, max(len(classes) - 1, 0)), amounts, count, tuples(count))
    shapes = draw(st.lists(shape, max_size=4)) if classes else []
    inside = tuples(st.tuples(st.integers(0, max(len(shapes) - 1, 0)), count)) if shapes else st.just(())
    groups = draw(tuples(st.builds(DomainGroup, name, count, inside, text)))
    finer = tuples(st.tuples(st.integers(0, len(groups) - 1), count)) if groups else st.just(())
    return Summary(
        revision=draw(st.integers(0, 2**63)),
        levels=draw(tuples(st.tuples(text, text))),
        node_classes=tuple(classes),
        shapes=tuple(shapes),
        domains=tuple(replace(group, children=draw(finer)) for group in groups),
        kinds=draw(st.frozensets(text, max_size=3)),
        hidden_labels=draw(st.frozensets(text, max_size=3)),
        counted=draw(st.frozensets(st.tuples(name, st.integers(1, 2**32 - 1)), max_size=3)),
        gpus_total=draw(count),
        gpus_free=draw(count),
        nodes_total=draw(count),
        policy=draw(st.none() | policies),
    )


@given(commands)
def test_commands_come_back(command: Command) -> None:
    sent = pb.Command.FromString(translate.command_to_wire(command).SerializeToString())
    assert translate.command_from_wire(sent) == command


@given(workloads)
def test_workloads_come_back(workload: Workload) -> None:
    sent = pb.Workload.FromString(translate.workload_to_wire(workload).SerializeToString())
    assert translate.workload_from_wire(sent) == workload


@given(reports)
def test_reports_come_back(report: Report) -> None:
    sent = pb.Report.FromString(translate.report_to_wire(report).SerializeToString())
    back = translate.report_from_wire(sent)
    assert abs(back.at - report.at) <= timedelta(microseconds=1)  # a double has no room for more
    assert dataclasses.replace(back, at=report.at) == report


@given(summaries())
@settings(max_examples=60)
def test_summaries_come_back(summary: Summary) -> None:
    sent = pb.Summary.FromString(translate_summary.summary_to_wire(summary).SerializeToString())
    assert translate_summary.summary_from_wire(sent) == summary


def test_a_control_that_a_newer_spoke_lifts_is_nothing_here() -> None:
    lifted = pb.Exemption(namespaces=["*"], controls=["hostNetwork", "of-tomorrow"])
    summary = pb.Summary(policy=pb.Policy(level="baseline", exemptions=[lifted]))
    found = translate_summary.summary_from_wire(summary).policy
    assert found is not None
    assert found.exemptions == (Exemption(controls=("hostNetwork",)),)


@given(refs, big, text, text)
def test_acks_come_back(ref: JobRef, number: int, code: str, message: str) -> None:
    ack = CommandAck(number, ref, code, message)
    assert translate.ack_from_wire(translate.ack_to_wire(ack)) == ack
    committed = ReportAck(ref, number)
    assert translate.report_ack_from_wire(translate.report_ack_to_wire(committed)) == committed


@given(refs, text, st.booleans(), count, text, st.binary(max_size=20))
def test_logs_come_back(ref: JobRef, role: str, follow: bool, tail: int, pod: str, data: bytes) -> None:
    query = LogQuery(ref, role, follow, tail)
    assert translate.log_query_from_wire(translate.log_request_to_wire(3, query, 1024)) == query
    whole = replace(query, rank=tail, since=datetime.fromtimestamp(tail + 1, UTC), previous=follow, timestamps=True)
    whole = replace(whole, container=role, after=((pod, "p"),), of="events")
    assert translate.log_query_from_wire(translate.log_request_to_wire(3, whole, 1024)) == whole
    assert not whole.is_plain and query.is_plain  # noqa: PT018
    lines = LogLines(pod, data, position=pod)
    assert translate.log_lines_from_wire(translate.log_lines_to_wire(3, lines)) == lines


def test_what_a_spoke_does_not_need_is_left_out() -> None:
    whole = Workload(
        "v1", "Pod", "p", "d", (), 1,
        hints=Hints(queue="q", priority=7, if_too_large=IfTooLarge.REJECT),
        references=(Reference("ConfigMap", "c"),), warnings=("did you mean",),
    )  # fmt: skip
    back = translate.workload_from_wire(translate.workload_to_wire(whole))
    assert back == dataclasses.replace(whole, hints=Hints(priority=7), references=(), warnings=())


WORKLOAD = Workload("v1", "Pod", "p", "d", (Role("pod", 1, 1, Resources({"cpu": 1})),), 1)
REF = JobRef("j-a", 1)
START = translate.command_to_wire(Command(1, REF, Start(({"kind": "Pod"},), WORKLOAD)))
REPORT = translate.report_to_wire(Report(REF, 1, Event.RUNNING, "", datetime(2026, 1, 1, tzinfo=UTC)))


def changed(message: pb.Command | pb.Report, path: str, value: object) -> pb.Command | pb.Report:
    copy = type(message)()
    copy.CopyFrom(message)
    *inner, last = path.split(".")
    target: object = copy
    for part in inner:
        target = getattr(target, part)
    setattr(target, last, value)
    return copy


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("id", 0, "command.id"),
        ("ref.job", "", "command.ref.job"),
        ("ref.epoch", 0, "command.ref.epoch"),
        ("start.objects_json", b"{", "start.objects_json"),
        ("start.objects_json", b"[]", "start.objects_json"),
        ("start.objects_json", b"[1]", "start.objects_json"),
        ("start.objects_json", b"[" * 5000, "start.objects_json"),
        ("start.workload.kind", "", "start.workload.kind"),
        ("stop.grace_s", -1.0, "stop.grace_s"),
        ("stop.grace_s", math.nan, "stop.grace_s"),
        ("stop.grace_s", math.inf, "stop.grace_s"),
    ],
)
def test_a_command_at_fault_names_its_field(path: str, value: object, field: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        translate.command_from_wire(changed(START, path, value))  # type: ignore[arg-type]  # a command in, a command out
    assert caught.value.field == field


def test_unknown_enum_values_name_their_field() -> None:
    bad = pb.Workload()
    bad.CopyFrom(START.start.workload)
    bad.topology_level, bad.topology_mode = "rack", "maybe"
    with pytest.raises(ProtocolError, match=r"workload.topology_mode: 'maybe' is none of required, preferred"):
        translate.workload_from_wire(bad)
    bad.topology_mode = "required"
    bad.roles[0].constraint.terms.add().requirements.add(key="gpu", operator="Like")
    with pytest.raises(ProtocolError, match=r"workload.roles\[0\].constraint.operator: 'Like'"):
        translate.workload_from_wire(bad)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("ref.job", "", "report.ref.job"),
        ("seq", 0, "report.seq"),
        ("event", "", "report.event"),
        ("event", "exploded", "report.event"),
        ("event", "cancel", "report.event"),  # an event, and not a spoke's to say
        ("event", "place", "report.event"),
        ("at", math.nan, "report.at"),
        ("at", 1e300, "report.at"),
    ],
)
def test_a_report_at_fault_is_set_aside_and_the_rest_is_read(path: str, value: object, field: str) -> None:
    bad = changed(REPORT, path, value)
    good, aside = translate.reports_from_wire(pb.Reports(reports=[REPORT, bad, REPORT]))  # type: ignore[list-item]
    assert [report.ref for report in good] == [REF, REF]
    assert [error.field for _, error in aside] == [field]


@pytest.mark.parametrize(
    ("summary", "field"),
    [
        (pb.Summary(shapes=[pb.Shape(node_class=0)]), "summary.shapes[0].node_class"),
        (pb.Summary(domains=[pb.DomainGroup(count=1)]), "summary.domains[0].level"),
        (pb.Summary(policy=pb.Policy(level="tight")), "summary.policy.level"),
        (pb.Summary(policy=pb.Policy(level="baseline", namespaces=["a*b*c*d*e*f*"])), "summary.policy.namespaces.0"),
        (pb.Summary(policy=pb.Policy(level="baseline", kinds=["a/b"] * 1001)), "summary.policy"),
        (
            pb.Summary(domains=[pb.DomainGroup(level="rack", nodes=[pb.ShapeCount(shape=3)])]),
            "summary.domains[0].nodes.shape",
        ),
        (
            pb.Summary(domains=[pb.DomainGroup(level="block", children=[pb.ChildCount(group=1)])]),
            "summary.domains[0].children.group",
        ),
        (
            pb.Summary(node_classes=[pb.NodeClass(devices=[pb.DeviceClass(form="odd")])]),
            "summary.node_classes[0].devices.form",
        ),
        (pb.Summary(node_classes=[pb.NodeClass(capacity={"": 3})]), "summary.node_classes[0].capacity"),
        (pb.Summary(counted=[pb.JobEpoch(job="j")]), "summary.counted.epoch"),
    ],
)
def test_a_summary_never_points_beyond_itself(summary: pb.Summary, field: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        translate_summary.summary_from_wire(summary)
    assert caught.value.field == field


@given(st.binary(max_size=200))
def test_whatever_bytes_make_a_message_only_protocol_errors_come_out(data: bytes) -> None:
    for kind, read in (
        (pb.Command, translate.command_from_wire),
        (pb.Report, translate.report_from_wire),
        (pb.Summary, translate_summary.summary_from_wire),
    ):
        try:
            message = kind.FromString(data)
        except Exception:
            continue  # protobuf's own refusal
        with contextlib.suppress(ProtocolError):
            read(message)  # type: ignore[operator]  # each with its own


@pytest.mark.parametrize(
    "value",
    [
        Report(REF, 1, Event.RUNNING, "", datetime(2026, 1, 1, tzinfo=UTC), (RoleCount("r", -1, 0, 0, 0),)),
        Report(REF, 2**64, Event.RUNNING, "", datetime(2026, 1, 1, tzinfo=UTC)),
        Report(REF, 1, Event.RUNNING, "\ud800", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_what_no_message_can_carry_is_said_so(value: Report) -> None:
    with pytest.raises(ProtocolError, match="report"):
        translate.report_to_wire(value)


def test_a_start_that_no_message_can_carry_is_said_so() -> None:
    with pytest.raises(ProtocolError, match="start"):
        translate.command_to_wire(Command(1, REF, Start(({"x": object()},), WORKLOAD)))


@given(st.lists(moves, max_size=3).map(tuple))
def test_moves_come_back_from_a_ledger(found: tuple[DataMove, ...]) -> None:
    assert translate.moves_from_wire(translate.moves_to_wire(found)) == found


def test_claims_come_back_and_what_is_none_is_dropped() -> None:
    found = [DataFound("pvc://ml/images", 5), DataFound("pvc://ml/empty", 0)]
    message = pb.Datasets.FromString(translate.found_to_wire(found).SerializeToString())
    for uri, size in (
        ("s3://bucket", 1),
        ("pvc://ml", 1),
        ("pvc://ml/a/b", 1),
        ("pvc://ml/" + "a" * 600, 1),
        ("pvc://a/b", 2**63),
    ):
        message.found.add(uri=uri, size_bytes=size)
    taken, errors = translate.found_from_wire(message)
    assert taken == found
    assert len(errors) == 5


def test_gangs_of_groups_and_stages_arrive_as_they_are() -> None:
    leader = Role("leader", 2, 2, Resources())
    worker = Role("worker", 6, 6, Resources(), late=True, stage=1)
    workload = Workload(
        "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "l", "n", (leader, worker), 8, awaited=2, groups=2
    )
    sent = translate.command_to_wire(Command(1, JobRef("j", 1), Start((), workload))).start.workload
    assert [role.minimum for role in sent.roles] == [2, 0], "a spoke that knows no stages waits for nobody of theirs"
    arrived = translate.workload_from_wire(sent)
    assert arrived == replace(workload, min_pods=2)
    sent.groups = 4
    with pytest.raises(ProtocolError, match=r"workload\.groups"):
        translate.workload_from_wire(sent)


def test_a_spoke_is_told_to_wait_for_what_is_there_to_wait_for() -> None:
    """Not for pods that others of the gang have to make first."""
    driver, executor = Role("driver", 1, 1, Resources()), Role("executor", 50, 5, Resources(), late=True)
    workload = Workload("sparkoperator.k8s.io/v1beta2", "SparkApplication", "s", "default", (driver, executor), 6)
    told = translate.command_to_wire(Command(1, JobRef("j", 1), Start((), workload))).start.workload
    assert (told.min_pods, [role.minimum for role in told.roles]) == (1, [1, 0])
