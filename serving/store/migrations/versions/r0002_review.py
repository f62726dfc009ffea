"""The queue of texts to look at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the queue."""
    op.create_table(
        "review_texts",
        sa.Column("text_key", sa.String(64), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("after_event", sa.BigInteger, nullable=False),
        sa.Column("model_version", sa.String(100), nullable=False),
        sa.Column("view", sa.Text, nullable=False),
        sa.Column("embedding", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
    )
