from __future__ import annotations

from dataclasses import replace

from placement import planner
from placement.fleet import Fleet, PendingJob
from placement.presence import ObjectName, in_words, needed
from placement.verdict import KindNotServed, ObjectsMissing, Placed, Waiting
from placement.workload import Brought, Reference, Workload
from tests.placement.worlds import NOW, cluster, gpu_node, role
from tests.placement.worlds import workload as of_roles


def workload() -> Workload:
    return of_roles(role())


def test_what_is_looked_for() -> None:
    named = replace(
        workload(),
        namespace="team",
        references=(
            Reference("Secret", "token"),
            Reference("PriorityClass", "high"),
            Reference("ConfigMap", "{{workflow.name}}"),
            Reference("PersistentVolumeClaim", "copied"),
            Reference("PersistentVolumeClaim", "data"),
            Reference("NetworkAttachmentDefinition", "rdma", "fabric"),
        ),
    )
    found = needed(named, {"pvc://team/copied"})
    assert [one.words for one in found] == [
        "Secret team/token",
        "PersistentVolumeClaim team/data",
        "NetworkAttachmentDefinition fabric/rdma",
    ]
    many = [ObjectName("Secret", "n", f"s{number}") for number in range(7)]
    assert in_words(many).endswith("Secret n/s4 and 2 more")


def test_a_job_goes_where_nothing_is_missing_and_else_says_what_is() -> None:
    fleet = Fleet({name: cluster(name, [gpu_node(f"{name}-1")]) for name in ("a", "b")})
    lacking = {"a": ("Secret team/token",)}
    job = PendingJob("j", 1, workload(), "red", NOW, lacking=lacking)
    kept = planner.Planner()
    for _ in range(2):  # what is remembered of its like must not hide it
        decided = kept.plan(fleet, [PendingJob("x", 1, workload(), "red", NOW), job], NOW).decisions
        where = {one.job: one.verdict.cluster for one in decided if isinstance(one.verdict, Placed)}
        assert where == {"x": "a", "j": "b"}
    both = replace(job, lacking={**lacking, "b": ("ConfigMap team/c",)})
    (decision,) = kept.plan(fleet, [both], NOW).decisions
    assert isinstance(decision.verdict, Waiting)
    assert {type(reason) for reason in decision.verdict.reasons} == {ObjectsMissing}
    assert "b has no ConfigMap team/c, which the job names" in decision.verdict.reasons[1].message
    (again,) = kept.plan(fleet, [job], NOW).decisions
    assert isinstance(again.verdict, Placed)


def test_what_is_needed_of_an_installed_kind_decides_and_what_is_wished_is_told() -> None:
    monitor, dataset = "monitoring.coreos.com/v1/PodMonitor", "data.fluid.io/v1alpha1/Dataset"
    fleet = Fleet({"a": cluster("a", [gpu_node("a-1")])})
    wished = replace(workload(), brings=(Brought(monitor, "m", False),))
    (decision,) = planner.plan(fleet, [PendingJob("j", 1, wished, "red", NOW)], NOW).decisions
    assert isinstance(decision.verdict, Placed)
    assert decision.candidates[0].without == ("PodMonitor m",)
    needed_ = replace(workload(), brings=(Brought(dataset, "d", True),))
    (decision,) = planner.plan(fleet, [PendingJob("j", 1, needed_, "red", NOW)], NOW).decisions
    assert decision.candidates[0].reasons == (KindNotServed("a", dataset),)
