"""The tables as queries see them; the migrations make them.

`events` only grows. What holds now is the view `current_annotations`: of each text and annotator
the last event, unless it took the label back.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

EVENT_COLUMNS = (
    "id",
    "kind",
    "text_key",
    "text",
    "annotator",
    "annotation_id",
    "label_set",
    "annotation",
    "origin",
    "key_id",
    "model_version",
    "created_at",
)


def _event_columns() -> list[Column[object]]:
    return [
        Column("id", BigInteger, primary_key=True),
        Column("kind", String(8), nullable=False),  # label, or retract
        Column("text_key", String(64), nullable=False),
        Column("text", Text, nullable=False),
        Column("annotator", String(200), nullable=False),
        Column("annotation_id", String(200), nullable=False),
        Column("label_set", Text, nullable=False),  # sorted, a blank before and after each
        Column("annotation", Text, nullable=False),  # the annotation as JSON
        Column("origin", String(20), nullable=False),  # api, or import
        Column("key_id", String(16)),  # of the API key that wrote it
        Column("model_version", String(100)),  # whose answer it corrects
        Column("created_at", String(27), nullable=False),  # ISO 8601, UTC, microseconds
    ]


events = Table("events", metadata, *_event_columns())
current = Table("current_annotations", metadata, *_event_columns())

requests = Table(
    "requests",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("idempotency_key", String(255), primary_key=True),
    Column("body_sha256", String(64), nullable=False),
    Column("answer", Text, nullable=False),
    Column("created_at", String(27), nullable=False),
)

review_texts = Table(
    "review_texts",
    metadata,
    Column("text_key", String(64), primary_key=True),
    Column("text", Text, nullable=False),
    Column("after_event", BigInteger, nullable=False),  # a later label answers it
    Column("model_version", String(100), nullable=False),  # whose view the next columns are
    Column("view", Text, nullable=False),  # JSON: scores, speaker, out_of_domain
    Column("embedding", LargeBinary, nullable=False),  # float32, little endian
    Column("created_at", String(27), nullable=False),
)
