"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "clusters",
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("region", sa.String(length=253), nullable=False),
        sa.Column("labels_json", sa.Text(), nullable=False),
        sa.Column("cordoned", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("serial", sa.String(length=64), nullable=True),
        sa.Column("previous_serial", sa.String(length=64), nullable=True),
        sa.Column("certificate_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("agent_version", sa.String(length=64), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("summary_json", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_clusters")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("owner", sa.String(length=253), nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("namespace", sa.String(length=253), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("queue", sa.String(length=253), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("report_seq", sa.BigInteger(), nullable=False),
        sa.Column("cluster", sa.String(length=253), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("roles_json", sa.Text(), nullable=False),
        sa.Column("pods_json", sa.Text(), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("usd_per_hour", sa.Float(), nullable=True),
        sa.Column("spot", sa.Boolean(), nullable=False),
        sa.Column("client_key", sa.String(length=253), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index("ix_jobs_by_age", "jobs", ["submitted_at", "id"], unique=False)
    op.create_index("ix_jobs_by_cluster", "jobs", ["cluster", "submitted_at", "id"], unique=False)
    op.create_index(
        "ix_jobs_by_end",
        "jobs",
        ["finished_at"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NOT NULL"),
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index("ix_jobs_by_phase", "jobs", ["phase", "submitted_at", "id"], unique=False)
    op.create_index("ix_jobs_by_queue", "jobs", ["queue", "submitted_at", "id"], unique=False)
    op.create_index("ix_jobs_by_tenant", "jobs", ["tenant", "submitted_at", "id"], unique=False)
    op.create_index("ix_jobs_by_tenant_name", "jobs", ["tenant", "name"], unique=False)
    op.create_index(
        "uq_jobs_live_name",
        "jobs",
        ["tenant", "kind", "namespace", "name"],
        unique=True,
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "join_tokens",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("cluster", sa.String(length=253), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_join_tokens")),
    )
    op.create_index(op.f("ix_join_tokens_expires_at"), "join_tokens", ["expires_at"], unique=False)
    op.create_table(
        "prices",
        sa.Column("cluster", sa.String(length=253), nullable=False),
        sa.Column("product", sa.String(length=253), nullable=False),
        sa.Column("on_demand_usd_per_gpu_hour", sa.Float(), nullable=False),
        sa.Column("spot_usd_per_gpu_hour", sa.Float(), nullable=True),
        sa.Column("spot_interruptions_per_hour", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("cluster", "product", name=op.f("pk_prices")),
    )
    op.create_table(
        "submissions",
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("client_key", sa.String(length=253), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("jobs_json", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "client_key", name=op.f("pk_submissions")),
    )
    op.create_table(
        "users",
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("token_id", sa.String(length=64), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_users")),
        sa.UniqueConstraint("token_id", name=op.f("uq_users_token_id")),
    )
    op.create_index(op.f("ix_users_tenant"), "users", ["tenant"], unique=False)
    op.create_table(
        "commands",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cluster", sa.String(length=253), nullable=False),
        sa.Column("job", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("payload_json", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("acked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["cluster"], ["clusters.name"], name=op.f("fk_commands_cluster")),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_commands_job")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commands")),
    )
    op.create_index(op.f("ix_commands_job"), "commands", ["job"], unique=False)
    op.create_index(
        "ix_commands_closed",
        "commands",
        ["acked_at"],
        unique=False,
        sqlite_where=sa.text("acked_at IS NOT NULL"),
        postgresql_where=sa.text("acked_at IS NOT NULL"),
    )
    op.create_index(
        "ix_commands_open",
        "commands",
        ["cluster", "id"],
        unique=False,
        sqlite_where=sa.text("acked_at IS NULL"),
        postgresql_where=sa.text("acked_at IS NULL"),
    )
    op.create_table(
        "job_events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job", sa.String(length=16), nullable=False),
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_job_events_job")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_job_events")),
    )
    op.create_index("ix_job_events_by_job", "job_events", ["job", "seq"], unique=False)
    op.create_index("ix_job_events_by_tenant", "job_events", ["tenant", "seq"], unique=False)
    op.create_table(
        "job_specs",
        sa.Column("job", sa.String(length=16), nullable=False),
        sa.Column("workload_json", sa.Text(), nullable=False),
        sa.Column("objects_json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_job_specs_job")),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_job_specs")),
    )
    op.create_table(
        "placements",
        sa.Column("job", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("cluster", sa.String(length=253), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decision_json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_placements_job")),
        sa.PrimaryKeyConstraint("job", "epoch", name=op.f("pk_placements")),
    )
    op.create_table(
        "reservations",
        sa.Column("job", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("cluster", sa.String(length=253), nullable=False),
        sa.Column("spot", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["cluster"], ["clusters.name"], name=op.f("fk_reservations_cluster")),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_reservations_job")),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_reservations")),
    )
    op.create_index(op.f("ix_reservations_cluster"), "reservations", ["cluster"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_reservations_cluster"), table_name="reservations")
    op.drop_table("reservations")
    op.drop_table("placements")
    op.drop_table("job_specs")
    op.drop_index("ix_job_events_by_tenant", table_name="job_events")
    op.drop_index("ix_job_events_by_job", table_name="job_events")
    op.drop_table("job_events")
    op.drop_index(
        "ix_commands_closed",
        table_name="commands",
        sqlite_where=sa.text("acked_at IS NOT NULL"),
        postgresql_where=sa.text("acked_at IS NOT NULL"),
    )
    op.drop_index(
        "ix_commands_open",
        table_name="commands",
        sqlite_where=sa.text("acked_at IS NULL"),
        postgresql_where=sa.text("acked_at IS NULL"),
    )
    op.drop_index(op.f("ix_commands_job"), table_name="commands")
    op.drop_table("commands")
    op.drop_index(op.f("ix_users_tenant"), table_name="users")
    op.drop_table("users")
    op.drop_table("submissions")
    op.drop_table("prices")
    op.drop_index(op.f("ix_join_tokens_expires_at"), table_name="join_tokens")
    op.drop_table("join_tokens")
    op.drop_index(
        "uq_jobs_live_name",
        table_name="jobs",
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.drop_index("ix_jobs_by_tenant_name", table_name="jobs")
    op.drop_index("ix_jobs_by_tenant", table_name="jobs")
    op.drop_index("ix_jobs_by_queue", table_name="jobs")
    op.drop_index(
        "ix_jobs_by_end",
        table_name="jobs",
        sqlite_where=sa.text("finished_at IS NOT NULL"),
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.drop_index("ix_jobs_by_phase", table_name="jobs")
    op.drop_index("ix_jobs_by_cluster", table_name="jobs")
    op.drop_index("ix_jobs_by_age", table_name="jobs")
    op.drop_table("jobs")
    op.drop_table("clusters")
