"""Datasets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("key", sa.String(length=512), nullable=False),
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("residency_json", sa.Text(), nullable=False),
        sa.Column("replicas_json", sa.Text(), nullable=False),
        sa.Column("secret", sa.String(length=253), nullable=False),
        sa.Column("learned", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_datasets")),
    )


def downgrade() -> None:
    op.drop_table("datasets")
