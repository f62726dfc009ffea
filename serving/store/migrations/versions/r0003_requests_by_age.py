"""An index by which old requests are found and forgotten."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the index."""
    op.create_index("requests_created_at", "requests", ["created_at"])
