"""Offline scoring: files of any size in, labelled files out, whatever happens on the way."""

from serving import require

require("diplophrase score", "score", "fsspec", "pyarrow")

from serving.archive.counts import Counts  # noqa: E402
from serving.archive.run import score, score_rows  # noqa: E402

__all__ = ["Counts", "score", "score_rows"]
