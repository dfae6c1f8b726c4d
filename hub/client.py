"""A typed client of the hub's REST API, for the CLI and for programs. Synchronous; answers pydantic models.

    with MusterClient("https://hub:8443", token, ca="ca.crt") as muster:
        job = muster.submit(Path("train.yaml").read_bytes()).jobs[0].job
        for line in muster.logs(job.id, follow=True): ...

Calls that may be repeated without harm are, when the connection fails or the hub does not lead yet: every submit
carries a key (one is made where none is given), so a repeated one answers the same jobs. Event and log streams
reconnect and resume after the last event, or the last line of each pod, that was seen.
"""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, SSEError
from pydantic import BaseModel, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from hub.api import schemas
from hub.api.distributions import DistributionListOut, DistributionOut
from hub.api.kinds import KindFileListOut, KindFileOut
from hub.api.override_schemas import OverrideListOut, OverrideOut, OverrideSpec
from hub.api.tenant_schemas import TenantListOut, TenantOut, TenantSpec
from hub.api.usage_schemas import TopOut
from hub.model_client import ModelsClient
from placement.lifecycle import Phase

M = TypeVar("M", bound=BaseModel)

# The hub sends a comment every 15 s where it has nothing to say.
_SILENCE_S = 45.0


class ApiError(Exception):
    """The hub answered, and refused."""

    def __init__(self, status: int, error: schemas.ErrorOut) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error


class HubUnreachable(Exception):
    """No answer, or one that is not the hub's."""

    def __init__(self, url: str, cause: str, mend: str = "") -> None:
        super().__init__(f"the hub at {url} cannot be reached: {cause}")
        self.mend = mend or "check the URL (MUSTER_URL, muster login) and that the hub runs"


class HubNotReady(HubUnreachable):
    """It answered that it does not lead: it is starting, or another replica leads."""

    def __init__(self, url: str, reason: str) -> None:
        Exception.__init__(self, f"the hub at {url} does not serve yet: {reason}")
        self.mend = "try again in a few seconds"


class MusterClient:
    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        ca: str | Path | None = None,
        timeout_s: float = 30.0,
        patience_s: float = 5.0,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`ca`: a PEM file to trust instead of the system's. `patience_s`: how long failed connections, and a hub
        that does not lead yet, are tried again."""
        self.url = url.rstrip("/")
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.tls = ssl.create_default_context(cafile=str(ca) if ca else None)
        self._patience_s = patience_s
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self.url + schemas.API_PREFIX,
            headers=self.headers,
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 10.0)),
            verify=ssl.create_default_context(cafile=str(ca)) if ca else True,
            transport=transport,
        )

        self.models = ModelsClient(self._call, self._streaming, self._model)

    def __enter__(self) -> MusterClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # --- jobs ---

    def submit(
        self, text: bytes, *, namespace: str | None = None, key: str | None = None, if_too_large: str | None = None
    ) -> schemas.SubmitOut:
        """One file of manifests, all of it or nothing."""
        return self._post_manifests("/jobs", text, _YAML, namespace, key, if_too_large)

    def submit_many(
        self,
        texts: Sequence[str],
        *,
        namespace: str | None = None,
        key: str | None = None,
        if_too_large: str | None = None,
    ) -> schemas.SubmitOut:
        """Many files in one request and one transaction: all of them or none."""
        body = json.dumps({"manifests": list(texts)}).encode()
        return self._post_manifests("/jobs", body, "application/json", namespace, key, if_too_large)

    def plan(self, text: bytes, *, namespace: str | None = None) -> list[schemas.PlanOut]:
        """What would become of each workload of the file now."""
        answer = self._call(
            "POST", "/plan", params=_namespace(namespace), content=text, headers={"Content-Type": _YAML}
        )
        if answer.content.lstrip().startswith(b"["):
            return self._parse(schemas.PlanList, answer.content).root
        return [self._parse(schemas.PlanOut, answer.content)]

    def manifests(
        self, text: bytes, cluster: str, *, namespace: str | None = None, show_secrets: bool = False
    ) -> list[schemas.ManifestOut]:
        """What would be applied on that cluster if each workload of the file went there."""
        params = {**_namespace(namespace), "cluster": cluster, "show_secrets": str(show_secrets).lower()}
        answer = self._call("POST", "/plan/manifest", params=params, content=text, headers={"Content-Type": _YAML})
        return self._model(schemas.ManifestListOut, answer).manifests

    def jobs(
        self,
        *,
        phases: Iterable[Phase] = (),
        cluster: str | None = None,
        queue: str | None = None,
        name: str | None = None,
        tenant: str | None = None,
        parts: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> schemas.JobPageOut:
        wanted = {"cluster": cluster, "queue": queue, "name": name, "tenant": tenant, "cursor": cursor, "limit": limit}
        params: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
        params |= {"parts": True} if parts else {}
        return self._get(schemas.JobPageOut, "/jobs", {**params, "phase": sorted(phases)})

    def job(self, ref: str) -> schemas.JobDetailOut:
        return self._get(schemas.JobDetailOut, f"/jobs/{_part(ref)}")

    def endpoints(self, ref: str) -> schemas.EndpointsOut:
        return self._get(schemas.EndpointsOut, f"/jobs/{_part(ref)}/endpoints")

    def cancel(self, ref: str) -> schemas.JobOut:
        return self._model(schemas.JobOut, self._call("POST", f"/jobs/{_part(ref)}/cancel"))

    def explain(self, ref: str) -> schemas.ExplanationOut:
        return self._get(schemas.ExplanationOut, f"/jobs/{_part(ref)}/explain")

    def logs(
        self,
        ref: str,
        *,
        role: str = "",
        rank: int | None = None,
        container: str = "",
        follow: bool = False,
        tail: int = 0,
        since_s: float | None = None,
        previous: bool = False,
        timestamps: bool = False,
        resume: bool = True,
        told: Callable[[str], None] = lambda words: None,
    ) -> Iterator[schemas.LogLineOut]:
        """Whole lines, pods interleaved. Where the connection breaks, or the job's cluster loses its own, it goes on
        after the last line seen, none lost or twice; `told` hears why there is a pause. Raises ApiError, also in the
        middle, and HubUnreachable, either of them after some patience where it may pass. `resume` False: at once."""
        since = datetime.now(UTC) - timedelta(seconds=since_s) if since_s is not None else None
        asked: dict[str, Any] = {
            "role": role,
            "rank": rank,
            "container": container,
            "follow": follow,
            "tail": tail,
            "since": since.isoformat() if since is not None else None,
            "previous": previous,
            "timestamps": timestamps,
        }
        body = {name: value for name, value in asked.items() if value not in (None, "", False) or name == "rank"}
        after: dict[str, str] = {}
        resumable = resume
        patience_s, broken_at = self._patience_s * 12, time.monotonic()
        while True:
            try:
                for line in self._logs_once(ref, body | {"after": after}, follow):
                    if line.end:
                        return
                    if line.position:
                        after[line.pod] = line.position
                    elif line.pod not in after:  # an older spoke gives none
                        resumable = False
                    yield line
                    broken_at = time.monotonic()
                problem: ApiError | HubUnreachable = HubUnreachable(self.url, "it ended the log before its end")
            except (ApiError, HubUnreachable) as error:
                problem = error
            passes = isinstance(problem, HubUnreachable) or problem.error.code in _PASSING
            if not (resumable and passes and (after or follow)) or time.monotonic() - broken_at > patience_s:
                raise problem
            told(str(problem))
            self._sleep(0.5)

    def events(
        self, *, job: str | None = None, after: int | None = None, follow: bool = True
    ) -> Iterator[schemas.EventOut]:
        """Events after number `after`. While following, a broken stream is taken up where it broke."""
        # Somebody who watches waits longer for a hub that restarts than somebody who asks a first time.
        patience_s, broken_at = self._patience_s, time.monotonic()
        while True:
            try:
                for event in self._events_once(job, after, follow):
                    if event is None:
                        patience_s = self._patience_s * 6
                    else:
                        after = event.seq
                        yield event
                    broken_at = time.monotonic()
                if not follow:
                    return
            except HubUnreachable:
                if not follow or time.monotonic() - broken_at > patience_s:
                    raise
            self._sleep(0.5)

    def happenings(
        self, ref: str, *, follow: bool = False, told: Callable[[str], None] = lambda words: None
    ) -> Iterator[schemas.HappeningOut]:
        """What Muster and its cluster say about a job, in the order of time. While following, a broken stream is taken
        up again; what was seen does not come twice."""
        seen: dict[str, int] = {}
        patience_s, broken_at = self._patience_s * 12, time.monotonic()
        while True:
            try:
                for one in self._happenings_once(ref, follow):
                    if one is None:
                        return
                    if seen.get(one.id) != one.count:
                        seen[one.id] = one.count
                        yield one
                    broken_at = time.monotonic()
                problem = HubUnreachable(self.url, "it ended the events before their end")
            except HubUnreachable as error:
                problem = error
            if not follow or time.monotonic() - broken_at > patience_s:
                raise problem
            told(str(problem))
            self._sleep(0.5)

    def _happenings_once(self, ref: str, follow: bool) -> Iterator[schemas.HappeningOut | None]:
        """None at its end."""
        params, read_s = {"follow": str(follow).lower()}, None if follow else 60.0
        with self._streaming(f"/jobs/{_part(ref)}/events", params, read_s=read_s) as answer:
            for line in filter(None, answer.iter_lines()):
                if line.startswith('{"error"'):
                    raise self._broken_off(line)
                yield None if line.startswith('{"end"') else self._parse(schemas.HappeningOut, line)

    def audit(self, *, before: int | None = None, limit: int = 100) -> list[schemas.AccessOut]:
        """Who reached into which job's pods, the newest first."""
        params = {"limit": str(limit)} | ({"before": str(before)} if before is not None else {})
        return self._get(schemas.AuditOut, "/audit", params).accesses

    # --- clusters ---

    def top(self, job: str | None = None) -> TopOut:
        """What running jobs use; of one of them where it is named."""
        return self._get(TopOut, "/top", {"job": job} if job is not None else None)

    def clusters(self) -> list[schemas.ClusterOut]:
        return self._get(schemas.ClusterListOut, "/clusters").clusters

    def cluster(self, name: str) -> schemas.ClusterOut:
        return self._get(schemas.ClusterOut, f"/clusters/{_part(name)}")

    def cordon(self, name: str, on: bool = True) -> schemas.ClusterOut:
        verb = "cordon" if on else "uncordon"
        return self._model(schemas.ClusterOut, self._call("POST", f"/clusters/{_part(name)}/{verb}"))

    def label_cluster(self, name: str, labels: dict[str, str | None]) -> schemas.ClusterOut:
        """None takes one away."""
        answer = self._call("POST", f"/clusters/{_part(name)}/labels", json={"labels": labels})
        return self._model(schemas.ClusterOut, answer)

    def drain(self, name: str) -> schemas.DrainedOut:
        return self._model(schemas.DrainedOut, self._call("POST", f"/clusters/{_part(name)}/drain"))

    def remove_cluster(self, name: str, *, force: bool = False) -> None:
        self._call("DELETE", f"/clusters/{_part(name)}", params={"force": str(force).lower()})

    def cluster_token(self, name: str, *, region: str = "", labels: dict[str, str] | None = None) -> str:
        body = {"name": name, "region": region, "labels": labels or {}}
        # Not repeated: each call makes a token.
        answer = self._call("POST", "/cluster-tokens", json=body, again=False)
        return self._model(schemas.ClusterTokenOut, answer).token

    def ca_pem(self) -> str:
        return self._call("GET", "/ca").text

    def join(self, token: str, csr_pem: str) -> schemas.JoinOut:
        answer = self._call("POST", "/join", json={"token": token, "csr_pem": csr_pem}, again=False)
        return self._model(schemas.JoinOut, answer)

    # --- people, prices, the hub itself ---

    def whoami(self) -> schemas.WhoamiOut:
        return self._get(schemas.WhoamiOut, "/whoami")

    def users(self) -> list[schemas.UserOut]:
        return self._get(schemas.UserListOut, "/users").users

    def add_user(self, name: str, *, tenant: str = "default", role: str = "submitter") -> schemas.UserTokenOut:
        body = {"name": name, "tenant": tenant, "role": role}
        return self._model(schemas.UserTokenOut, self._call("POST", "/users", json=body, again=False))

    def remove_user(self, name: str) -> None:
        self._call("DELETE", f"/users/{_part(name)}")

    def prices(self) -> schemas.PriceBookDoc:
        return self._get(schemas.PriceBookDoc, "/prices")

    def set_prices(self, text: bytes) -> schemas.PricesSetOut:
        """Replaces the whole book by this YAML or JSON."""
        return self._model(
            schemas.PricesSetOut, self._call("PUT", "/prices", content=text, headers={"Content-Type": _YAML})
        )

    def cost(
        self,
        by: str,
        *,
        since: date | None = None,
        until: date | None = None,
        queue: str | None = None,
        user: str | None = None,
        cluster: str | None = None,
        limit: int = 100,
    ) -> schemas.CostReportOut:
        """Whole UTC days, both included; without `since`, the last thirty."""
        asked = {"by": by, "since": since, "until": until, "queue": queue, "user": user, "cluster": cluster}
        params = {name: str(value) for name, value in asked.items() if value is not None}
        return self._get(schemas.CostReportOut, "/cost", params | {"limit": str(limit)})

    # --- rebalancing ---

    def rebalance(self) -> list[schemas.ProposalOut]:
        return self._get(schemas.ProposalListOut, "/rebalance").proposals

    # --- queues ---

    def queues(self) -> list[schemas.QueueOut]:
        return self._get(schemas.QueueListOut, "/queues").queues

    def queue(self, name: str) -> schemas.QueueOut:
        return self._get(schemas.QueueOut, f"/queues/{_part(name)}")

    def create_queue(self, name: str, spec: schemas.QueueSpec) -> schemas.QueueOut:
        body = {"name": name, **spec.model_dump()}
        return self._model(schemas.QueueOut, self._call("POST", "/queues", json=body, again=False))

    def set_queue(self, name: str, spec: schemas.QueueSpec, *, force: bool = False) -> schemas.QueueOut:
        params = {"force": str(force).lower()}
        answer = self._call("PUT", f"/queues/{_part(name)}", params=params, json=spec.model_dump())
        return self._model(schemas.QueueOut, answer)

    def delete_queue(self, name: str) -> None:
        self._call("DELETE", f"/queues/{_part(name)}", again=False)

    # --- CronJobs ---

    def crons(self) -> list[schemas.CronOut]:
        return self._get(schemas.CronListOut, "/crons").crons

    def cron(self, ref: str) -> schemas.CronOut:
        return self._get(schemas.CronOut, f"/crons/{_part(ref)}")

    def suspend_cron(self, ref: str, on: bool = True) -> schemas.CronOut:
        verb = "suspend" if on else "resume"
        return self._model(schemas.CronOut, self._call("POST", f"/crons/{_part(ref)}/{verb}"))

    def run_cron(self, ref: str) -> schemas.JobOut:
        """A run now, beside the calendar."""
        return self._model(schemas.JobOut, self._call("POST", f"/crons/{_part(ref)}/run", again=False))

    def delete_cron(self, ref: str, *, keep_runs: bool = False) -> list[str]:
        """The jobs that were cancelled with it."""
        params = {"keep_runs": str(keep_runs).lower()}
        answer = self._call("DELETE", f"/crons/{_part(ref)}", again=False, params=params)
        return self._model(schemas.CronDeletedOut, answer).cancelled

    # --- what configures clusters ---

    def distributions(self) -> list[DistributionOut]:
        return self._get(DistributionListOut, "/distributions").distributions

    def distribution(self, name: str) -> DistributionOut:
        return self._get(DistributionOut, f"/distributions/{_part(name)}")

    def distribute(
        self,
        name: str,
        text: bytes,
        *,
        to: str,
        namespace: str | None = None,
        adopt: bool = False,
        dry_run: bool = False,
    ) -> DistributionOut:
        """Gives the objects of a file to every cluster that `to` selects, now or later."""
        params = {"to": to, "adopt": str(adopt).lower(), "dry": str(dry_run).lower()} | _namespace(namespace)
        headers = {"Content-Type": "application/yaml"}
        path = f"/distributions/{_part(name)}"
        return self._model(DistributionOut, self._call("PUT", path, params=params, content=text, headers=headers))

    def delete_distribution(self, name: str) -> DistributionOut | None:
        """What is still to be removed where; None where nothing is."""
        answer = self._call("DELETE", f"/distributions/{_part(name)}", again=False)
        return None if answer.status_code == 204 else self._model(DistributionOut, answer)

    # --- kinds that admins added ---

    def kinds(self) -> list[KindFileOut]:
        return self._get(KindFileListOut, "/kinds").kinds

    def kind(self, name: str) -> KindFileOut:
        return self._get(KindFileOut, f"/kinds/{_part(name)}")

    def add_kind(self, name: str, text: str) -> KindFileOut:
        return self._model(KindFileOut, self._call("PUT", f"/kinds/{_part(name)}", json={"text": text}))

    def remove_kind(self, name: str) -> None:
        self._call("DELETE", f"/kinds/{_part(name)}", again=False)

    # --- what is changed of workloads on single clusters ---

    def overrides(self) -> list[OverrideOut]:
        """In the order in which they are applied."""
        return self._get(OverrideListOut, "/overrides").overrides

    def override(self, name: str) -> OverrideOut:
        return self._get(OverrideOut, f"/overrides/{_part(name)}")

    def set_override(self, name: str, spec: OverrideSpec) -> OverrideOut:
        body = spec.model_dump(mode="json", by_alias=True)
        return self._model(OverrideOut, self._call("PUT", f"/overrides/{_part(name)}", json=body))

    def delete_override(self, name: str) -> None:
        self._call("DELETE", f"/overrides/{_part(name)}", again=False)

    # --- tenants ---

    def tenants(self) -> list[TenantOut]:
        return self._get(TenantListOut, "/tenants").tenants

    def tenant(self, name: str) -> TenantOut:
        return self._get(TenantOut, f"/tenants/{_part(name)}")

    def set_tenant(self, name: str, spec: TenantSpec, *, force: bool = False) -> TenantOut:
        params = {"force": str(force).lower()}
        answer = self._call("PUT", f"/tenants/{_part(name)}", params=params, json=spec.model_dump(mode="json"))
        return self._model(TenantOut, answer)

    def delete_tenant(self, name: str) -> None:
        self._call("DELETE", f"/tenants/{_part(name)}", again=False)

    # --- datasets ---

    def datasets(self, *, learned: bool = False) -> list[schemas.DatasetOut]:
        return self._get(schemas.DatasetListOut, "/datasets", {"learned": str(learned).lower()}).datasets

    def dataset(self, name: str, *, tenant: str | None = None) -> schemas.DatasetOut:
        return self._get(schemas.DatasetOut, f"/datasets/{_part(name)}", _tenant(tenant))

    def create_dataset(self, name: str, spec: schemas.DatasetSpec, *, force: bool = False) -> schemas.DatasetOut:
        body, params = {"name": name, **spec.model_dump()}, {"force": str(force).lower()}
        return self._model(schemas.DatasetOut, self._call("POST", "/datasets", params=params, json=body, again=False))

    def set_dataset(
        self, name: str, spec: schemas.DatasetSpec, *, force: bool = False, forget_copies: bool = False
    ) -> schemas.DatasetOut:
        params = {"force": str(force).lower(), "forget_copies": str(forget_copies).lower()}
        answer = self._call("PUT", f"/datasets/{_part(name)}", params=params, json=spec.model_dump())
        return self._model(schemas.DatasetOut, answer)

    def delete_dataset(self, name: str, *, tenant: str | None = None) -> None:
        self._call("DELETE", f"/datasets/{_part(name)}", params=_tenant(tenant), again=False)

    def apply(self, text: bytes, *, force: bool = False) -> schemas.AppliedOut:
        """Everything that this YAML or JSON declares, or nothing of it."""
        request: dict[str, Any] = {"content": text, "headers": {"Content-Type": _YAML}}
        answer = self._call("POST", "/apply", params={"force": str(force).lower()}, **request)
        return self._model(schemas.AppliedOut, answer)

    def health(self) -> schemas.HealthOut:
        """That it lives; a hub that does not lead answers this alone."""
        return self._get(schemas.HealthOut, "/healthz")

    def ready(self) -> schemas.HealthOut:
        """That it serves. Raises HubNotReady, and ApiError where a part of it has failed."""
        return self._get(schemas.HealthOut, "/readyz")

    # --- one request ---

    def _post_manifests(
        self,
        path: str,
        body: bytes,
        content_type: str,
        namespace: str | None,
        key: str | None,
        if_too_large: str | None,
    ) -> schemas.SubmitOut:
        params = _namespace(namespace) | ({"if_too_large": if_too_large} if if_too_large else {})
        headers = {"Content-Type": content_type, "Idempotency-Key": key or f"{schemas.OWN_KEY}{uuid.uuid4().hex}"}
        return self._model(schemas.SubmitOut, self._call("POST", path, params=params, content=body, headers=headers))

    def _get(self, model: type[M], path: str, params: dict[str, Any] | None = None) -> M:
        return self._model(model, self._call("GET", path, params=params))

    def _call(self, method: str, path: str, *, again: bool = True, **request: Any) -> httpx.Response:
        retrying = Retrying(
            retry=retry_if_exception_type((*_BROKEN, HubNotReady)),
            stop=stop_after_delay(self._patience_s if again else 0),
            wait=wait_random_exponential(multiplier=0.1, max=2.0),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(self._request, method, path, **request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        answer = self._http.request(method, path, **request)
        if answer.is_error:
            raise self._refusal(answer)
        return answer

    @contextmanager
    def _streaming(
        self,
        path: str,
        params: dict[str, str],
        *,
        read_s: float | None,
        headers: dict[str, str] | None = None,
        json: dict[str, Any] | None = None,
    ) -> Iterator[httpx.Response]:
        """A POST where there is `json`."""
        timeout, method = httpx.Timeout(30.0, connect=10.0, read=read_s), "GET" if json is None else "POST"
        try:
            with self._http.stream(method, path, params=params, headers=headers, json=json, timeout=timeout) as answer:
                if answer.is_error:
                    answer.read()
                    raise self._refusal(answer)
                yield answer
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _events_once(self, job: str | None, after: int | None, follow: bool) -> Iterator[schemas.EventOut | None]:
        """None once the stream stands; then its events."""
        params = {"follow": str(follow).lower()} | ({"job": job} if job else {})
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(after)} if after is not None else {})
        with self._streaming("/events", params, read_s=_SILENCE_S, headers=headers) as answer:
            yield None
            try:
                for sent in EventSource(answer).iter_sse():
                    if sent.event == "error":
                        raise self._broken_off(sent.data)
                    yield self._parse(schemas.EventOut, sent.data)
            except SSEError as error:
                raise HubUnreachable(self.url, f"it sent no event stream: {error}") from error

    def _logs_once(self, ref: str, body: dict[str, Any], follow: bool) -> Iterator[schemas.LogLineOut]:
        path, read_s = f"/jobs/{_part(ref)}/logs", None if follow else 60.0
        with self._streaming(path, {}, read_s=read_s, json=body) as answer:
            for line in answer.iter_lines():
                if line:
                    yield self._log_line(line)

    def _log_line(self, line: str) -> schemas.LogLineOut:
        if line.startswith('{"error"'):
            raise self._broken_off(line)
        return self._parse(schemas.LogLineOut, line)

    def _model(self, model: type[M], answer: httpx.Response) -> M:
        return self._parse(model, answer.content)

    def _parse(self, model: type[M], content: bytes | str) -> M:
        try:
            # A newer hub may say more than this client knows.
            return model.model_validate_json(content, extra="ignore")
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise HubUnreachable(
                self.url,
                f"its answer cannot be read ({where}: {first['msg']})",
                "is this a muster hub, of this version?",
            ) from error

    def _refusal(self, answer: httpx.Response) -> ApiError | HubUnreachable:
        try:
            body = schemas.ErrorBody.model_validate_json(answer.content, extra="ignore")
        except ValidationError:
            return HubUnreachable(
                self.url, f"HTTP {answer.status_code} that is not the hub's", "is a proxy in between?"
            )
        if body.error.code == schemas.NOT_LEADING:
            return HubNotReady(self.url, body.error.message)
        return ApiError(answer.status_code, body.error)

    def _broken_off(self, text: str) -> ApiError:
        return ApiError(500, self._parse(schemas.ErrorBody, text).error)

    def _unreachable(self, error: Exception) -> HubUnreachable:
        text = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return HubUnreachable(self.url, text, "give the hub's ca.crt: muster login URL --ca ca.crt, or MUSTER_CA")
        return HubUnreachable(self.url, text)


_YAML = "application/yaml"
# Why a log ends early, and may be taken up again.
_PASSING = frozenset({"cluster-not-connected", "log-broken"})
# Failures of the connection. A read timeout is not one: the hub may still be at it.
_BROKEN = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)


def _tenant(tenant: str | None) -> dict[str, str]:
    return {} if tenant is None else {"tenant": tenant}


def _namespace(namespace: str | None) -> dict[str, str]:
    return {} if namespace is None else {"namespace": namespace}


def _part(text: str) -> str:
    return quote(text, safe="")
