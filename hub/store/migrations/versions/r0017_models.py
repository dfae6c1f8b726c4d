"""Models: the catalogue, and which objects hold their bytes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "models",
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("created_by", sa.String(length=253), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", name=op.f("pk_models")),
    )
    op.create_table(
        "model_versions",
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("created_by", sa.String(length=253), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "model", "number", name=op.f("pk_model_versions")),
    )
    op.create_table(
        "model_variants",
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("pickles", sa.Boolean(), nullable=False),
        sa.Column("requires_json", sa.Text(), nullable=False),
        sa.Column("measured_json", sa.Text(), nullable=False),
        sa.Column("pushed_at", moment, nullable=False),
        sa.Column("pushed_by", sa.String(length=253), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "model", "version", "name", name=op.f("pk_model_variants")),
    )
    op.create_index("ix_model_variants_by_digest", "model_variants", ["tenant", "digest"])
    op.create_table(
        "model_aliases",
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "model", "name", name=op.f("pk_model_aliases")),
    )
    op.create_table(
        "model_manifests",
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("config", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "digest", name=op.f("pk_model_manifests")),
    )
    op.create_table(
        "model_files",
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("sha256", sa.String(length=71), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("chunks", sa.LargeBinary(), nullable=False),
        sa.Column("runs_code", sa.Boolean(), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("leased_until", moment, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "sha256", name=op.f("pk_model_files")),
    )
    op.create_index("ix_model_files_by_lease", "model_files", ["uses", "leased_until"])
    op.create_table(
        "model_chunks",
        sa.Column("tenant", sa.String(length=253), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("object", sa.String(length=253), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("leased_until", moment, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", name=op.f("pk_model_chunks")),
    )
    op.create_index("ix_model_chunks_by_lease", "model_chunks", ["uses", "leased_until"])
    op.create_table(
        "model_garbage",
        sa.Column("object", sa.String(length=253), nullable=False),
        sa.Column("due", moment, nullable=False),
        sa.Column("doomed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("object", name=op.f("pk_model_garbage")),
    )
    op.create_index(op.f("ix_model_garbage_due"), "model_garbage", ["due"])


def downgrade() -> None:
    for table in (
        "model_garbage",
        "model_chunks",
        "model_files",
        "model_manifests",
        "model_aliases",
        "model_variants",
        "model_versions",
        "models",
    ):
        op.drop_table(table)
