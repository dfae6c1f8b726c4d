import pytest

from placement.kinds import observe, podgroups, reader, samples
from placement.kinds.catalogue import Catalogue, CatalogueError
from placement.kinds.kind import Kind
from placement.lifecycle import Event

# A kind that Muster does not come with: a file is all it takes.
FLEET = """
kind: Fleet
group: example.com
versions: [v1, v2]
roles:
  form: list
  at: spec.squads
  name: squad
  name_path: title
  template: pod
  replicas: {path: size, default: 2}
gang: {minimum: all, paths: [spec.quorum]}
queue: [spec.lane]
status:
  - {event: succeed, when: {path: status.done, one_of: [true]}}
  - {event: running, when: {all_of: [{sum: [status.up.*], at_least: gang}, {negate: {exists: status.error}}]}}
"""


def test_builtin_kinds() -> None:
    assert {kind.resource_kind for kind in Catalogue.builtin().kinds} == {
        "batch/v1/Job",
        "kubeflow.org/v1/PyTorchJob",
        "kubeflow.org/v1/TFJob",
        "ray.io/v1/RayCluster",
        "ray.io/v1alpha1/RayCluster",
        "ray.io/v1/RayJob",
        "ray.io/v1alpha1/RayJob",
        "ray.io/v1/RayService",
        "ray.io/v1alpha1/RayService",
        "jobset.x-k8s.io/v1alpha2/JobSet",
        "leaderworkerset.x-k8s.io/v1/LeaderWorkerSet",
        "serving.kserve.io/v1beta1/InferenceService",
        "sparkoperator.k8s.io/v1beta2/SparkApplication",
        "argoproj.io/v1alpha1/Workflow",
        "machinelearning.seldon.io/v1/SeldonDeployment",
        "machinelearning.seldon.io/v1alpha3/SeldonDeployment",
        "machinelearning.seldon.io/v1alpha2/SeldonDeployment",
        "kubeflow.org/v1/MPIJob",
        "kubeflow.org/v2beta1/MPIJob",
        "kubeflow.org/v1/XGBoostJob",
        "kubeflow.org/v1/PaddleJob",
        "kubeflow.org/v1beta1/Experiment",
        "trainer.kubeflow.org/v1alpha1/TrainJob",
        "muster.dev/v1/PodGroup",
        "kubeflow.org/v1/Notebook",
        "kubeflow.org/v1beta1/Notebook",
        "kubeflow.org/v1alpha1/Notebook",
        "batch.volcano.sh/v1alpha1/Job",
        "apps/v1/Deployment",
        "apps/v1/StatefulSet",
        "v1/Pod",
    }


def test_a_new_kind_is_a_file() -> None:
    catalogue = Catalogue.loaded({"fleet.yaml": FLEET})
    text = b"""
apiVersion: example.com/v2
kind: Fleet
metadata: {name: f}
spec:
  quorum: 3
  lane: fast
  squads:
  - {title: red, pod: {spec: {containers: [{name: c, resources: {limits: {nvidia.com/gpu: 2}}}]}}}
  - {size: 3, pod: {spec: {containers: [{name: c}]}}}
"""
    (submission,) = reader.read(text, catalogue)
    workload = submission.workload
    assert [(role.name, role.replicas, role.gpus_per_pod) for role in workload.roles] == [
        ("red", 2, 2),
        ("squad1", 3, 0),
    ]
    assert (workload.min_pods, workload.hints.queue, workload.resource_kind) == (3, "fast", "example.com/v2/Fleet")
    kind = catalogue.find("example.com/v2", "Fleet")
    assert kind is not None
    assert (
        observe.observe(kind, {**submission.manifest, "status": {"up": {"red": 1, "squad1": 2}}}).event is Event.RUNNING
    )
    assert observe.observe(kind, {**submission.manifest, "status": {"up": {"red": 1}}}).event is None
    assert observe.observe(kind, {**submission.manifest, "status": {"done": True}}).event is Event.SUCCEED


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("kind: Fleet\n", "", "kind"),
        ("form: list", "form: heap", "form"),
        ("at: spec.squads", "at: spec..squads", "is not a path"),
        ("event: succeed", "event: vanish", "event"),
        ("{exists: status.error}", "{eval: status.error}", "negate"),
        ("queue:", "queues:", "queues"),
        ("kind: Fleet", "kind: [", "fleet.yaml"),
    ],
)
def test_a_wrong_kind_file_is_refused_with_its_name(before: str, after: str, said: str) -> None:
    with pytest.raises(CatalogueError, match=r"fleet\.yaml") as caught:
        Catalogue.loaded({"fleet.yaml": FLEET.replace(before, after)})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("emulate", "said"),
    [
        ('pod_name: "${nam}"', "is no variable"),
        ('pod_name: "${name}-${first_host.red}"\n  labels: [{key: a, value: "${typo}"}]', "is no variable"),
        ('pod_name: "${name}"\n  env: [{name: A, value: "${each_hosts}"}]', "is no variable"),
    ],
)
def test_variables_are_checked_when_loading(emulate: str, said: str) -> None:
    states = ", ".join(f"{state}: {{}}" for state in ("always", "pending", "running", "succeeded", "failed"))
    text = f"{FLEET}\nemulate:\n  {emulate}\n  succeeds: all\n  fails: any\n  status: {{{states}}}\n"
    with pytest.raises(CatalogueError, match=said):
        Catalogue.loaded({"fleet.yaml": text})


def test_counters_are_checked_when_loading() -> None:
    states = "always: {a: $reday}, pending: {}, running: {}, succeeded: {}, failed: {}"
    text = f'{FLEET}\nemulate: {{pod_name: "${{name}}", succeeds: all, fails: any, status: {{{states}}}}}\n'
    with pytest.raises(CatalogueError, match="is no counter"):
        Catalogue.loaded({"fleet.yaml": text})


def test_two_files_of_one_kind() -> None:
    with pytest.raises(CatalogueError, match="two kind files"):
        Catalogue.loaded({"a.yaml": FLEET, "b.yaml": FLEET})


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "&a [*a, *b]", "!!python/object:os.system {}", f"{FLEET}\n---\n{FLEET}"]
)
def test_a_file_from_outside_is_read_within_the_limits_of_a_manifest(text: str) -> None:
    catalogue = Catalogue.builtin()
    with pytest.raises(CatalogueError, match=r"^fleet: "):
        catalogue.replace_added({"fleet": text})
    assert catalogue.kinds == catalogue.own


SAMPLE = """
sample:
  manifest:
    spec:
      quorum: 3
      squads: [{title: red, size: 4, pod: {spec: {containers: [{name: c, resources: {limits: {nvidia.com/gpu: 2}}}]}}}]
  pods: 4
  gpus: 8
  gang: 3
  statuses:
    running: {up: {red: 3}}
    succeed: {done: true}
"""


# What Muster itself puts together of Pods cannot be written.
WRITTEN = [kind for kind in Catalogue.builtin().kinds if kind.resource_kind != podgroups.RESOURCE_KIND]


@pytest.mark.parametrize("kind", WRITTEN, ids=lambda kind: kind.resource_kind)
def test_every_kind_has_a_sample_with_a_status_of_each_sort(kind: Kind) -> None:
    sample = kind.rules.sample
    assert sample is not None
    assert None not in (sample.gpus, sample.gang)
    assert set(sample.statuses) >= {rule.event for rule in kind.rules.status}
    assert list(samples.problems(kind, Catalogue.builtin().kinds)) == [], "of this version too"


def test_a_sample_is_read_by_its_file() -> None:
    (kind, *_) = Catalogue.loaded({}).read_file("fleet.yaml", FLEET + SAMPLE)
    assert kind.rules.sample is not None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("pods: 4", "pods: 5", "sample.pods is 5, and 4 are read"),
        ("gpus: 8", "gpus: 4", "sample.gpus is 4, and 8 are read"),
        ("gang: 3", "gang: 4", "sample.gang is 4, and 3 are read"),
        ("paths: [spec.quorum]", "paths: [spec.qorum]", "sample.gang is 3, and 4 are read"),
        ("size: 4", "size: many", "sample.manifest cannot be read"),
        ("running: {up: {red: 3}}", "running: {up: {red: 2}}", "sample.statuses.running: that status says"),
        ("succeed: {done: true}", "fail: {done: true}", "sample.statuses.fail: that status says succeed"),
        ("pods: 4", "podds: 4", "podds"),
        ("  pods: 4\n", "", "pods"),
    ],
)
def test_a_file_that_its_own_sample_contradicts_is_not_taken(old: str, new: str, words: str) -> None:
    text = FLEET + SAMPLE
    assert text.count(old) == 1
    with pytest.raises(CatalogueError, match=words):
        Catalogue.loaded({}).read_file("fleet.yaml", text.replace(old, new))
    with pytest.raises(CatalogueError, match=words):
        Catalogue.loaded({"fleet.yaml": text.replace(old, new)})


SWEEP = """
kind: Sweep
group: tuning.example.com
versions: [v1]
nested: {at: spec.each, name: run, times: {path: spec.atOnce}}
gang: {minimum: all}
status:
  - {event: succeed, when: {path: status.done, one_of: [true]}}
"""


def test_an_added_kind_may_be_made_of_others() -> None:
    catalogue = Catalogue.builtin()
    catalogue.replace_added({"sweep": SWEEP, "fleet": FLEET})
    for each, roles in (
        ("kind: Fleet, apiVersion: example.com/v1, spec: {squads: [{title: a, size: 3, pod: POD}]}", {"a": 6}),
        ("kind: Job, apiVersion: batch/v1, spec: {parallelism: 2, template: POD}", {"worker": 4}),
    ):
        pod = "{spec: {restartPolicy: Never, containers: [{name: m}]}}"
        spec = f"{{atOnce: 2, each: {{{each.replace('POD', pod)}}}}}"
        text = f"apiVersion: tuning.example.com/v1\nkind: Sweep\nmetadata: {{name: s}}\nspec: {spec}"
        (one,) = reader.read(text.encode(), catalogue)
        assert {role.name: role.replicas for role in one.workload.roles} == roles


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("nested: {at: spec.each, name: run, times: {path: spec.atOnce}}\n", ""), "give one of the two"),
        (("gang:", "companion: nobody\ngang:"), "companion: nobody is none; known: kserve-runtime, trainer-runtime"),
    ],
)
def test_a_file_that_says_nothing_of_pods_is_refused(changes: tuple[str, str], words: str) -> None:
    with pytest.raises(CatalogueError, match=words):
        Catalogue.builtin().read_file("sweep", SWEEP.replace(*changes))
