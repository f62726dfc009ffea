"""Events that only grow, what holds now as a view, and requests that were answered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite numbers only INTEGER keys

_CURRENT = """
CREATE VIEW current_annotations AS
SELECT e.* FROM events e
WHERE e.kind = 'label' AND e.id = (
    SELECT MAX(l.id) FROM events l
    WHERE l.text_key = e.text_key AND l.annotator = e.annotator
)
"""
_RULE = "events are append-only: add an event that says otherwise"


def upgrade() -> None:
    """Make tables, view and the triggers that keep events as they are."""
    op.create_table(
        "events",
        sa.Column("id", _ID, sa.Identity(), primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("text_key", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("annotator", sa.String(200), nullable=False),
        sa.Column("annotation_id", sa.String(200), nullable=False),
        sa.Column("label_set", sa.Text, nullable=False),
        sa.Column("annotation", sa.Text, nullable=False),
        sa.Column("origin", sa.String(20), nullable=False),
        sa.Column("key_id", sa.String(16)),
        sa.Column("model_version", sa.String(100)),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.CheckConstraint("kind IN ('label', 'retract')", name="events_kind"),
    )
    op.create_index("events_last", "events", ["text_key", "annotator", "id"])
    op.create_index("events_annotation_id", "events", ["annotation_id"])
    op.execute(_CURRENT)
    _forbid_changes()
    op.create_table(
        "requests",
        sa.Column("key_id", sa.String(16), primary_key=True),
        sa.Column("idempotency_key", sa.String(255), primary_key=True),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
    )


def _forbid_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER events_no_{verb.lower()} BEFORE {verb} ON events "
                f"BEGIN SELECT RAISE(ABORT, '{_RULE}'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION events_stay() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_RULE}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER events_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON events "
        "FOR EACH STATEMENT EXECUTE FUNCTION events_stay()"
    )
