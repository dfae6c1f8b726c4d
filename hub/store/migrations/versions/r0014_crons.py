"""CronJobs, and the jobs that are their runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "crons",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("owner", sa.String(length=253), nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.Column("manifest_json", sa.Text(), nullable=False),
        sa.Column("objects_json", sa.Text(), nullable=False),
        sa.Column("if_too_large", sa.String(length=16), nullable=True),
        sa.Column("kept_succeeded", sa.Integer(), nullable=False),
        sa.Column("kept_failed", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("look_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crons")),
    )
    op.create_index("ix_crons_by_name", "crons", ["tenant", "namespace", "name"], unique=True)
    op.create_index(op.f("ix_crons_look_at"), "crons", ["look_at"])
    op.create_table(
        "cron_runs",
        sa.Column("job", sa.String(length=16), nullable=False),
        sa.Column("cron", sa.String(length=16), nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_cron_runs_job")),
        sa.ForeignKeyConstraint(["cron"], ["crons.id"], name=op.f("fk_cron_runs_cron")),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_cron_runs")),
    )
    op.create_index("ix_cron_runs_once", "cron_runs", ["cron", "scheduled_at"], unique=True)


def downgrade() -> None:
    op.drop_table("cron_runs")
    op.drop_table("crons")
