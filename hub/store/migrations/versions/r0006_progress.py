"""How far running jobs have come, for whom a job is evicted and where, and what queues may evict."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("checkpoint_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("evicted_for", sa.String(length=16), nullable=True))
    op.add_column("jobs", sa.Column("promised", sa.String(length=253), nullable=True))
    op.add_column("queues", sa.Column("preemption_json", sa.Text(), nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("queues", "preemption_json")
    op.drop_column("jobs", "promised")
    op.drop_column("jobs", "evicted_for")
    op.drop_column("jobs", "checkpoint_at")
