"""A kubelet's decisions, without its hands: which containers of a pod to start now, and what its status is.

Pure functions of the pod, of how its containers' runs stand, and of `now`. Init containers run one after another, those
with `restartPolicy: Always` (sidecars) beside the rest; the others restart as the pod's restartPolicy says, with
Kubernetes' back-off: at once, then 10 s after the exit, 20 s, 40 s … up to 5 minutes, forgotten after 10 good minutes.

Not promised: probes (a container that runs is ready), lifecycle hooks, activeDeadlineSeconds, resource limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from spoke.cluster.host_runs import Exit, Run, RunState
from spoke.cluster.host_store import rfc3339
from spoke.cluster.port import Object

PENDING = {"phase": "Pending"}  # the status of a pod that nobody has looked at yet
BACKOFF_BASE = timedelta(seconds=10)
BACKOFF_MOST = timedelta(minutes=5)
BACKOFF_FORGOTTEN_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class ToStart:
    container: str
    attempt: int
    streak: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a container cannot be started yet."""

    reason: str  # CreateContainerConfigError
    message: str


def starts(pod: Object, runs: Mapping[str, Run], now: datetime) -> Sequence[ToStart]:
    """The containers to start now. None for a pod that is not bound, is ending, or has ended."""
    if not is_bound(pod) or is_ending(pod) or is_over(pod):
        return ()
    return tuple(_starts(pod, runs, now))


def stops(pod: Object, runs: Mapping[str, Run]) -> Sequence[Run]:
    """The runs to stop: all of a pod that is ending, the sidecars of one whose own containers are done."""
    alive = [run for run in runs.values() if run.state is not RunState.EXITED]
    if is_ending(pod):
        return alive
    mains = [_standing(pod, container, runs) for container in pod["spec"]["containers"]]
    if all(standing in ("succeeded", "failed") for standing in mains) or is_over(pod):
        return alive
    return ()


def status(
    pod: Object, runs: Mapping[str, Run], troubles: Mapping[str, Trouble], now: datetime, notes: str
) -> dict[str, Any]:
    """The pod's `.status`. `notes` goes to its message: what the host cluster leaves out of this pod's spec."""
    before: Mapping[str, Any] = pod.get("status") or {}
    phase = _phase(pod, runs)
    specs = pod["spec"]
    mains = [_container_status(pod, container, runs, troubles, now) for container in specs["containers"]]
    inits = [_container_status(pod, container, runs, troubles, now) for container in specs.get("initContainers") or ()]
    ready = phase == "Running" and not is_ending(pod) and all(main["ready"] for main in mains)
    conditions = [
        _condition(before, "PodScheduled", is_bound(pod), now),
        _condition(before, "Initialized", is_bound(pod) and _initialised(pod, runs), now),
        _condition(before, "ContainersReady", ready, now),
        _condition(before, "Ready", ready, now),
    ]
    found: dict[str, Any] = {"phase": phase, "conditions": conditions, "containerStatuses": mains}
    if inits:
        found["initContainerStatuses"] = inits
    if is_bound(pod):
        found |= {"hostIP": "127.0.0.1", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}
        found["startTime"] = before.get("startTime") or rfc3339(now)
        found["message"] = notes
    return found


def is_bound(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName"))


def is_ending(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def is_over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def backoff(run: Run, ended: Exit) -> timedelta:
    """How long after its exit a container starts again, if it may."""
    streak = _streak_after(run, ended)
    return timedelta(0) if streak == 1 else min(BACKOFF_BASE * 2 ** (min(streak, 10) - 2), BACKOFF_MOST)


def _starts(pod: Object, runs: Mapping[str, Run], now: datetime) -> Iterator[ToStart]:
    for container in _due(pod, runs):
        run = runs.get(container["name"])
        if run is None:
            yield ToStart(container["name"], 0, 0)
        elif run.exit and _restarts(pod, container, runs) and run.exit.finished_at + backoff(run, run.exit) <= now:
            yield ToStart(container["name"], run.attempt + 1, _streak_after(run, run.exit))


def _due(pod: Object, runs: Mapping[str, Run]) -> Iterator[Object]:
    """The containers whose turn it is: init containers up to the first that is not done, then all the others."""
    for container in pod["spec"].get("initContainers") or ():
        yield container
        if not _passed(pod, container, runs):
            return
    yield from pod["spec"]["containers"]


def _passed(pod: Object, container: Object, runs: Mapping[str, Run]) -> bool:
    if _is_sidecar(container):
        return container["name"] in runs
    return _standing(pod, container, runs) == "succeeded"


def _initialised(pod: Object, runs: Mapping[str, Run]) -> bool:
    return all(_passed(pod, container, runs) for container in pod["spec"].get("initContainers") or ())


def _standing(pod: Object, container: Object, runs: Mapping[str, Run]) -> str:
    """waiting | alive | restarts | succeeded | failed: the last two are for good."""
    run = runs.get(container["name"])
    if run is None:
        return "waiting"
    if run.exit is None:
        return "alive"
    policy = pod["spec"].get("restartPolicy", "Always")
    is_init = container in (pod["spec"].get("initContainers") or ())
    if _is_sidecar(container) or (policy == "Always" and not is_init):
        return "restarts"
    if run.exit.code == 0:
        return "succeeded"
    return "failed" if policy == "Never" else "restarts"


def _restarts(pod: Object, container: Object, runs: Mapping[str, Run]) -> bool:
    return _standing(pod, container, runs) == "restarts"


def _phase(pod: Object, runs: Mapping[str, Run]) -> str:
    if is_over(pod):
        return str(pod["status"]["phase"])
    if not is_bound(pod):
        return "Pending"
    inits = [_standing(pod, c, runs) for c in pod["spec"].get("initContainers") or ()]
    mains = [_standing(pod, c, runs) for c in pod["spec"]["containers"]]
    if "failed" in inits:
        return "Failed"
    if is_ending(pod) and runs and all(run.exit is not None for run in runs.values()):
        return "Succeeded" if all(run.exit and run.exit.code == 0 for run in runs.values()) else "Failed"
    if all(main in ("succeeded", "failed") for main in mains):
        return "Failed" if "failed" in mains else "Succeeded"
    # Running begins with a claimed run (before, the shim is on its way) and lasts over restarts.
    known = [runs[c["name"]] for c in pod["spec"]["containers"] if c["name"] in runs]
    begun = any(run.attempt > 0 or run.state is not RunState.STARTING for run in known)
    return "Running" if begun else "Pending"


def _container_status(
    pod: Object, container: Object, runs: Mapping[str, Run], troubles: Mapping[str, Trouble], now: datetime
) -> dict[str, Any]:
    name = container["name"]
    run = runs.get(name)
    running = run is not None and run.state is RunState.RUNNING
    is_init = container not in pod["spec"]["containers"]
    found: dict[str, Any] = {
        "name": name,
        "image": container.get("image", ""),
        "imageID": "",
        "ready": running or (is_init and _standing(pod, container, runs) == "succeeded"),
        "started": running,
        "restartCount": run.attempt if run else 0,
        "state": _state(pod, container, runs, troubles, now),
        "lastState": {},
    }
    if run is not None:
        found["containerID"] = f"host://{pod['metadata']['uid']}/{name}/{run.attempt}"
    last = run.exit if run is not None and "waiting" in found["state"] else run.before if run is not None else None
    if last is not None:
        found["lastState"] = {"terminated": _terminated(last, None)}
    return found


def _state(
    pod: Object, container: Object, runs: Mapping[str, Run], troubles: Mapping[str, Trouble], now: datetime
) -> dict[str, Any]:
    name = container["name"]
    run = runs.get(name)
    trouble = troubles.get(name)
    if trouble is not None:
        return {"waiting": {"reason": trouble.reason, "message": trouble.message}}
    if run is None or run.state is RunState.STARTING:
        reason = "ContainerCreating" if _initialised(pod, runs) else "PodInitializing"
        return {"waiting": {"reason": reason}}
    if run.exit is None:
        return {"running": {"startedAt": rfc3339(run.started_at or now)}}
    wait = backoff(run, run.exit)
    if wait and _restarts(pod, container, runs) and not is_ending(pod) and not is_over(pod):
        message = f"back-off {int(wait.total_seconds())}s restarting failed container={name}"
        return {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    return {"terminated": _terminated(run.exit, run.started_at)}


def _terminated(ended: Exit, started_at: datetime | None) -> dict[str, Any]:
    found: dict[str, Any] = {"exitCode": ended.code, "reason": ended.reason, "finishedAt": rfc3339(ended.finished_at)}
    if ended.message:
        found["message"] = ended.message
    if started_at is not None:
        found["startedAt"] = rfc3339(started_at)
    return found


def _condition(before: Mapping[str, Any], name: str, holds: bool, now: datetime) -> dict[str, Any]:
    value = "True" if holds else "False"
    for old in before.get("conditions") or ():
        if old["type"] == name and old["status"] == value:
            return dict(old)
    return {"type": name, "status": value, "lastTransitionTime": rfc3339(now)}


def _streak_after(run: Run, ended: Exit) -> int:
    """How many restarts in a row the next one is; a run that lasted makes it the first again."""
    lasted = ended.finished_at - (run.started_at or ended.finished_at)
    return 1 if lasted >= BACKOFF_FORGOTTEN_AFTER else run.streak + 1


def _is_sidecar(container: Object) -> bool:
    return container.get("restartPolicy") == "Always"
