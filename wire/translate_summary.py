"""The capacity summary between message and value; `wire.translate` is the same for everything about jobs.

Incoming indices are checked: what passes never points beyond the lists it came with.
"""

from __future__ import annotations

from placement.inventory import DeviceClass, DeviceForm, DomainGroup, NodeClass, Shape, Summary, Taint
from wire import link_pb2 as pb
from wire import policies
from wire.checks import ProtocolError, amounts_of, enum_value, fits
from wire.translate import ref_from_wire

_REASONS = 100  # kept of one summary, for people


@fits("summary")
def summary_to_wire(summary: Summary) -> pb.Summary:
    counted, sizes = summary.counted, {(job, epoch): size for job, epoch, size in summary.resized}
    return pb.Summary(
        revision=summary.revision,
        levels=[pb.Level(name=name, label=label) for name, label in summary.levels],
        node_classes=[_node_class_to_wire(node_class) for node_class in summary.node_classes],
        shapes=[
            pb.Shape(node_class=s.node_class, free=dict(s.free), nodes=s.nodes, shares=s.shares) for s in summary.shapes
        ],
        domains=[
            pb.DomainGroup(
                level=group.level,
                count=group.count,
                nodes=[pb.ShapeCount(shape=shape, nodes=nodes) for shape, nodes in group.nodes],
                example=group.example,
                children=[pb.ChildCount(group=child, count=count) for child, count in group.children],
            )
            for group in summary.domains
        ],
        kinds=sorted(summary.kinds),
        hidden_labels=sorted(summary.hidden_labels),
        counted=[pb.JobEpoch(job=job, epoch=epoch, size=sizes.get((job, epoch), 0)) for job, epoch in sorted(counted)],
        resizes=summary.resizes,
        gpus_total=summary.gpus_total,
        gpus_free=summary.gpus_free,
        nodes_total=summary.nodes_total,
        unusable=pb.Unusable(gpus=summary.gpus_unusable, reasons=summary.why_unusable),
        policy=None if summary.policy is None else policies.to_wire(summary.policy),
    )


def _node_class_to_wire(node_class: NodeClass) -> pb.NodeClass:
    return pb.NodeClass(
        labels=dict(node_class.labels),
        taints=[pb.Taint(key=t.key, value=t.value, effect=t.effect) for t in node_class.taints],
        devices=[
            pb.DeviceClass(
                resource=d.resource,
                vendor=d.vendor,
                product=d.product,
                memory_mib=d.memory_mib,
                form=d.form,
                share_unit_mib=d.share_unit_mib,
            )
            for d in node_class.devices
        ],
        capacity=dict(node_class.capacity),
    )


def summary_from_wire(message: pb.Summary) -> Summary:
    counted = [(ref_from_wire(ref, "summary.counted"), ref.size) for ref in message.counted]
    return Summary(
        revision=message.revision,
        levels=tuple((level.name, level.label) for level in message.levels),
        node_classes=tuple(_node_class_from_wire(c, i) for i, c in enumerate(message.node_classes)),
        shapes=tuple(_shape_from_wire(s, i, len(message.node_classes)) for i, s in enumerate(message.shapes)),
        domains=tuple(_domains_from_wire(group, i, message) for i, group in enumerate(message.domains)),
        kinds=frozenset(message.kinds),
        hidden_labels=frozenset(message.hidden_labels),
        counted=frozenset((ref.job, ref.epoch) for ref, _ in counted),
        resized=frozenset((ref.job, ref.epoch, size) for ref, size in counted if size),
        resizes=message.resizes,
        gpus_total=message.gpus_total,
        gpus_free=message.gpus_free,
        nodes_total=message.nodes_total,
        gpus_unusable=message.unusable.gpus,
        why_unusable=tuple(message.unusable.reasons[:_REASONS]),
        policy=policies.from_wire(message.policy, "summary.policy") if message.HasField("policy") else None,
    )


def _node_class_from_wire(message: pb.NodeClass, index: int) -> NodeClass:
    where = f"summary.node_classes[{index}]"
    return NodeClass(
        labels=tuple(sorted(message.labels.items())),
        taints=tuple(Taint(t.key, t.value, t.effect) for t in message.taints),
        devices=tuple(
            DeviceClass(
                resource=d.resource,
                vendor=d.vendor,
                product=d.product,
                memory_mib=d.memory_mib,
                form=enum_value(DeviceForm, d.form, f"{where}.devices.form"),
                share_unit_mib=d.share_unit_mib,
            )
            for d in message.devices
        ),
        capacity=amounts_of(message.capacity, f"{where}.capacity"),
    )


def _shape_from_wire(message: pb.Shape, index: int, node_classes: int) -> Shape:
    where = f"summary.shapes[{index}]"
    if message.node_class >= node_classes:
        raise ProtocolError(f"{where}.node_class", f"{message.node_class} is beyond the {node_classes} classes sent")
    return Shape(message.node_class, amounts_of(message.free, f"{where}.free"), message.nodes, tuple(message.shares))


def _domains_from_wire(message: pb.DomainGroup, index: int, summary: pb.Summary) -> DomainGroup:
    where = f"summary.domains[{index}]"
    if not message.level:
        raise ProtocolError(f"{where}.level", "is missing")
    shapes, groups = len(summary.shapes), len(summary.domains)
    for count in message.nodes:
        if count.shape >= shapes:
            raise ProtocolError(f"{where}.nodes.shape", f"{count.shape} is beyond the {shapes} shapes sent")
    for child in message.children:
        if child.group >= groups:
            raise ProtocolError(f"{where}.children.group", f"{child.group} is beyond the {groups} domains sent")
    nodes = tuple((count.shape, count.nodes) for count in message.nodes)
    children = tuple((child.group, child.count) for child in message.children)
    return DomainGroup(message.level, message.count, nodes, message.example, children)
