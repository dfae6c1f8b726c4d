"""Queues, what reservations take and since when, and what ended attempts took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "queues",
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("cohort", sa.String(length=253), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("quotas_json", sa.Text(), nullable=False),
        sa.Column("budget_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_queues")),
    )
    op.create_table(
        "attempts",
        sa.Column("job", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("queue", sa.String(length=253), nullable=False),
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("cluster", sa.String(length=253), nullable=False),
        sa.Column("uses_json", sa.Text(), nullable=False),
        sa.Column("usd_per_hour", sa.Float(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job", "epoch", name=op.f("pk_attempts")),
    )
    op.create_index(op.f("ix_attempts_by_end"), "attempts", ["until"])
    # Of reservations made before, nobody knows since when they are held: they are not charged.
    op.add_column("reservations", sa.Column("uses_json", sa.Text(), nullable=False, server_default="[]"))
    op.add_column("reservations", sa.Column("usd_per_hour", sa.Float(), nullable=False, server_default="0"))
    op.add_column("reservations", sa.Column("since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "queued_at")
    for name in ("since", "usd_per_hour", "uses_json"):
        op.drop_column("reservations", name)
    op.drop_index(op.f("ix_attempts_by_end"), table_name="attempts")
    op.drop_table("attempts")
    op.drop_table("queues")
