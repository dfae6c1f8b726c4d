"""Whoever hides what is forbidden, in whatever place of whatever kind, is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from placement.kinds.catalogue import Catalogue
from placement.safety import reading as safety_reading
from placement.safety.levels import Breach, Level
from placement.safety.reading import Reading

CATALOGUE = Catalogue.builtin()


def found(obj: dict[str, Any], **how: Any) -> list[Breach]:
    reading = Reading(**{"namespace": "own", **how})
    return list(safety_reading.footprint([obj], CATALOGUE, reading).breaches)


def controls(obj: dict[str, Any], level: Level = Level.BASELINE, **how: Any) -> dict[str, str]:
    """control -> path, of what that level forbids."""
    return {each.control: each.path for each in found(obj, **how) if level.forbids(each)}


def parsed(text: str) -> dict[str, Any]:
    obj: dict[str, Any] = yaml.safe_load(text)
    return obj


HIDDEN = [
    (  # Argo: templates that are no pod's spec
        """
kind: Workflow
apiVersion: argoproj.io/v1alpha1
metadata: {name: w}
spec:
  templates:
  - name: a
    container: {image: x, securityContext: {privileged: true}}
    volumes: [{name: v, hostPath: {path: /}}]
  - name: b
    script: {image: x}
    sidecars: [{name: s, image: x, securityContext: {capabilities: {add: [SYS_ADMIN]}}}]
""",
        {
            "privileged": "spec.templates[0].container.securityContext.privileged",
            "hostPath": "spec.templates[0].volumes[0].hostPath.path",
            "capabilities": "spec.templates[1].sidecars[0].securityContext.capabilities.add[0]",
        },
    ),
    ("kind: Workflow\nspec: {podSpecPatch: 'hostNetwork: true'}", {"unseen": "spec.podSpecPatch"}),
    (
        "kind: Workflow\nspec: {templates: [{resource: {action: create, manifest: 'kind: Pod'}}]}",
        {"unseen": "spec.templates[0].resource.manifest"},
    ),
    (  # Katib: a whole object inside
        """
kind: Experiment
spec:
  trialTemplate:
    trialSpec: {kind: Job, spec: {template: {spec: {hostPID: true, containers: [{name: a, image: x}]}}}}
""",
        {"hostPID": "spec.trialTemplate.trialSpec.spec.template.spec.hostPID"},
    ),
    (
        "kind: Experiment\nspec: {trialTemplate: {configMap: {configMapName: x, configMapNamespace: other}}}",
        {
            "unseen": "spec.trialTemplate.configMap",
            "namespace": "spec.trialTemplate.configMap.configMapNamespace",
        },
    ),
    (  # KServe: the predictor is a pod's spec without containers
        "kind: InferenceService\nspec: {predictor: {hostIPC: true, model: {securityContext: {procMount: Unmasked}}}}",
        {"hostIPC": "spec.predictor.hostIPC", "procMount": "spec.predictor.model.securityContext.procMount"},
    ),
    (  # … or with one, and a model beside it
        "kind: I\nspec: {predictor: {containers: [{name: a}], model: {ports: [{hostPort: 80}]}}}",
        {"hostPort": "spec.predictor.model.ports[0].hostPort"},
    ),
    (  # Ray: the submitter
        "kind: RayJob\nspec: {submitterPodTemplate: {spec: {hostNetwork: true, containers: [{name: a}]}}}",
        {"hostNetwork": "spec.submitterPodTemplate.spec.hostNetwork"},
    ),
    (  # Spark: volumes beside the driver, and settings that make volumes
        """
kind: SparkApplication
spec:
  volumes: [{name: v, hostPath: {path: /etc}}]
  driver: {hostNetwork: true, podSecurityContext: {sysctls: [{name: kernel.msgmax}]}}
""",
        {
            "hostPath": "spec.volumes[0].hostPath.path",
            "hostNetwork": "spec.driver.hostNetwork",
            "sysctls": "spec.driver.podSecurityContext.sysctls[0].name",
        },
    ),
    (
        "kind: S\nspec: {sparkConf: {spark.kubernetes.driver.volumes.hostPath.a.options.path: /etc}}",
        {"hostPath": 'spec.sparkConf["spark.kubernetes.driver.volumes.hostPath.a.options.path"]'},
    ),
    (
        "kind: S\nspec: {sparkConf: {spark.kubernetes.namespace: kube-system}}",
        {"namespace": 'spec.sparkConf["spark.kubernetes.namespace"]'},
    ),
    (
        "kind: S\nspec: {sparkConf: {spark.kubernetes.executor.podTemplateFile: s3://x}}",
        {"unseen": 'spec.sparkConf["spark.kubernetes.executor.podTemplateFile"]'},
    ),
    (  # where a boolean is a text that is filled in later
        "kind: W\nspec: {templates: [{hostNetwork: '{{inputs.parameters.net}}'}]}",
        {"hostNetwork": "spec.templates[0].hostNetwork"},
    ),
    ("kind: W\nspec: {a: [[{b: {hostPID: true}}]]}", {"hostPID": "spec.a[0][0].b.hostPID"}),
    ("kind: W\nspec: {t: {schedulerName: evil}}", {"schedulerName": "spec.t.schedulerName"}),
    ("kind: W\nspec: {t: {nodeName: n1}}", {"nodeName": "spec.t.nodeName"}),
    (
        "kind: W\nspec: {t: {priorityClassName: system-node-critical}}",
        {"priorityClassName": "spec.t.priorityClassName"},
    ),
    ("kind: W\nspec: {t: {metadata: {finalizers: [a.b/c]}}}", {"finalizers": "spec.t.metadata.finalizers"}),
    (
        "kind: W\nspec: {t: {metadata: {ownerReferences: [{uid: x}]}}}",
        {"ownerReferences": "spec.t.metadata.ownerReferences"},
    ),
    (
        "kind: W\nspec: {t: {metadata: {labels: {muster.dev/job: j-other}}}}",
        {"reserved": 'spec.t.metadata.labels["muster.dev/job"]'},
    ),
    (
        "kind: W\nspec: {t: {metadata: {annotations: {muster.dev/gpus: '0,1'}}}}",
        {"reserved": 'spec.t.metadata.annotations["muster.dev/gpus"]'},
    ),
    (
        "kind: I\nmetadata: {annotations: {container.apparmor.security.beta.kubernetes.io/a: unconfined}}",
        {"appArmorProfile": 'metadata.annotations["container.apparmor.security.beta.kubernetes.io/a"]'},
    ),
    (
        "kind: W\nspec: {t: {metadata: {annotations: {k8s.v1.cni.cncf.io/networks: 'a, kube-system/net@eth1'}}}}",
        {"namespace": 'spec.t.metadata.annotations["k8s.v1.cni.cncf.io/networks"]'},
    ),
    (
        """
kind: W
spec: {t: {metadata: {annotations: {k8s.v1.cni.cncf.io/networks: '[{"name":"a","namespace":"b"}]'}}}}
""",
        {"namespace": 'spec.t.metadata.annotations["k8s.v1.cni.cncf.io/networks"]'},
    ),
    ("kind: Service\nspec: {externalIPs: [1.2.3.4]}", {"externalIPs": "spec.externalIPs"}),
    (
        "kind: Service\nspec: {type: ExternalName, externalName: db.other.svc.cluster.local}",
        {"namespace": "spec.externalName"},
    ),
    ("kind: Secret\ntype: kubernetes.io/service-account-token", {"token": "type"}),
    (
        "apiVersion: monitoring.coreos.com/v1\nkind: PodMonitor\nspec: {namespaceSelector: {any: true}}",
        {"namespace": "spec.namespaceSelector.any"},
    ),
    (
        """
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
spec: {namespaceSelector: {matchNames: [own, other]}, endpoints: [{port: m, bearerTokenFile: /var/run/token}]}
""",
        {"namespace": "spec.namespaceSelector.matchNames[1]", "token": "spec.endpoints[0].bearerTokenFile"},
    ),
    (
        "apiVersion: data.fluid.io/v1alpha1\nkind: Dataset\nspec: {mounts: [{mountPoint: 'local:///etc'}]}",
        {"hostPath": "spec.mounts[0].mountPoint"},
    ),
    (
        """
apiVersion: data.fluid.io/v1alpha1
kind: JuiceFSRuntime
spec:
  fuse: {image: my/own}
  worker: {networkMode: HostNetwork}
  tieredstore: {levels: [{mediumtype: MEM, path: /dev/shm}, {mediumtype: SSD, path: /mnt/ssd}]}
""",
        {
            "privileged": "spec.fuse.image",
            "hostNetwork": "spec.worker.networkMode",
            "hostPath": "spec.tieredstore.levels[1].path",
        },
    ),
    (
        "kind: PersistentVolumeClaim\nspec: {dataSourceRef: {name: a, namespace: other}}",
        {"namespace": "spec.dataSourceRef.namespace"},
    ),
    (
        """
kind: Pod
spec:
  containers: [{name: a}]
  volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {dataSourceRef: {namespace: other}}}}}]
""",
        {"namespace": "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.dataSourceRef.namespace"},
    ),
    ("kind: X\nspec: {data: {pod: {hostPID: true}}}", {"hostPID": "spec.data.pod.hostPID"}),
]


@pytest.mark.parametrize(("text", "expected"), HIDDEN, ids=lambda value: str(value)[:40].strip())
def test_what_is_hidden_is_found(text: str, expected: dict[str, str]) -> None:
    assert controls(parsed(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "kind: ConfigMap\ndata: {privileged: 'true', hostNetwork: 'true', namespace: kube-system}",
        "kind: W\nspec: {selector: {matchLabels: {namespace: other, muster.dev/job: x}}}",
        "kind: W\nspec: {t: {hostNetwork: false, privileged: null, hostPort: 0, schedulerName: default-scheduler}}",
        "kind: Service\nspec: {type: ExternalName, externalName: db.own.svc.cluster.local}",
        "kind: Service\nspec: {type: ExternalName, externalName: svc.example.com}",
        "kind: Secret\ntype: Opaque\nstringData: {namespace: other}",
        "kind: W\nspec: {t: {metadata: {annotations: {k8s.v1.cni.cncf.io/networks: 'a,own/b@eth0'}}}}",
        "kind: Pod\nspec: {containers: [{name: a, env: [{name: NAMESPACE, value: other}]}], volumes: [{name: v}]}",
        "kind: W\nspec: {template: {resource: {requests: 1}}, namespace: own}",
        "apiVersion: data.fluid.io/v1\nkind: Dataset\nspec: {mounts: [{mountPoint: 's3://a'}, {mountPoint: 'pvc://c'}]}",
        "apiVersion: data.fluid.io/v1\nkind: AlluxioRuntime\nspec: {tieredstore: {levels: [{volumeType: emptyDir}]}}",
        "apiVersion: monitoring.coreos.com/v1\nkind: PodMonitor\nspec: {podMetricsEndpoints: [{port: metrics}]}",
    ],
)
def test_what_only_looks_like_it_is_not(text: str) -> None:
    assert controls(parsed(text)) == {}


def test_muster_marks_the_templates_that_the_kind_names_and_no_others() -> None:
    job = parsed(
        """
apiVersion: batch/v1
kind: Job
metadata: {name: j, labels: {muster.dev/job: old}, finalizers: [a/b]}
spec: {template: {metadata: {labels: {muster.dev/job: old}}, spec: {containers: [{name: a}]}}}
"""
    )
    assert controls(job) == {}  # all of it is dropped or written over when it is rendered
    assert controls(job, marks={"muster.dev/job": "j-1", "muster.dev/epoch": "1", "muster.dev/role": ""}) == {
        "finalizers": "metadata.finalizers",
        "reserved": 'metadata.labels["muster.dev/job"]',
    }


def test_a_kind_whose_pods_lie_elsewhere_cannot_be_said_to_be_restricted() -> None:
    job = parsed("apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {template: {spec: {}}}")
    assert controls(job) == {}
    assert controls(job, Level.RESTRICTED) == {"unseen": "spec"}


def test_an_argo_container_is_judged_as_restricted_as_a_pods() -> None:
    context = "{runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}"
    own = "{allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}"
    template = f"container: {{image: x, securityContext: {own}}}"
    good = f"kind: W\nspec: {{securityContext: {context}, templates: [{{{template}}}]}}"
    assert controls(parsed(good), Level.RESTRICTED) == {}
    bad = "kind: W\nspec: {templates: [{container: {image: x}}]}"
    assert set(controls(parsed(bad), Level.RESTRICTED)) == {
        "runAsNonRoot",
        "seccompProfile",
        "allowPrivilegeEscalation",
        "dropCapabilities",
    }


def test_a_host_path_beside_the_pods_is_read_only_where_every_mount_of_it_is() -> None:
    spark = "kind: S\nspec: {{volumes: [{{name: v, hostPath: {{path: /d}}}}], driver: {{volumeMounts: [{mount}]}}}}"
    (only_read,) = found(parsed(spark.format(mount="{name: v, readOnly: true}")))
    (written,) = found(parsed(spark.format(mount="{name: v}")))
    assert (only_read.read_only, written.read_only) == (True, False)


def test_the_number_of_breaches_and_of_values_is_bounded() -> None:
    many = {"kind": "W", "spec": [{"t": {"nodeName": f"n{i}"}} for i in range(1000)]}
    assert len(found(many)) == safety_reading.MAX_BREACHES + 1
    wide = {"kind": "W", "spec": [[] for _ in range(200_001)]}
    assert [(each.control, each.level) for each in found(wide)] == [("unseen", Level.PRIVILEGED)]
    deep: dict[str, Any] = {"hostPID": True}
    for _ in range(5000):
        deep = {"a": deep}
    assert [each.control for each in found({"kind": "W", "spec": deep})] == ["hostPID"]


@pytest.mark.parametrize("path", sorted(Path("deploy/demo").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_demos_jobs_break_nothing(path: Path) -> None:
    for obj in yaml.safe_load_all(path.read_text()):
        if obj.get("kind") != "Node" and "apiVersion" in obj:
            assert controls(obj, namespace="default") == {}


_WORDS = """
containers volumes securityContext capabilities add hostPath metadata annotations labels spec namespace ports template
container sidecars hostNetwork seLinuxOptions os resource trialTemplate k8s.v1.cni.cncf.io/networks
"""
KEYS = st.sampled_from(_WORDS.split())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
@example({"capabilities": {"add": [[]]}})
@example(
    {"schedulerName": [], "sysctls": [{"name": {}}], "seLinuxOptions": {"type": [1]}, "seccompProfile": {"type": []}}
)
def test_nothing_that_is_json_stops_it(spec: dict[str, Any]) -> None:
    for kind in ("Pod", "Service", "Secret"):
        found({"apiVersion": "v1", "kind": kind, "metadata": spec, "spec": spec}, marks={})


def test_a_group_counts_as_its_pods_and_each_of_them_is_judged() -> None:
    pods = [
        {"metadata": {"name": f"w-{number}"}, "spec": {"containers": [{"name": "a", "image": "a"}], **more}}
        for number, more in enumerate([{}, {"hostNetwork": True}])
    ]
    group = {"apiVersion": "muster.dev/v1", "kind": "PodGroup", "spec": {"roles": [{"name": "w", "pods": pods}]}}
    asked = safety_reading.footprint([group], CATALOGUE, Reading("own"))
    assert asked.kinds == ("v1/Pod",)
    assert controls(group) == {"hostNetwork": "spec.roles[0].pods[1].spec.hostNetwork"}


def test_a_trial_is_of_a_kind_that_must_be_allowed_too() -> None:
    trial = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": {"containers": []}}}}
    experiment = {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "spec": {"trialTemplate": {"trialSpec": trial}},
    }
    asked = safety_reading.footprint([experiment], CATALOGUE, Reading("own"))
    assert asked.kinds == ("kubeflow.org/v1beta1/Experiment", "batch/v1/Job")
