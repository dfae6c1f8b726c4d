"""Overrides, and what a workload is where one changes it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0010"
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


def downgrade() -> None:
    with op.batch_alter_table("reservations") as batch:
        batch.drop_column("variant_json")
    op.drop_table("overrides")
