"""Overrides, and what a workload is where one changes it; Secrets of jobs that have ended lose what is in them."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "overrides",
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("spec_json", sa.Text(), nullable=False),
        sa.Column("changed_by", sa.String(length=253), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_overrides")),
    )
    with op.batch_alter_table("reservations") as batch:
        batch.add_column(sa.Column("variant_json", sa.Text(), nullable=True))
    _blank_secrets(op.get_bind())


def _blank_secrets(connection: sa.Connection) -> None:
    """What hub.store.secrets does from now on when a job ends."""
    ended = sa.text(
        "SELECT job FROM job_specs JOIN jobs ON jobs.id = job_specs.job"
        " WHERE jobs.finished_at IS NOT NULL AND objects_json LIKE :some"
    )
    for job in connection.execute(ended, {"some": '%"kind":"Secret"%'}).scalars().all():
        read = sa.text("SELECT objects_json FROM job_specs WHERE job = :job")
        objects = json.loads(connection.execute(read, {"job": job}).scalar_one())
        for obj in objects:
            if obj.get("kind") == "Secret":
                for key in ("data", "stringData"):
                    if isinstance(obj.get(key), dict):
                        obj[key] = dict.fromkeys(obj[key], "")
                (obj.get("metadata") or {}).pop("annotations", None)
        values = {"job": job, "objects": json.dumps(objects, separators=(",", ":"))}
        connection.execute(sa.text("UPDATE job_specs SET objects_json = :objects WHERE job = :job"), values)


def downgrade() -> None:
    with op.batch_alter_table("reservations") as batch:
        batch.drop_column("variant_json")
    op.drop_table("overrides")
