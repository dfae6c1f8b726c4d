"""Objects that admins distribute to clusters, and what each cluster was told of them and said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "distributions",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("objects_json", sa.Text(), nullable=False),
        sa.Column("adopt", sa.Boolean(), nullable=False),
        sa.Column("deleting", sa.Boolean(), nullable=False),
        sa.Column("changed_by", sa.String(length=253), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_distributions")),
    )
    op.create_table(
        "distribution_orders",
        sa.Column("distribution", sa.String(length=64), nullable=False),
        sa.Column("cluster", sa.String(length=253), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("acked", sa.Boolean(), nullable=False),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("states_json", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["distribution"], ["distributions.name"], name=op.f("fk_distribution_orders_distribution")
        ),
        sa.ForeignKeyConstraint(["cluster"], ["clusters.name"], name=op.f("fk_distribution_orders_cluster")),
        sa.PrimaryKeyConstraint("distribution", "cluster", name=op.f("pk_distribution_orders")),
    )


def downgrade() -> None:
    op.drop_table("distribution_orders")
    op.drop_table("distributions")
