"""Which replica leads, where several share the database."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels = None
depends_on = None

_DAWN = datetime(1970, 1, 1, tzinfo=UTC)


def upgrade() -> None:
    leadership = op.create_table(
        "leadership",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(length=253), nullable=False),
        sa.Column("ca_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("renewed", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_s", sa.Float(), nullable=False),
        sa.Column("written", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leadership")),
    )
    # Nobody's yet. From now on it is only updated, so that two that want it meet at the same row.
    nobody = {"id": 1, "term": 0, "holder": "", "ca_fingerprint": "", "since": _DAWN, "renewed": _DAWN}
    op.bulk_insert(leadership, [{**nobody, "lease_s": 0.0, "written": 0}])


def downgrade() -> None:
    op.drop_table("leadership")
