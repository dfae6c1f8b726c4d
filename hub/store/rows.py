"""The tables. Nothing outside hub.store sees a row: the repositories answer values of hub.records and placement.

`jobs` is narrow and rewritten at every transition; what never changes of a job (its workload and objects) lies in
`job_specs`. Times are UTC, JSON is text written by hub.store.codec. Numbers that must grow without gaps being reused
(events, commands) are given out by hub.store.numbers inside the one writer's transaction.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    or_,
    text,
)
from sqlmodel import Field, SQLModel

# So that migrations can name what they drop, on either database.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Utc(TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no zone, so it is taken off on the way in and put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Row(SQLModel):
    """Base of every table, with a metadata of its own."""

    metadata = MetaData(naming_convention=NAMING)


def text_key(length: int = 64) -> Any:
    return Field(sa_column=Column(String(length), primary_key=True))


class UserRow(Row, table=True):
    __tablename__ = "users"
    name: str = text_key(253)
    tenant: str = Field(sa_column=Column(String(253), nullable=False, index=True))
    role: str = Field(sa_column=Column(String(16), nullable=False))
    token_id: str = Field(sa_column=Column(String(64), nullable=False, unique=True))
    token_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = Field(sa_column=Column(Utc, nullable=False))


class ClusterRow(Row, table=True):
    __tablename__ = "clusters"
    name: str = text_key(253)
    region: str = Field(sa_column=Column(String(253), nullable=False))
    labels_json: str = Field(sa_column=Column(Text, nullable=False))
    cordoned: bool = Field(sa_column=Column(Boolean, nullable=False))
    created_at: datetime = Field(sa_column=Column(Utc, nullable=False))
    removed_at: datetime | None = Field(sa_column=Column(Utc))
    serial: str | None = Field(sa_column=Column(String(64)))
    # A renewal whose answer was lost: the certificate before it stays welcome until the new one was used.
    previous_serial: str | None = Field(sa_column=Column(String(64)))
    certificate_expires_at: datetime | None = Field(sa_column=Column(Utc))
    agent_version: str = Field(sa_column=Column(String(64), nullable=False))
    last_seen: datetime | None = Field(sa_column=Column(Utc))
    summary_json: str | None = Field(sa_column=Column(Text))


class JoinTokenRow(Row, table=True):
    __tablename__ = "join_tokens"
    id: str = text_key()
    secret_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    cluster: str = Field(sa_column=Column(String(253), nullable=False))
    expires_at: datetime = Field(sa_column=Column(Utc, nullable=False, index=True))
    used_at: datetime | None = Field(sa_column=Column(Utc))


# Parts of a divided work bear its name, each in a cluster of its own.
_LIVE_NAME = "finished_at IS NULL AND (whole IS NULL OR whole = id)"


class JobRow(Row, table=True):
    __tablename__ = "jobs"
    # One live job per name: two of one name would write the same object in a member cluster.
    __table_args__ = (
        Index(
            "uq_jobs_live_name",
            "tenant",
            "kind",
            "namespace",
            "name",
            unique=True,
            sqlite_where=text(_LIVE_NAME),
            postgresql_where=text(_LIVE_NAME),
        ),
        Index("ix_jobs_by_age", "submitted_at", "id"),
        Index(
            "ix_jobs_by_end",
            "finished_at",
            sqlite_where=text("finished_at IS NOT NULL"),
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        Index("ix_jobs_by_tenant", "tenant", "submitted_at", "id"),
        Index("ix_jobs_by_tenant_name", "tenant", "name"),
        Index("ix_jobs_by_phase", "phase", "submitted_at", "id"),
        Index("ix_jobs_by_cluster", "cluster", "submitted_at", "id"),
        Index("ix_jobs_by_queue", "queue", "submitted_at", "id"),
        Index("ix_jobs_whole", "whole"),
    )
    id: str = text_key(16)
    tenant: str = Field(sa_column=Column(String(253), nullable=False))
    owner: str = Field(sa_column=Column(String(253), nullable=False))
    name: str = Field(sa_column=Column(String(253), nullable=False))
    namespace: str = Field(sa_column=Column(String(253), nullable=False))
    kind: str = Field(sa_column=Column(String(64), nullable=False))
    queue: str = Field(sa_column=Column(String(253), nullable=False))
    priority: int = Field(sa_column=Column(Integer, nullable=False))
    phase: str = Field(sa_column=Column(String(16), nullable=False))
    epoch: int = Field(sa_column=Column(Integer, nullable=False))
    report_seq: int = Field(sa_column=Column(BigInteger, nullable=False))  # the last applied, of this epoch
    cluster: str | None = Field(sa_column=Column(String(253)))
    reason: str = Field(sa_column=Column(Text, nullable=False))
    roles_json: str = Field(sa_column=Column(Text, nullable=False))
    pods_json: str = Field(sa_column=Column(Text, nullable=False))
    submitted_at: datetime = Field(sa_column=Column(Utc, nullable=False))
    placed_at: datetime | None = Field(sa_column=Column(Utc))
    started_at: datetime | None = Field(sa_column=Column(Utc))
    finished_at: datetime | None = Field(sa_column=Column(Utc))
    usd_per_hour: float | None = Field(sa_column=Column(Float))
    spot: bool = Field(sa_column=Column(Boolean, nullable=False))
    client_key: str | None = Field(sa_column=Column(String(253)))
    queued_at: datetime | None = Field(sa_column=Column(Utc))  # when it was last put back; None: when it was submitted
    checkpoint_at: datetime | None = Field(sa_column=Column(Utc))  # of the present attempt, as it told
    stalled_since: datetime | None = Field(sa_column=Column(Utc))  # while it shows no progress for the time it named
    progress_done: int | None = Field(sa_column=Column(BigInteger))  # of the present attempt, as its kind tells it
    progress_of: int | None = Field(sa_column=Column(BigInteger))
    retries_done: int | None = Field(sa_column=Column(BigInteger))
    retries_of: int | None = Field(sa_column=Column(BigInteger))
    evicted_for: str | None = Field(sa_column=Column(String(16)))  # while it is stopped: who gets its room
    promised: str | None = Field(sa_column=Column(String(253)))  # while it waits: where room was made for it
    whole: str | None = Field(sa_column=Column(String(16)))  # a part's divided work; that work's own id; else none
    division_json: str | None = Field(sa_column=Column(Text))  # of a divided work


class JobSpecRow(Row, table=True):
    __tablename__ = "job_specs"
    job: str = Field(sa_column=Column(String(16), ForeignKey("jobs.id"), primary_key=True))
    workload_json: str = Field(sa_column=Column(Text, nullable=False))
    objects_json: str = Field(sa_column=Column(Text, nullable=False))


class SubmissionRow(Row, table=True):
    """What one client key stood for, so that asking again answers the same jobs."""

    __tablename__ = "submissions"
    tenant: str = text_key(253)
    client_key: str = text_key(253)
    content_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    jobs_json: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=Column(Utc, nullable=False))


class JobEventRow(Row, table=True):
    __tablename__ = "job_events"
    __table_args__ = (
        Index("ix_job_events_by_job", "job", "seq"),
        Index("ix_job_events_by_tenant", "tenant", "seq"),
    )
    seq: int = Field(sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True))
    job: str = Field(sa_column=Column(String(16), ForeignKey("jobs.id"), nullable=False))
    tenant: str = Field(sa_column=Column(String(253), nullable=False))
    epoch: int = Field(sa_column=Column(Integer, nullable=False))
    phase: str = Field(sa_column=Column(String(16), nullable=False))
    event: str = Field(sa_column=Column(String(16), nullable=False))
    message: str = Field(sa_column=Column(Text, nullable=False))
    at: datetime = Field(sa_column=Column(Utc, nullable=False))


class ReservationRow(Row, table=True):
    """Keyed by the job alone: a job holds capacity once, or not at all."""

    __tablename__ = "reservations"
    job: str = Field(sa_column=Column(String(16), ForeignKey("jobs.id"), primary_key=True))
    epoch: int = Field(sa_column=Column(Integer, nullable=False))
    cluster: str = Field(sa_column=Column(String(253), ForeignKey("clusters.name"), nullable=False, index=True))
    spot: bool = Field(sa_column=Column(Boolean, nullable=False))
    uses_json: str = Field(sa_column=Column(Text, nullable=False, server_default="[]"))
    usd_per_hour: float = Field(sa_column=Column(Float, nullable=False, server_default="0"))
    since: datetime | None = Field(sa_column=Column(Utc))
    cpu_usd_per_hour: float = Field(sa_column=Column(Float, nullable=False, server_default="0"))  # of usd_per_hour
    foreseen_usd: float | None = Field(sa_column=Column(Float))  # of the whole attempt, when it was placed
    egress_usd: float = Field(sa_column=Column(Float, nullable=False, server_default="0"))  # of what was moved for it
    # Of one whose size may change. `since` is when it got the present one; "" in the others: nothing to say.
    placed_at: datetime | None = Field(sa_column=Column(Utc))  # null: `since`
    revision: int = Field(sa_column=Column(Integer, nullable=False, server_default="0"))  # grows with each change
    pods_json: str = Field(sa_column=Column(Text, nullable=False, server_default=""))  # role -> pods; "": as submitted
    was_json: str = Field(sa_column=Column(Text, nullable=False, server_default=""))  # before the last change
    wanted_json: str = Field(sa_column=Column(Text, nullable=False, server_default=""))  # until the cluster has it
    shrinks_for: str = Field(sa_column=Column(Text, nullable=False, server_default=""))  # the job that gets the room
    variant_json: str | None = Field(sa_column=Column(Text))  # what overrides of the cluster made of its workload


class AttemptRow(Row, table=True):
    """What a reservation took from its making to its release; outlives its job, so that what was spent stays spent."""

    __tablename__ = "attempts"
    __table_args__ = (Index("ix_attempts_by_end", "until"),)
    job: str = text_key(16)
    epoch: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    # 0: the last, or only, size that it had; the others are charged when they end.
    part: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False, server_default="0"))
    queue: str = Field(sa_column=Column(String(253), nullable=False))
    tenant: str = Field(sa_column=Column(String(253), nullable=False))
    cluster: str = Field(sa_column=Column(String(253), nullable=False))
    uses_json: str = Field(sa_column=Column(Text, nullable=False))
    usd_per_hour: float = Field(sa_column=Column(Float, nullable=False))
    since: datetime = Field(sa_column=Column(Utc, nullable=False))
    until: datetime = Field(sa_column=Column(Utc, nullable=False))
    owner: str = Field(sa_column=Column(String(253), nullable=False, server_default=""))
    name: str = Field(sa_column=Column(String(253), nullable=False, server_default=""))  # the job's
    outcome: str = Field(sa_column=Column(String(16), nullable=False, server_default=""))  # `placement.costs.Outcome`
    # Told apart so that reports can be summed up where the rows lie.
    hours: float = Field(sa_column=Column(Float, nullable=False, server_default="0"))
    gpus: float = Field(sa_column=Column(Float, nullable=False, server_default="0"))
    cores: float = Field(sa_column=Column(Float, nullable=False, server_default="0"))  # of pods without devices
    cpu_usd_per_hour: float = Field(sa_column=Column(Float, nullable=False, server_default="0"))  # of usd_per_hour
    foreseen_usd: float | None = Field(sa_column=Column(Float))
    egress_usd: float = Field(sa_column=Column(Float, nullable=False, server_default="0"))
    whole: str | None = Field(sa_column=Column(String(16)))  # the divided work that the job is a part of


class CostDayRow(Row, table=True):
    """What ended attempts cost, summed by UTC day, queue, owner and cluster; outlives the attempts."""

    __tablename__ = "cost_days"
    day: str = text_key(10)  # "2026-03-01"
    queue: str = text_key(253)
    tenant: str = text_key(253)
    owner: str = text_key(253)
    cluster: str = text_key(253)
    gpu_hours: float = Field(sa_column=Column(Float, nullable=False))
    cpu_hours: float = Field(sa_column=Column(Float, nullable=False))  # cores of pods without devices, times hours
    gpu_usd: float = Field(sa_column=Column(Float, nullable=False))
    cpu_usd: float = Field(sa_column=Column(Float, nullable=False))
    egress_usd: float = Field(sa_column=Column(Float, nullable=False))
    lost_usd: float = Field(sa_column=Column(Float, nullable=False))  # of the three: attempts that came to nothing
    # Of attempts that succeeded and whose cost was foreseen, on the day they ended: foreseen, and real.
    foreseen_usd: float = Field(sa_column=Column(Float, nullable=False))
    foreseen_real_usd: float = Field(sa_column=Column(Float, nullable=False))
    attempts: int = Field(sa_column=Column(Integer, nullable=False))  # that ended on that day


class QueueRow(Row, table=True):
    __tablename__ = "queues"
    name: str = text_key(253)
    cohort: str = Field(sa_column=Column(String(253), nullable=False))
    weight: float = Field(sa_column=Column(Float, nullable=False))
    quotas_json: str = Field(sa_column=Column(Text, nullable=False))
    budget_json: str = Field(sa_column=Column(Text, nullable=False))
    burst_after_hours: float | None = Field(sa_column=Column(Float))
    preemption_json: str = Field(sa_column=Column(Text, nullable=False, server_default="{}"))


class TenantRow(Row, table=True):
    __tablename__ = "tenants"
    name: str = text_key(253)
    namespaces_json: str = Field(sa_column=Column(Text, nullable=False))
    level: str = Field(sa_column=Column(String(16), nullable=False))
    kinds_json: str = Field(sa_column=Column(Text, nullable=False))
    exemptions_json: str = Field(sa_column=Column(Text, nullable=False))
    queues_json: str = Field(sa_column=Column(Text, nullable=False))


class DatasetRow(Row, table=True):
    """`key` is the name among all tenants' (placement.data)."""

    __tablename__ = "datasets"
    key: str = text_key(512)
    tenant: str = Field(sa_column=Column(String(253), nullable=False))
    name: str = Field(sa_column=Column(String(512), nullable=False))
    size_bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    residency_json: str = Field(sa_column=Column(Text, nullable=False))
    replicas_json: str = Field(sa_column=Column(Text, nullable=False))
    secret: str = Field(sa_column=Column(String(253), nullable=False))
    learned: bool = Field(sa_column=Column(Boolean, nullable=False))


class PlacementRow(Row, table=True):
    """Why each attempt went where it went; written once."""

    __tablename__ = "placements"
    job: str = Field(sa_column=Column(String(16), ForeignKey("jobs.id"), primary_key=True))
    epoch: int = Field(sa_column=Column(Integer, primary_key=True))
    cluster: str = Field(sa_column=Column(String(253), nullable=False))
    at: datetime = Field(sa_column=Column(Utc, nullable=False))
    decision_json: str = Field(sa_column=Column(Text, nullable=False))


class CommandRow(Row, table=True):
    """The outbox. `payload_json` is emptied when the command is closed: it may be large and is never sent again."""

    __tablename__ = "commands"
    __table_args__ = (
        Index(
            "ix_commands_open",
            "cluster",
            "id",
            sqlite_where=text("acked_at IS NULL"),
            postgresql_where=text("acked_at IS NULL"),
        ),
        Index(
            "ix_commands_closed",
            "acked_at",
            sqlite_where=text("acked_at IS NOT NULL"),
            postgresql_where=text("acked_at IS NOT NULL"),
        ),
    )
    id: int = Field(sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True))
    cluster: str = Field(sa_column=Column(String(253), ForeignKey("clusters.name"), nullable=False))
    job: str = Field(sa_column=Column(String(16), ForeignKey("jobs.id"), nullable=False, index=True))
    epoch: int = Field(sa_column=Column(Integer, nullable=False))
    kind: str = Field(sa_column=Column(String(16), nullable=False))  # start | stage | stop
    payload_json: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=Column(Utc, nullable=False))
    acked_at: datetime | None = Field(sa_column=Column(Utc))


class PriceRow(Row, table=True):
    __tablename__ = "prices"
    cluster: str = text_key(253)
    product: str = text_key(253)
    on_demand_usd_per_gpu_hour: float = Field(sa_column=Column(Float, nullable=False))
    spot_usd_per_gpu_hour: float | None = Field(sa_column=Column(Float))
    spot_interruptions_per_hour: float = Field(sa_column=Column(Float, nullable=False))
    amortised_json: str | None = Field(sa_column=Column(Text))


class TransferRow(Row, table=True):
    """What moving data from one region to another costs; `*` stands for every region without a row of its own."""

    __tablename__ = "transfers"
    source: str = text_key(253)
    target: str = text_key(253)
    usd_per_gb: float = Field(sa_column=Column(Float, nullable=False))
    gbit_per_s: float = Field(sa_column=Column(Float, nullable=False))


class PriceSettingRow(Row, table=True):
    """What of the price book is no list of its own: which clusters are public, what routes default to …"""

    __tablename__ = "price_settings"
    name: str = text_key()
    value_json: str = Field(sa_column=Column(Text, nullable=False))


class LeadershipRow(Row, table=True):
    """One row, which its migration makes: the replica that leads. Not used where the database is a file."""

    __tablename__ = "leadership"
    id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    term: int = Field(sa_column=Column(BigInteger, nullable=False))  # grows with each change of the leader
    holder: str = Field(sa_column=Column(String(253), nullable=False))  # "": it was given back
    ca_fingerprint: str = Field(sa_column=Column(String(64), nullable=False))  # of the CA that the holder signs with
    since: datetime = Field(sa_column=Column(Utc, nullable=False))
    renewed: datetime = Field(sa_column=Column(Utc, nullable=False))
    lease_s: float = Field(sa_column=Column(Float, nullable=False))  # what the holder promised to renew within
    written: int = Field(
        sa_column=Column(BigInteger, nullable=False)
    )  # the number, in this term, of the last transaction


class AuditRow(Row, table=True):
    """Who reached into which job's pods."""

    __tablename__ = "audit"
    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    at: datetime = Field(sa_column=Column(Utc, nullable=False, index=True))
    user: str = Field(sa_column=Column(String(253), nullable=False))
    tenant: str = Field(sa_column=Column(String(253), nullable=False))
    action: str = Field(sa_column=Column(String(32), nullable=False))
    job: str = Field(sa_column=Column(String(16), nullable=False))
    cluster: str = Field(sa_column=Column(String(253), nullable=False))
    detail: str = Field(sa_column=Column(Text, nullable=False))


class KindFileRow(Row, table=True):
    """A kind of workload that an admin added: the file as given."""

    __tablename__ = "kind_files"
    name: str = text_key()
    text: str = Field(sa_column=Column(Text, nullable=False))
    added_by: str = Field(sa_column=Column(String(253), nullable=False))
    added_at: datetime = Field(sa_column=Column(Utc, nullable=False))


class DistributionRow(Row, table=True):
    """Objects for whole clusters: those that the selector names."""

    __tablename__ = "distributions"
    name: str = text_key()
    revision: int = Field(sa_column=Column(Integer, nullable=False))
    selector: str = Field(sa_column=Column(Text, nullable=False))
    objects_json: str = Field(sa_column=Column(Text, nullable=False))
    adopt: bool = Field(sa_column=Column(Boolean, nullable=False))
    deleting: bool = Field(sa_column=Column(Boolean, nullable=False))
    changed_by: str = Field(sa_column=Column(String(253), nullable=False))
    changed_at: datetime = Field(sa_column=Column(Utc, nullable=False))


class OverrideRow(Row, table=True):
    """What an admin changes of workloads on some clusters."""

    __tablename__ = "overrides"
    name: str = text_key(253)
    spec_json: str = Field(sa_column=Column(Text, nullable=False))
    changed_by: str = Field(sa_column=Column(String(253), nullable=False))
    changed_at: datetime = Field(sa_column=Column(Utc, nullable=False))


class DistributionOrderRow(Row, table=True):
    """The last order about a distribution to a cluster, and what that said of it."""

    __tablename__ = "distribution_orders"
    distribution: str = Field(sa_column=Column(String(64), ForeignKey("distributions.name"), primary_key=True))
    cluster: str = Field(sa_column=Column(String(253), ForeignKey("clusters.name"), primary_key=True))
    generation: int = Field(sa_column=Column(BigInteger, nullable=False))
    revision: int = Field(sa_column=Column(Integer, nullable=False))
    present: bool = Field(sa_column=Column(Boolean, nullable=False))
    acked: bool = Field(sa_column=Column(Boolean, nullable=False))
    gone: bool = Field(sa_column=Column(Boolean, nullable=False))
    problem: str = Field(sa_column=Column(Text, nullable=False))
    states_json: str | None = Field(sa_column=Column(Text))


class CronRow(Row, table=True):
    """A CronJob: its calendar is the hub's, and each run a job of its own."""

    __tablename__ = "crons"
    __table_args__ = (Index("ix_crons_by_name", "tenant", "namespace", "name", unique=True),)
    id: str = text_key(16)
    tenant: str = Field(sa_column=Column(String(253), nullable=False))
    owner: str = Field(sa_column=Column(String(253), nullable=False))
    namespace: str = Field(sa_column=Column(String(63), nullable=False))
    name: str = Field(sa_column=Column(String(63), nullable=False))
    revision: int = Field(sa_column=Column(Integer, nullable=False))
    suspended: bool = Field(sa_column=Column(Boolean, nullable=False))
    manifest_json: str = Field(sa_column=Column(Text, nullable=False))
    objects_json: str = Field(sa_column=Column(Text, nullable=False))  # what travels along with each run
    if_too_large: str | None = Field(sa_column=Column(String(16)))
    kept_succeeded: int = Field(sa_column=Column(Integer, nullable=False))
    kept_failed: int = Field(sa_column=Column(Integer, nullable=False))
    created_at: datetime = Field(sa_column=Column(Utc, nullable=False))
    since: datetime = Field(sa_column=Column(Utc, nullable=False))  # runs for moments after this are not started yet
    look_at: datetime | None = Field(sa_column=Column(Utc, index=True))  # None: not because of time
    note: str = Field(sa_column=Column(Text, nullable=False))


class CronRunRow(Row, table=True):
    __tablename__ = "cron_runs"
    __table_args__ = (Index("ix_cron_runs_once", "cron", "scheduled_at", unique=True),)
    job: str = Field(sa_column=Column(String(16), ForeignKey("jobs.id"), primary_key=True))
    cron: str = Field(sa_column=Column(String(16), ForeignKey("crons.id"), nullable=False))
    scheduled_at: datetime | None = Field(sa_column=Column(Utc))  # None: started by hand
    started_at: datetime = Field(sa_column=Column(Utc, nullable=False))


def table_of(row: type[Row]) -> Table:
    """For Core statements, which the hot paths use: several times faster than flushing objects."""
    return cast(Table, cast(Any, row).__table__)


users = table_of(UserRow)
clusters = table_of(ClusterRow)
join_tokens = table_of(JoinTokenRow)
jobs = table_of(JobRow)
job_specs = table_of(JobSpecRow)
submissions = table_of(SubmissionRow)
job_events = table_of(JobEventRow)
reservations = table_of(ReservationRow)
placements = table_of(PlacementRow)
commands = table_of(CommandRow)
prices = table_of(PriceRow)
transfers = table_of(TransferRow)
price_settings = table_of(PriceSettingRow)
queues = table_of(QueueRow)
tenants = table_of(TenantRow)
datasets = table_of(DatasetRow)
attempts = table_of(AttemptRow)
cost_days = table_of(CostDayRow)
leadership = table_of(LeadershipRow)
audit = table_of(AuditRow)
kind_files = table_of(KindFileRow)
distributions = table_of(DistributionRow)
distribution_orders = table_of(DistributionOrderRow)
crons = table_of(CronRow)
cron_runs = table_of(CronRunRow)
overrides = table_of(OverrideRow)


def is_placed_itself() -> ColumnElement[bool]:
    """Not a divided work, whose parts are placed instead."""
    return or_(jobs.c.whole.is_(None), jobs.c.whole != jobs.c.id)


def is_no_part() -> ColumnElement[bool]:
    """What people submitted."""
    return or_(jobs.c.whole.is_(None), jobs.c.whole == jobs.c.id)
