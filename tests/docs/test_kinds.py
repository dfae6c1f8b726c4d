import runpy
from pathlib import Path

from placement.kinds import observe, reader
from placement.kinds.catalogue import Catalogue
from placement.lifecycle import Event

DOCS = Path(__file__).resolve().parents[2] / "docs"

SWEEP = b"""
apiVersion: tuning.example.com/v1
kind: Sweep
metadata: {name: s}
spec:
  coordinator: {template: {spec: {containers: [{name: c}]}}}
  trials:
  - title: wide
    count: 4
    min: 2
    max: 8
    podTemplate: {spec: {containers: [{name: t, resources: {limits: {nvidia.com/gpu: 2}}}]}}
"""


def test_the_page_is_drawn_from_the_kind_files() -> None:
    drawn = runpy.run_path(str(DOCS / "draw_kinds.py"))["page"]()
    assert (DOCS / "kinds.md").read_text() == drawn, "run: make generate"


def test_the_example_of_a_kind_file_works() -> None:
    _, _, rest = (DOCS / "kinds.md").read_text().partition("```yaml\n")
    catalogue = Catalogue.loaded({"sweep.yaml": rest.partition("```")[0]})
    (submission,) = reader.read(SWEEP, catalogue)
    workload = submission.workload
    assert [(role.name, role.minimum, role.replicas, role.maximum) for role in workload.roles] == [
        ("coordinator", 1, 1, None),
        ("wide", 2, 4, 8),
    ]
    assert (workload.min_pods, workload.total_gpus) == (3, 8)
    kind = catalogue.find("tuning.example.com/v1", "Sweep")
    assert kind is not None
    done = {**submission.manifest, "status": {"trials": [{"state": "done"}]}}
    assert observe.observe(kind, done).event is Event.SUCCEED
    assert observe.observe(kind, {**submission.manifest, "status": {"ready": 3}}).event is Event.RUNNING
