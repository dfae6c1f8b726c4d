"""Jobs that get another size while they run: what is reserved then, and attempts that are charged size by size."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels = None
depends_on = None

_TEXTS = ("pods_json", "was_json", "wanted_json", "shrinks_for")


def upgrade() -> None:
    for name in _TEXTS:
        op.add_column("reservations", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.add_column("reservations", sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("reservations", sa.Column("placed_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_column("attempts", "spot")  # nobody ever asked
    op.add_column("attempts", sa.Column("part", sa.Integer(), nullable=False, server_default="0"))
    _key("job", "epoch", "part")


def downgrade() -> None:
    op.execute("DELETE FROM attempts WHERE part > 0")
    _key("job", "epoch")
    with op.batch_alter_table("attempts") as attempts:
        attempts.drop_column("part")
    op.add_column("attempts", sa.Column("spot", sa.Boolean(), nullable=False, server_default=sa.text("false")))
    for name in (*_TEXTS, "revision", "placed_at"):
        op.drop_column("reservations", name)


def _key(*columns: str) -> None:
    with op.batch_alter_table("attempts") as attempts:
        attempts.drop_constraint("pk_attempts", type_="primary")
        attempts.create_primary_key("pk_attempts", list(columns))
