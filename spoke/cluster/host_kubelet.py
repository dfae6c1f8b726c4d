"""The kubelet of the host cluster: brings every bound pod's processes to where `host_pods` says they should be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spoke import checkpoints
from spoke.cluster import host_pods, host_volumes, pod_shim
from spoke.cluster.host_env import ConfigError, NoCommand, Place, checkpoint_file, command_of
from spoke.cluster.host_events import HostEvents
from spoke.cluster.host_pods import ToStart, Trouble
from spoke.cluster.host_runs import Runs
from spoke.cluster.host_store import HostStore, key_of, rfc3339
from spoke.cluster.port import Object, ObjectKey, Selection

DEFAULT_GRACE_S = 30
_PODS = Selection("v1", "Pod")
_CHECKPOINTS_APART = timedelta(seconds=2)  # every one of them is written to disk
_log = logging.getLogger(__name__)


class Kubelet:
    def __init__(
        self, store: HostStore, runs: Runs, claims: Path, clock: Callable[[], datetime], events: HostEvents
    ) -> None:
        self._store = store
        self._events = events
        self._runs = runs
        self._claims = claims
        self._clock = clock

    def attend(self) -> bool:
        """Looks once at every pod that has or should have processes; whether to come back in a moment."""
        active = False
        for pod in self._store.list(_PODS):
            if not host_pods.is_bound(pod) or (host_pods.is_over(pod) and not host_pods.is_ending(pod)):
                continue
            active = True
            try:
                self._attend(pod)
            except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
                # One pod's malformed spec, or a full disk, must not stop the others.
                _log.exception("pod %s/%s: %s", pod["metadata"]["namespace"], pod["metadata"]["name"], error)
        return active or self._runs.unreaped()

    def forget_all_but(self, uids: Collection[str]) -> None:
        """Stops and removes what the state directory has of pods that are not in `uids`."""
        for uid in self._runs.pods() - frozenset(uids):
            pod_shim.sweep(self._runs.pod_directory(uid), grace_s=0)
            self._runs.remove(uid)

    def _attend(self, pod: Object) -> None:
        uid, now = pod["metadata"]["uid"], self._clock()
        troubles: dict[str, Trouble] = {}
        for start in host_pods.starts(pod, self._runs.of_pod(uid), now):
            trouble = self._start(pod, start)
            if trouble is not None:
                troubles[start.container] = trouble
        runs = self._runs.of_pod(uid)
        for run in host_pods.stops(pod, runs):
            self._runs.stop(run, _grace_s(pod))
        if host_pods.is_ending(pod) and all(run.exit is not None for run in runs.values()):
            self._store.remove(key_of(pod))
            self._runs.remove(uid)
            return
        status = host_pods.status(pod, runs, troubles, now, _notes(pod))
        self._events.of_status(pod, pod.get("status") or {}, status)
        self._store.put({**self._with_checkpoint(pod), "status": status})

    def _with_checkpoint(self, pod: Object) -> Object:
        """When its checkpoint file was touched last, as an annotation: as a job on Kubernetes says it."""
        try:
            touched_s = checkpoint_file(self._work_of(pod["metadata"]["uid"])).stat().st_mtime
        except OSError:
            return pod
        known, at = checkpoints.told(pod["metadata"]), datetime.fromtimestamp(touched_s, UTC).replace(microsecond=0)
        if known is not None and at - known < _CHECKPOINTS_APART:
            return pod
        annotations = {**(pod["metadata"].get("annotations") or {}), checkpoints.ANNOTATION: rfc3339(at)}
        return {**pod, "metadata": {**pod["metadata"], "annotations": annotations}}

    def _work_of(self, uid: str) -> Path:
        return self._runs.pod_directory(uid) / "work"

    def _start(self, pod: Object, start: ToStart) -> Trouble | None:
        uid = pod["metadata"]["uid"]
        containers = (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ()))
        container = next(container for container in containers if container["name"] == start.container)
        try:
            command = command_of(pod, container, self._place(pod))
        except NoCommand as error:
            self._runs.fail(uid, start.container, start.attempt, start.streak, str(error))
        except ConfigError as error:
            return Trouble("CreateContainerConfigError", str(error))
        else:
            self._runs.start(uid, start.container, start.attempt, start.streak, command)
        return None

    def _place(self, pod: Object) -> Place:
        namespace = pod["metadata"]["namespace"]
        directory = self._runs.pod_directory(pod["metadata"]["uid"])
        work = self._work_of(pod["metadata"]["uid"])
        work.mkdir(mode=0o700, parents=True, exist_ok=True)

        def lookup(kind: str, name: str) -> Object | None:
            return self._store.find(ObjectKey("v1", kind, namespace, name))

        return Place(
            directory=work,
            volumes=host_volumes.prepare(pod, directory / "volumes", self._claims, lookup),
            lookup=lookup,
            host_names=frozenset(self._qualified_names(namespace)),
            peers=frozenset(
                obj["metadata"]["name"]
                for kind in ("Service", "Pod")
                for obj in self._store.list(Selection("v1", kind, namespace))
            ),
        )

    def _qualified_names(self, namespace: str) -> set[str]:
        """What the cluster's DNS would know of the namespace, but for bare names, which may be ordinary words."""
        hosts = {service["metadata"]["name"] for service in self._store.list(Selection("v1", "Service", namespace))}
        names = {f"{host}.{namespace}" for host in hosts}
        for pod in self._store.list(Selection("v1", "Pod", namespace)):
            if subdomain := pod["spec"].get("subdomain"):
                host = f"{pod['spec'].get('hostname') or pod['metadata']['name']}.{subdomain}"
                names |= {host, f"{host}.{namespace}"}
        return names | {f"{n}.svc{tail}" for n in names for tail in ("", ".cluster.local")}


def _grace_s(pod: Object) -> float:
    asked = pod["metadata"].get("deletionGracePeriodSeconds")
    return float(pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_S) if asked is None else asked)


def _notes(pod: Object) -> str:
    """What the pod's spec asks for and does not get on the host cluster; in its status for people to find."""
    images = sorted({container["image"] for container in pod["spec"]["containers"] if container.get("image")})
    volumes = host_volumes.ignored(pod)
    notes = [f"image {', '.join(images)} is ignored: the command runs as a process of this machine"] if images else []
    if volumes:
        notes.append(
            f"volumes {', '.join(volumes)} are ignored: only {', '.join(sorted(host_volumes.SUPPORTED))} are known"
        )
    return "; ".join(notes)
