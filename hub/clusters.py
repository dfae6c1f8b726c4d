"""Member clusters: how one joins, what people see of it, and how it is cordoned, drained and removed.

A join token is good once, for fifteen minutes, for one name. What a certificate says is decided by the token's name;
the signing request only proves that its sender holds the key. Removal takes effect with its commit: certificates are
welcome no more, the stream is ended, and the cluster's jobs are queued again under a later epoch.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy.orm import Session

from hub.access import new_secret, proves
from hub.errors import ConflictError, Forbidden, Invalid, NotFound, Unauthenticated
from hub.federation import Federation
from hub.pki import RequestRefused, SignedCertificate
from hub.records import Actor, ClusterState
from hub.roles import admins_only
from hub.store import clusters, commands, copies, jobs, learned, moves
from hub.store.changes import ClusterRecord
from hub.store.clusters import JoinToken
from hub.store.moves import Move, Outcome
from hub.store.store import Store
from placement.fleet import Cluster
from placement.inventory import DeviceForm, Summary
from placement.kinds.problems import Problem
from placement.lifecycle import Event
from wire.orders import Stop

TOKEN_LIFE = timedelta(minutes=15)
EVICTION_GRACE_S = 30.0
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class CertificateAuthority(Protocol):
    @property
    def ca_pem(self) -> bytes: ...
    @property
    def ca_fingerprint(self) -> str: ...
    def sign_spoke(self, csr_pem: bytes, cluster: str, now: datetime) -> SignedCertificate:
        """Raises hub.pki.RequestRefused."""


class Streams(Protocol):
    """The live streams of the spokes."""

    def close(self, cluster: str, code: str, message: str) -> object:
        """Ends the cluster's stream at once, with a goodbye; no stream is no error."""


@dataclass(frozen=True, slots=True)
class Joined:
    cluster: str
    certificate_pem: bytes
    ca_pem: bytes


class Clusters:
    def __init__(
        self,
        store: Store,
        federation: Federation,
        authority: CertificateAuthority,
        streams: Streams,
        *,
        clock: Callable[[], datetime],
        token_life: timedelta = TOKEN_LIFE,
    ) -> None:
        self._store = store
        self._token_life = token_life
        self._federation = federation
        self._authority = authority
        self._streams = streams
        self._clock = clock

    # ---- joining ----

    async def make_token(
        self, actor: Actor, name: str, *, region: str = "", labels: Mapping[str, str] | None = None
    ) -> str:
        """Raises Forbidden, Invalid. For a cluster that is a member already, the token replaces its certificate."""
        admins_only(actor, "make join tokens")
        if not _NAME.fullmatch(name):
            raise Invalid(
                f"{name!r} is no name for a cluster",
                code="bad-cluster-name",
                mend="use 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
            )
        secret, now = new_secret(), self._clock()

        def write(session: Session) -> None:
            known = clusters.record(session, name)
            if known is None:
                clusters.create(session, name, region, labels or {}, now)
            elif region or labels or known.removed_at is not None:
                clusters.describe(session, name, region, labels or {})
            clusters.add_token(session, JoinToken(secret.id, secret.hash, name, now + self._token_life))

        await self._store.write(write)
        return f"{secret.text}.{self._authority.ca_fingerprint}"

    async def join(self, token: str, csr_pem: bytes) -> Joined:
        """Raises Unauthenticated, Forbidden, Invalid; the token is used up only where a certificate was made."""
        id_, _, rest = token.partition(".")
        secret = rest.partition(".")[0]
        found = await self._store.read(lambda session: clusters.token(session, id_))
        cluster = _checked(found, secret, self._clock()).cluster
        try:
            signed = self._authority.sign_spoke(csr_pem, cluster, self._clock())
        except RequestRefused as error:
            raise Invalid(
                f"the signing request is not signed: {error}", code="bad-csr", mend="let the spoke make a new key"
            ) from error

        def write(session: Session) -> None:
            # Asked again inside the transaction: of two that come with one token, one is too late.
            _checked(clusters.token(session, id_), secret, self._clock())
            clusters.use_token(session, id_, self._clock())
            clusters.certify(session, cluster, signed.serial, signed.expires_at, previous=None)

        await self._store.write(write)
        # Whoever still holds a stream by an earlier certificate of that name is a stranger from now on.
        self._streams.close(cluster, "certificate", f"{cluster} has joined anew with another certificate")
        return Joined(cluster, signed.pem, self._authority.ca_pem)

    async def renew(self, cluster: str, csr_pem: bytes, *, presented: str | None = None) -> bytes:
        """A new certificate. The one `presented` (a serial; None: the newest) stays welcome until the new one is used,
        since the answer may get lost. Raises NotFound, hub.pki.RequestRefused."""
        signed = self._authority.sign_spoke(csr_pem, cluster, self._clock())

        def write(session: Session) -> None:
            known = _member(clusters.record(session, cluster), cluster)
            clusters.certify(session, cluster, signed.serial, signed.expires_at, presented or known.serial)

        await self._store.write(write)
        return signed.pem

    # ---- seeing ----

    async def list(self, actor: Actor) -> tuple[ClusterState, ...]:
        return tuple(self._state(one) for _, one in sorted(self._federation.fleet().clusters.items()))

    async def show(self, actor: Actor, name: str) -> ClusterState:
        """Raises NotFound."""
        found = self._federation.fleet().clusters.get(name)
        if found is None:
            raise _unknown(name)
        return self._state(found)

    def _state(self, cluster: Cluster) -> ClusterState:
        record = self._federation.record(cluster.name)
        summary = cluster.summary
        return ClusterState(
            name=cluster.name,
            region=cluster.region,
            labels=cluster.labels,
            health=cluster.health.value,
            cordoned=cluster.cordoned,
            last_seen=self._federation.last_seen(cluster.name),
            agent_version=record.agent_version if record else "",
            gpus_total=summary.gpus_total if summary else 0,
            gpus_free=summary.gpus_free if summary else 0,
            nodes=summary.nodes_total if summary else 0,
            gpus_unusable=summary.gpus_unusable if summary else 0,
            why_unusable=summary.why_unusable if summary else (),
            products=products_of(summary) if summary else {},
            jobs=len(self._federation.holding(cluster.name)),
            certificate_expires_at=record.certificate_expires_at if record else None,
        )

    # ---- steering ----

    async def cordon(self, actor: Actor, name: str, on: bool) -> None:
        """Raises Forbidden, NotFound."""
        admins_only(actor, "cordon clusters")

        def write(session: Session) -> None:
            _member(clusters.record(session, name), name)
            clusters.cordon(session, name, on)

        await self._store.write(write)

    async def label(self, actor: Actor, name: str, changes: Mapping[str, str | None]) -> None:
        """Sets labels, and takes those away whose value is None. Raises Forbidden, NotFound, Invalid."""
        admins_only(actor, "label clusters")
        problems = [
            Problem(0, key, f"{key}={value or ''} is no label", "write team=research as Kubernetes has it")
            for key, value in changes.items()
            if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value or "")
        ]
        if problems:
            raise Invalid(problems[0].message, code="invalid-label", mend=problems[0].mend, problems=problems)

        def write(session: Session) -> None:
            known = _member(clusters.record(session, name), name)
            merged = {key: value for key, value in {**known.labels, **changes}.items() if value is not None}
            clusters.describe(session, name, known.region, merged)

        await self._store.write(write)

    async def drain(self, actor: Actor, name: str) -> int:
        """Cordons it and evicts its jobs; answers how many. Raises Forbidden, NotFound."""
        admins_only(actor, "drain clusters")
        now, reason = self._clock(), f"{name} is being drained"
        grace_s = {one.job: one.workload.hints.grace_s for one in self._federation.fleet().reservations}

        def write(session: Session) -> int:
            _member(clusters.record(session, name), name)
            clusters.cordon(session, name, True)
            held = jobs.holding_on(session, name)
            stops = {job: Stop(grace_s.get(job, EVICTION_GRACE_S), reason) for job in held}
            evictions = [Move(job, Event.EVICT, reason, now, cluster=name, stop=stops[job]) for job in held]
            return moves.apply(session, evictions).count(Outcome.APPLIED)

        return await self._store.write(write)

    async def remove(self, actor: Actor, name: str, *, force: bool) -> None:
        """Raises Forbidden, NotFound, and ConflictError while jobs are there, unless forced.

        Forced, its jobs are queued again at once: a spoke that is out of reach may still run them until it hears of
        its removal.
        """
        admins_only(actor, "remove clusters")
        now, reason = self._clock(), f"{name} was removed from the federation"
        claims, copied = tuple(self._federation.claims_of(name)), dict(self._federation.copies_in(name))

        def write(session: Session) -> None:
            _member(clusters.record(session, name), name)
            held = jobs.holding_on(session, name)
            if held and not force:
                raise ConflictError(
                    f"{len(held)} jobs hold capacity on {name}",
                    code="cluster-in-use",
                    mend=f"drain it first (muster cluster drain {name}), or use --force to queue its jobs again",
                )
            clusters.remove(session, name, now)
            clusters.void_tokens(session, name)
            # A cluster that joins by this name one day is another one.
            learned.told(session, name, {}, claims, 0)
            copies.gone(session, name, copied)
            evictions = [Move(job, Event.EVICT, reason, now, cluster=name) for job in held]
            moves.apply(session, evictions + [Move(job, Event.STOPPED, reason, now, cluster=name) for job in held])
            commands.close_all(session, name, now)

        await self._store.write(write)
        self._streams.close(name, "removed", reason)


def products_of(summary: Summary) -> dict[str, int]:
    """Cards or slices by product; cards too where their memory is shared out."""
    found: Counter[str] = Counter()
    for shape in summary.shapes:
        node_class = summary.node_classes[shape.node_class]
        for device in node_class.devices:
            per_node = (
                len(shape.shares)
                if device.form is DeviceForm.SHARED_MEMORY and shape.shares
                else node_class.capacity[device.resource]
            )
            found[device.product or device.resource] += per_node * shape.nodes
    return {product: count for product, count in sorted(found.items()) if count}


def _checked(token: JoinToken | None, secret: str, now: datetime) -> JoinToken:
    mend = "ask an admin for a new one (muster cluster token NAME)"
    if token is None or not proves(secret, token.secret_hash):
        raise Unauthenticated("the join token is not one of this hub's", code="bad-join-token", mend=mend)
    if token.used_at is not None:
        raise Forbidden("the join token has been used; it is good once", code="join-token-used", mend=mend)
    if token.expires_at <= now:
        raise Forbidden(
            f"the join token expired at {token.expires_at:%H:%M:%S} UTC", code="join-token-expired", mend=mend
        )
    return token


def _member(record: ClusterRecord | None, name: str) -> ClusterRecord:
    if record is None or record.removed_at is not None:
        raise _unknown(name)
    return record


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no cluster {name}", code="no-such-cluster", mend="muster cluster list names them")
