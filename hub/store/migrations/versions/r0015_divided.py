"""Works whose replicas are divided over clusters: their parts are jobs of the same name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels = None
depends_on = None

_NAME = ["tenant", "kind", "namespace", "name"]


def upgrade() -> None:
    op.add_column("jobs", sa.Column("whole", sa.String(length=16)))
    op.add_column("jobs", sa.Column("division_json", sa.Text()))
    op.create_index(op.f("ix_jobs_whole"), "jobs", ["whole"])
    op.add_column("attempts", sa.Column("whole", sa.String(length=16)))
    _live_name("finished_at IS NULL AND (whole IS NULL OR whole = id)")


def downgrade() -> None:
    """Refused by the index where two parts of one work live."""
    _live_name("finished_at IS NULL")
    op.drop_column("attempts", "whole")
    op.drop_index(op.f("ix_jobs_whole"), table_name="jobs")
    op.drop_column("jobs", "division_json")
    op.drop_column("jobs", "whole")


def _live_name(where: str) -> None:
    op.drop_index("uq_jobs_live_name", table_name="jobs")
    op.create_index(
        "uq_jobs_live_name", "jobs", _NAME, unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )
