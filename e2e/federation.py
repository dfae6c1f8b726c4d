"""A whole federation of the real programs: a hub, one spoke per member cluster, and what scenarios ask of them.

What is asked goes through the hub's REST API and the clusters' API servers, so the same scenario runs wherever the
programs do: as processes of this machine (`e2e.processes`) or installed in the clusters (`e2e.kind.installed`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2e import manifests, truth
from e2e.kinds.rows import ROWS
from e2e.manifests import Manifest
from e2e.objects import Object
from e2e.provider import MemberCluster
from e2e.recorder import Recorder
from e2e.waiting import until
from hub.api.schemas import JobDetailOut, JobOut
from hub.client import MusterClient
from placement.lifecycle import TERMINAL, Phase

# So that cloud-b is the first choice wherever it can hold a job: a scenario that sees another one knows why.
PRICES = b"""
prices:
- {cluster: onprem-a, on_demand: 2.5}
- {cluster: cloud-b, on_demand: 1.5}
- {cluster: edge-c, on_demand: 3.0}
"""
# Of a cluster's own, and of what the test bed puts there: never emptied.
SYSTEM_NAMESPACES = frozenset(
    {"kube-system", "kube-public", "kube-node-lease", "local-path-storage", "kubeflow", "muster-system"}
)


class Federation(ABC):
    def __init__(self, directory: Path, clusters: Mapping[str, MemberCluster]) -> None:
        self.directory = directory
        self.clusters = clusters
        self.recorders: dict[str, Recorder] = {}
        self._admin: MusterClient | None = None
        directory.mkdir(parents=True, exist_ok=True)

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self, *, witness: bool = True) -> None:
        """Returns when every spoke has joined, and the hub knows every GPU. Witnesses cost time: see `recorder`."""
        self.start_hub()
        self.admin.set_prices(PRICES)
        if witness:
            self.recorders = {name: Recorder(cluster) for name, cluster in self.clusters.items()}
        with ThreadPoolExecutor(len(self.clusters)) as threads:
            list(threads.map(self.join, self.clusters))
        self.wait_agreed()

    @abstractmethod
    def start_hub(self) -> None:
        """Returns when it answers."""

    @abstractmethod
    def join(self, name: str) -> None:
        """Starts the cluster's spoke with a fresh token, as an operator would."""

    def stop(self) -> None:
        """Ends every program. What jobs left in the clusters is `wipe`'s business."""
        for recorder in self.recorders.values():
            recorder.stop()
        self.stop_programs()
        if self._admin is not None:
            self._admin.close()

    @abstractmethod
    def stop_programs(self) -> None: ...

    @property
    def admin(self) -> MusterClient:
        if self._admin is None:
            self._admin = self.client(self.admin_token)
        return self._admin

    @property
    @abstractmethod
    def admin_token(self) -> str: ...

    @abstractmethod
    def client(self, token: str) -> MusterClient:
        """Of the REST API, as whoever the token says."""

    @property
    @abstractmethod
    def link_address(self) -> str:
        """HOST:PORT of the hub's gRPC, as this process reaches it."""

    @abstractmethod
    def logs(self) -> dict[str, str]:
        """The ends of the programs' logs, for the report of a failed scenario."""

    @abstractmethod
    def keep_evidence(self, directory: Path) -> None:
        """What is too long for a report, as files."""

    # -- jobs ----------------------------------------------------------------------------------------------------

    def submit(self, *documents: Manifest, key: str | None = None) -> JobOut:
        """The job of the one workload in the file."""
        answer = self.admin.submit(manifests.text(*documents), key=key)
        assert len(answer.jobs) == 1, answer
        return answer.jobs[0].job

    def wait_phase(self, job: str, *phases: Phase, timeout_s: float = 30) -> JobDetailOut:
        """Fails at once where the job has ended otherwise."""

        def reached() -> JobDetailOut | None:
            seen = self.admin.job(job)
            if seen.phase in phases:
                return seen
            if seen.phase in TERMINAL:
                raise RuntimeError(f"{job} is {seen.phase} ({seen.reason}), not {' or '.join(phases)}")
            raise AssertionError(f"it is {seen.phase} on {seen.cluster}: {seen.reason}")

        return until(f"{job} to be {' or '.join(phases)}", reached, timeout_s)

    def wait_event(self, job: str, event: str, timeout_s: float = 30) -> None:
        """Until the job's history holds the event."""
        until(
            f"{event} of {job}",
            lambda: event in [one.event for one in self.admin.events(job=job, follow=False)],
            timeout_s,
            every_s=0.01,
        )

    def reasons(self, job: str) -> dict[str, dict[str, str]]:
        """Of the latest decision about a job that waits: cluster -> code -> message."""

        def asked() -> dict[str, dict[str, str]] | None:
            decision = self.admin.explain(job).decision
            if decision is None or decision.verdict == "placed":
                return None
            return {one.cluster: {reason.code: reason.message for reason in one.reasons} for one in decision.candidates}

        return until(f"a decision that {job} waits", asked)

    # -- the truth -----------------------------------------------------------------------------------------------

    def member(self, name: str | None) -> MemberCluster:
        assert name is not None, "the job is on no cluster"
        return self.clusters[name]

    def bound_anywhere(self, job: str) -> dict[str, int]:
        """Bound pods of the job by cluster, where there are any."""
        counts = {
            name: sum(1 for pod in truth.pods_of(cluster, job) if pod["spec"].get("nodeName"))
            for name, cluster in self.clusters.items()
        }
        return {name: count for name, count in counts.items() if count}

    def gangs_ever(self, job: str) -> dict[tuple[str, int], int]:
        """(cluster, epoch) -> pods that were ever bound, over the job's whole life."""
        return {
            (name, epoch): count
            for name, recorder in self.recorders.items()
            for epoch, count in recorder.gangs_of(job).items()
        }

    def wait_agreed(self, timeout_s: float = 30) -> None:
        """Until the hub shows, for every cluster, as many free GPUs as the API servers' own objects leave."""

        def agreed() -> bool:
            known = {cluster.name: cluster for cluster in self.admin.clusters()}
            for name, cluster in self.clusters.items():
                shown = known.get(name)
                assert shown is not None, f"the hub does not know {name}"
                assert shown.health == "ready", f"{name} is {shown.health}"
                free = truth.free_gpus(cluster)
                assert shown.gpus_free == free, f"the hub shows {shown.gpus_free} free in {name}, there are {free}"
            return True

        until("the hub's numbers to agree with the clusters'", agreed, timeout_s)

    def check(self) -> None:
        """What must hold at any quiet moment: nothing given twice ever, nothing left behind by what has ended."""
        for name, recorder in self.recorders.items():
            assert not recorder.faults, f"in {name}: {recorder.faults}"
        until("nothing left of jobs that ended", self._no_leftovers, timeout_s=20)
        self.wait_agreed()

    def _no_leftovers(self) -> bool:
        live = {job.id: job for job in self.live_jobs()}
        for name, cluster in self.clusters.items():
            for pod in truth.live_pods_of(cluster):
                owner = live.get(pod["metadata"]["labels"][truth.JOB_LABEL])
                assert owner is not None, f"{pod['metadata']['name']} lives on in {name}"
                assert owner.cluster == name, f"{owner.id} is on {owner.cluster}, and has a pod in {name}"
        holding = {name: sum(1 for job in live.values() if job.cluster == name) for name in self.clusters}
        shown = {cluster.name: cluster.jobs for cluster in self.admin.clusters() if cluster.name in self.clusters}
        assert shown == holding, f"jobs that hold capacity by the hub: {shown}, in truth {holding}"
        return True

    def live_jobs(self) -> Sequence[JobOut]:
        """Of divided works their parts, too."""
        return self.admin.jobs(phases=set(Phase) - TERMINAL, parts=True, limit=1000).jobs

    def clear(self) -> None:
        """Cancels what lives and removes what has ended, so that the next scenario begins with empty clusters."""
        for job in self.live_jobs():
            if job.whole in (None, job.id):
                self.admin.cancel(job.id)
        until("every job to end", lambda: not self.live_jobs(), timeout_s=30)
        for cluster in self.clusters.values():
            wipe(cluster)
        self.check()


def wipe(cluster: MemberCluster) -> None:
    """Everything that jobs and scenarios put into a cluster, by an admin's hand."""
    for api_version, kind in (
        *((row.api, row.kind) for row in ROWS),
        ("batch.volcano.sh/v1alpha1", "Job"),
        ("batch/v1", "Job"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("v1", "Pod"),
    ):
        if cluster.client.serves(api_version, kind):
            for obj in _users(cluster, api_version, kind):
                metadata = obj["metadata"]
                cluster.client.delete(api_version, kind, metadata["name"], metadata["namespace"], grace_s=0)
    until(f"no pod left in {cluster.name}", lambda: not _users(cluster, "v1", "Pod"))


def _users(cluster: MemberCluster, api_version: str, kind: str) -> list[Object]:
    return [
        obj for obj in cluster.client.list(api_version, kind) if obj["metadata"]["namespace"] not in SYSTEM_NAMESPACES
    ]
