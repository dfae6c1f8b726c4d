"""One row for each kind: a manifest as its users write them, and what must be so of it in the cluster.

`manifest(name, ...)` takes how the pods that decide about the job go on: "run-for" or "fail-after", or neither, in the
words of e2e.pods. Every row brings a ConfigMap along, which its pods mount.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from e2e import pods as bodies
from e2e.kinds.operators import training_runtime
from e2e.manifests import Manifest
from e2e.pods import Course
from e2e.shapes import A100, H100

PLAYED, OPERATED = "cloud-b", "onprem-a"  # where operators are played, and where the real one has its kinds


@dataclass(frozen=True, slots=True)
class Row:
    kind: str
    api: str
    spec: Callable[[Course], dict[str, Any]]
    pods: int  # that Muster binds
    gpus: int
    product: str = ""  # that they are to be; "": any
    ends: bool = True  # it can succeed
    fails: bool = True  # its status has a word for failure
    cluster: str = PLAYED
    variant: str = ""  # where there is another of the kind
    # What travels along besides, and is named in the body by this.
    beside: Callable[[Manifest], tuple[Manifest, ...]] = lambda body: ()
    bare: bool = False  # no object in the cluster stands for it: `spec` has its pods, by name

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.kind.lower(), self.variant, self.api.rpartition("/")[2])))

    def manifest(self, suffix: str, course: Course) -> tuple[Manifest, ...]:
        """With the ConfigMap that travels along; the workload is last."""
        name = f"{self.name}-{suffix}"
        hints = {"annotations": {"muster.dev/clusters": self.cluster}}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}
        if self.bare:
            return config, *_group(name, hints, self.spec(course))
        body = {
            "apiVersion": self.api,
            "kind": self.kind,
            "metadata": {"name": name} | hints,
            "spec": self.spec(course),
        }
        return config, *self.beside(body), body


def _group(name: str, hints: dict[str, Any], pods: dict[str, Any]) -> tuple[Manifest, ...]:
    """As they would be for the coscheduling plugin."""
    spec = {"minMember": len(pods)}
    group = {"apiVersion": "scheduling.x-k8s.io/v1alpha1", "kind": "PodGroup", "metadata": {"name": name}, "spec": spec}
    label = {"scheduling.x-k8s.io/pod-group": name}
    made = []
    for suffix, pod in pods.items():
        annotations = pod.get("metadata", {}).get("annotations", {}) | hints["annotations"]
        metadata = {"name": f"{name}-{suffix}", "labels": label, "annotations": annotations}
        made.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]})
    return group, *made


def template(container: str, gpus: int, course: Course, product: str = "", restart: str = "Never") -> dict[str, Any]:
    body = bodies.template(container, gpus, product, course)
    body["spec"]["restartPolicy"] = restart
    return body


def _replicas(container: str, gpus: int, course: Course, replicas: int = 1) -> dict[str, Any]:
    body = template(container, gpus, course, A100 if gpus else "")
    del body["spec"]["restartPolicy"]
    return {"replicas": replicas, "restartPolicy": "Never", "template": body}


FOREVER = Course()


def _ray(course: Course) -> dict[str, Any]:
    """The head decides."""
    workers = {"groupName": "gpu", "replicas": 2, "minReplicas": 2, "maxReplicas": 4}
    return {
        "headGroupSpec": {"rayStartParams": {}, "template": template("ray-head", 0, course)},
        "workerGroupSpecs": [workers | {"template": template("ray-worker", 1, FOREVER, H100)}],
    }


def _served(course: Course, gpus: int) -> dict[str, Any]:
    resources = {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": str(gpus)}
    model = {"modelFormat": {"name": "pytorch"}, "storageUri": "s3://models/m"}
    body = template("x", 0, course)
    return {
        "annotations": body.get("metadata", {}).get("annotations", {}),
        "model": model | {"resources": {"requests": dict(resources), "limits": resources}},
    }


def _spark(course: Course) -> dict[str, Any]:
    annotations = template("x", 0, course).get("metadata", {}).get("annotations", {})
    executor = {"cores": 1, "instances": 2, "gpu": {"name": "nvidia.com/gpu", "quantity": 1}}
    return {"type": "Scala", "driver": {"cores": 1, "annotations": annotations}, "executor": executor}


def _workflow(course: Course) -> dict[str, Any]:
    """Two steps at once, of 2 GPUs each."""
    body = template("main", 2, course)
    step = {"name": "train", "container": body["spec"]["containers"][0]}
    group = [{"name": "left", "template": "train"}, {"name": "right", "template": "train"}]
    return {
        "entrypoint": "main",
        "podMetadata": {"annotations": body.get("metadata", {}).get("annotations", {})},
        "templates": [{"name": "main", "steps": [group]}, step],
    }


def _trainjob(course: Course) -> dict[str, Any]:
    """Two nodes, which end as the course says."""
    amounts = {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "2"}
    pod = {"spec": {"nodeSelector": {"nvidia.com/gpu.product": H100}}}
    pod["metadata"] = template("node", 0, course).get("metadata", {})
    jobs = [{"name": "node", "template": {"spec": {"template": pod}}}]
    patch = {"manager": "e2e", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}}}
    trainer = {"numNodes": 2, "resourcesPerNode": {"requests": dict(amounts), "limits": amounts}}
    return {"runtimeRef": {"name": "torch-distributed"}, "trainer": trainer, "runtimePatches": [patch]}


def _experiment(course: Course) -> dict[str, Any]:
    """Two trials at a time, three in all; each is a PyTorchJob of two pods that its real operator makes."""
    replicas = {role: _replicas("pytorch", 1, course) for role in ("Master", "Worker")}
    for each in replicas.values():
        each["template"]["spec"]["nodeSelector"] = {"nvidia.com/gpu.product": H100}
    trial = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "spec": {"pytorchReplicaSpecs": replicas}}
    template = {"retain": True, "primaryContainerName": "pytorch", "trialSpec": trial}
    return {"parallelTrialCount": 2, "maxTrialCount": 3, "maxFailedTrialCount": 0, "trialTemplate": template}


def _own_training_runtime(body: Manifest) -> tuple[Manifest, ...]:
    """With an initializer before the nodes."""
    name = body["metadata"]["name"]
    body["spec"]["runtimeRef"] = {"kind": "TrainingRuntime", "name": name}
    return (training_runtime(name, "TrainingRuntime", "dataset-initializer"),)


def _serving_runtime(body: Manifest) -> tuple[Manifest, ...]:
    """Says what the model leaves out."""
    model, name = body["spec"]["predictor"]["model"], body["metadata"]["name"]
    del model["resources"]
    model["runtime"] = name
    amounts = {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "2"}
    resources = {"requests": dict(amounts), "limits": amounts}
    container = {"name": "kserve-container", "image": "server:1", "resources": resources}
    spec = {"supportedModelFormats": [{"name": "pytorch"}], "containers": [container]}
    api = "serving.kserve.io/v1alpha1"
    return ({"apiVersion": api, "kind": "ServingRuntime", "metadata": {"name": name}, "spec": spec},)


ROWS = (
    Row("RayCluster", "ray.io/v1", _ray, 3, 2, H100, ends=False),
    Row(
        "RayJob",
        "ray.io/v1",
        lambda course: {
            "entrypoint": "python train.py",
            "rayClusterSpec": _ray(FOREVER),
            "submitterPodTemplate": template("submitter", 0, course),
        },
        4,
        2,
        H100,
    ),
    Row(
        "RayService",
        "ray.io/v1",
        lambda course: {"rayClusterConfig": _ray(FOREVER)},
        3,
        2,
        H100,
        ends=False,
        fails=False,
    ),
    Row(
        "JobSet",
        "jobset.x-k8s.io/v1alpha2",
        lambda course: {
            "replicatedJobs": [
                {"name": "driver", "template": {"spec": {"template": template("driver", 0, course)}}},
                {
                    "name": "workers",
                    "replicas": 2,
                    "template": {
                        "spec": {"parallelism": 2, "completions": 2, "template": template("worker", 1, course, H100)}
                    },
                },
            ]
        },
        5,
        4,
        H100,
    ),
    Row(
        "LeaderWorkerSet",
        "leaderworkerset.x-k8s.io/v1",
        lambda course: {
            "replicas": 2,
            "leaderWorkerTemplate": {
                "size": 2,
                "leaderTemplate": template("leader", 0, FOREVER, restart="Always"),
                "workerTemplate": template("worker", 1, FOREVER, H100, restart="Always"),
            },
        },
        4,
        2,
        H100,
        ends=False,
        fails=False,
    ),
    Row(
        "JobSet",
        "jobset.x-k8s.io/v1alpha2",
        lambda course: {
            "replicatedJobs": [
                {"name": "driver", "template": {"spec": {"template": template("driver", 0, course)}}},
                {"name": "cache", "template": {"spec": {"template": template("cache", 1, course, H100)}}},
                {
                    "name": "workers",
                    "template": {"spec": {"parallelism": 2, "template": template("worker", 1, course, H100)}},
                    "dependsOn": [{"name": "driver", "status": "Ready"}],
                },
            ]
        },
        4,
        3,
        H100,
        variant="after",
    ),
    Row(
        "LeaderWorkerSet",
        "leaderworkerset.x-k8s.io/v1",
        lambda course: {
            "replicas": 2,
            "startupPolicy": "LeaderReady",
            "leaderWorkerTemplate": {"size": 2, "workerTemplate": template("w", 1, FOREVER, H100, restart="Always")},
        },
        4,
        4,
        H100,
        ends=False,
        fails=False,
        variant="late",
    ),
    Row(
        "InferenceService",
        "serving.kserve.io/v1beta1",
        lambda course: {"predictor": {"minReplicas": 2, "maxReplicas": 4} | _served(course, 1)},
        2,
        2,
        ends=False,
    ),
    Row(
        "SeldonDeployment",
        "machinelearning.seldon.io/v1",
        lambda course: {
            "predictors": [
                {
                    "name": "main",
                    "replicas": 2,
                    "graph": {"name": "c"},
                    "componentSpecs": [template("c", 1, course, H100, restart="Always")],
                }
            ]
        },
        2,
        2,
        H100,
        ends=False,
    ),
    Row(
        "Notebook",
        "kubeflow.org/v1",
        lambda course: {"template": template("lab", 1, FOREVER, restart="Always")},
        1,
        1,
        ends=False,
        fails=False,
    ),
    Row("SparkApplication", "sparkoperator.k8s.io/v1beta2", _spark, 3, 2),
    Row("Workflow", "argoproj.io/v1alpha1", _workflow, 2, 4),
    Row(
        "MPIJob",
        "kubeflow.org/v2beta1",
        lambda course: {
            "launcherCreationPolicy": "WaitForWorkersReady",
            "mpiReplicaSpecs": {
                "Launcher": {"replicas": 1, "template": template("launcher", 0, course)},
                "Worker": {"replicas": 2, "template": template("worker", 1, FOREVER, H100)},
            },
        },
        3,
        2,
        H100,
    ),
    Row(
        "TrainJob",
        "trainer.kubeflow.org/v1alpha1",
        _trainjob,
        2,
        4,
        H100,
    ),
    Row(
        "TrainJob",
        "trainer.kubeflow.org/v1alpha1",
        _trainjob,
        3,
        4,
        H100,
        variant="own",
        beside=_own_training_runtime,
    ),
    Row("Experiment", "kubeflow.org/v1beta1", _experiment, 6, 6, H100),
    Row(
        "InferenceService",
        "serving.kserve.io/v1beta1",
        lambda course: {"predictor": _served(course, 1)},
        1,
        2,
        ends=False,
        variant="runtime",
        beside=_serving_runtime,
    ),
    Row(
        "PodGroup",
        "muster.dev/v1",
        lambda course: {
            "head": template("head", 0, course),
            "worker-0": template("worker", 1, course, H100),
            "worker-1": template("worker", 1, course, H100),
        },
        3,
        2,
        H100,
        bare=True,
    ),
    # Kubeflow's training-operator itself.
    Row(
        "TFJob",
        "kubeflow.org/v1",
        lambda course: {
            "tfReplicaSpecs": {
                "Chief": _replicas("tensorflow", 1, course),
                "PS": _replicas("tensorflow", 0, FOREVER),
                "Worker": _replicas("tensorflow", 1, FOREVER, 2),
            }
        },
        4,
        3,
        A100,
        cluster=OPERATED,
    ),
    Row(
        "XGBoostJob",
        "kubeflow.org/v1",
        lambda course: {
            "xgbReplicaSpecs": {
                "Master": _replicas("xgboost", 1, course),
                "Worker": _replicas("xgboost", 1, FOREVER, 2),
            }
        },
        3,
        3,
        A100,
        cluster=OPERATED,
    ),
    Row(
        "PaddleJob",
        "kubeflow.org/v1",
        lambda course: {"paddleReplicaSpecs": {"Worker": _replicas("paddle", 2, course, 2)}},
        2,
        4,
        A100,
        cluster=OPERATED,
    ),
    Row(
        "MPIJob",
        "kubeflow.org/v1",
        lambda course: {
            "slotsPerWorker": 1,
            "mpiReplicaSpecs": {
                "Launcher": _replicas("mpi", 0, course),
                "Worker": _replicas("mpi", 1, FOREVER, 2),
            },
        },
        3,
        2,
        A100,
        cluster=OPERATED,
    ),
    Row(
        "PyTorchJob",
        "kubeflow.org/v1",
        lambda course: {
            "pytorchReplicaSpecs": {
                "Master": _replicas("pytorch", 1, course),
                "Worker": _replicas("pytorch", 1, FOREVER, 2),
            }
        },
        3,
        3,
        A100,
        cluster=OPERATED,
    ),
)
