"""Money: routes between regions, cards of one's own, how long queues wait before they burst, and what attempts cost."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels = None
depends_on = None

_SUMS = ("gpu_hours", "cpu_hours", "gpu_usd", "cpu_usd", "egress_usd", "lost_usd", "foreseen_usd", "foreseen_real_usd")
_KEY = ("day", "queue", "tenant", "owner", "cluster")


def upgrade() -> None:
    op.create_table(
        "transfers",
        sa.Column("source", sa.String(length=253), nullable=False),
        sa.Column("target", sa.String(length=253), nullable=False),
        sa.Column("usd_per_gb", sa.Float(), nullable=False),
        sa.Column("gbit_per_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("source", "target", name=op.f("pk_transfers")),
    )
    op.create_table(
        "price_settings",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_price_settings")),
    )
    op.add_column("prices", sa.Column("amortised_json", sa.Text(), nullable=True))
    op.add_column("queues", sa.Column("burst_after_hours", sa.Float(), nullable=True))
    op.add_column("attempts", sa.Column("owner", sa.String(length=253), nullable=False, server_default=""))
    op.add_column("attempts", sa.Column("name", sa.String(length=253), nullable=False, server_default=""))
    op.add_column("attempts", sa.Column("outcome", sa.String(length=16), nullable=False, server_default=""))
    for name in ("hours", "gpus", "cores"):
        op.add_column("attempts", sa.Column(name, sa.Float(), nullable=False, server_default="0"))
    op.add_column("attempts", sa.Column("spot", sa.Boolean(), nullable=False, server_default=sa.text("false")))
    for table in ("reservations", "attempts"):
        op.add_column(table, sa.Column("cpu_usd_per_hour", sa.Float(), nullable=False, server_default="0"))
        op.add_column(table, sa.Column("foreseen_usd", sa.Float(), nullable=True))
        op.add_column(table, sa.Column("egress_usd", sa.Float(), nullable=False, server_default="0"))
    days = op.create_table(
        "cost_days",
        sa.Column("day", sa.String(length=10), nullable=False),
        *(sa.Column(name, sa.String(length=253), nullable=False) for name in _KEY[1:]),
        *(sa.Column(name, sa.Float(), nullable=False) for name in _SUMS),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, name=op.f("pk_cost_days")),
    )
    _sum_up(days)


def downgrade() -> None:
    op.drop_table("cost_days")
    for table in ("attempts", "reservations"):
        for name in ("egress_usd", "foreseen_usd", "cpu_usd_per_hour"):
            op.drop_column(table, name)
    for name in ("spot", "cores", "gpus", "hours", "outcome", "name", "owner"):
        op.drop_column("attempts", name)
    op.drop_column("queues", "burst_after_hours")
    op.drop_column("prices", "amortised_json")
    op.drop_table("price_settings")
    op.drop_table("transfers")


def _sum_up(days: sa.Table) -> None:
    """What ended before: whose it was its job still says, how it ended nothing does."""
    attempts = sa.table(
        "attempts", *(sa.column(name) for name in ("job", "owner", "name", "cpu_usd_per_hour", "uses_json"))
    )
    jobs = sa.table("jobs", *(sa.column(name) for name in ("id", "owner", "name")))
    for name in ("owner", "name"):
        known = sa.select(jobs.c[name]).where(jobs.c.id == attempts.c.job).scalar_subquery()
        op.execute(attempts.update().values({name: sa.func.coalesce(known, "")}))
    # Whole attempts without a GPU: all they cost was for cores.
    op.execute(
        "UPDATE attempts SET cpu_usd_per_hour = usd_per_hour WHERE uses_json LIKE '[[\"cpu\",%' "
        "AND uses_json NOT LIKE '%],[%'"
    )
    found: dict[tuple[str, ...], dict[str, float]] = {}
    told: list[dict[str, Any]] = []
    query = sa.text(
        "SELECT job, epoch, queue, tenant, owner, cluster, uses_json, usd_per_hour, cpu_usd_per_hour, since, until "
        "FROM attempts"
    )
    moments = {name: sa.DateTime(timezone=True) for name in ("since", "until")}
    for row in op.get_bind().execute(query.columns(**moments)):
        told.append({"_job": row.job, "_epoch": row.epoch, **_add(found, row)})
    if found:
        op.bulk_insert(days, [{**dict(zip(_KEY, key, strict=True)), **sums} for key, sums in sorted(found.items())])
        table = sa.table("attempts", *(sa.column(name) for name in ("job", "epoch", "hours", "gpus", "cores")))
        this = (table.c.job == sa.bindparam("_job"), table.c.epoch == sa.bindparam("_epoch"))
        values: dict[str, Any] = {name: sa.bindparam(name) for name in ("hours", "gpus", "cores")}
        op.get_bind().execute(table.update().where(*this).values(values), told)


def _add(found: dict[tuple[str, ...], dict[str, float]], row: Any) -> dict[str, float]:
    """Answers the attempt's hours, GPUs and cores."""
    since, until = (each.replace(tzinfo=UTC) if each.tzinfo is None else each for each in (row.since, row.until))
    uses = json.loads(row.uses_json)
    gpus = sum(amount for device, amount in uses if device != "cpu")
    cores = sum(amount for device, amount in uses if device == "cpu")
    day: datetime = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day <= until:
        next_day = day + timedelta(days=1)
        hours = max(0.0, (min(until, next_day) - max(since, day)) / timedelta(hours=1))
        key = (f"{day:%Y-%m-%d}", row.queue, row.tenant, row.owner, row.cluster)
        sums = found.setdefault(key, {**dict.fromkeys(_SUMS, 0.0), "attempts": 0})
        sums["gpu_hours"] += gpus * hours
        sums["cpu_hours"] += cores * hours
        sums["gpu_usd"] += (row.usd_per_hour - row.cpu_usd_per_hour) * hours
        sums["cpu_usd"] += row.cpu_usd_per_hour * hours
        sums["attempts"] += day <= until < next_day
        day = next_day
    return {"hours": max(0.0, (until - since) / timedelta(hours=1)), "gpus": gpus, "cores": cores}
