"""One run from input to output: what `diplophrase score` and `diplophrase.score` do."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Unpack

from diplophrase.bundle import Bundle, current_bundle, sha256_of
from diplophrase.classifier import Classifier
from diplophrase.errors import InvalidData, InvalidRequest
from serving.archive.columns import Columns, choose_columns
from serving.archive.counts import Counts
from serving.archive.layout import Layout, make_layout
from serving.archive.ledger import SCHEMA_VERSION, Ledger, beside, locked
from serving.archive.local_engine import score_here
from serving.archive.options import Given, Options, format_of, make_options
from serving.archive.output import Output
from serving.archive.parts import Part, cut_parts
from serving.archive.progress import Reporter
from serving.archive.read import Files, Input, Stdin, Texts, take
from serving.archive.records import BadRow
from serving.archive.scorer import Scored, Scorer
from serving.archive.sources import find_sources
from serving.archive_folder import check_inside, files_beside, lies_in

Inputs = str | Path | Sequence[str | Path]
_LIBRARIES = ("numpy", "nupunkt", "onnxruntime", "pyarrow", "tokenizers")


def score(
    inputs: Inputs | None = None,
    output: str | Path | None = None,
    *,
    texts: Iterable[Any] | None = None,
    summary: str | Path | None = None,
    models: str | Path = "models",
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    restart: bool = False,
    strict: bool = False,
    within: Path | None = None,
    reporter: Reporter | None = None,
    **given: Unpack[Given],
) -> Counts:
    """Score files, or `texts` in memory, into the file `output`; return the counts.

    A run that was cut off goes on where it was when it is called again, and ends with the same
    bytes. Bad rows go to `output` + `.rejected.jsonl`. `workers` is the number of batches that
    run at once, with `engine="ray"` that of actors (default: one for each processor).

    With `within`, the working folder, every name is relative to it, and nothing outside of it is
    read or written, be it by a URL or a link; `restart` then replaces only what this function made.

    Raises:
        InvalidRequest: if an input, column, label or option cannot be used, if another run writes
            the output, or if the output was begun with another input, model or options.
        InvalidData: at a damaged file, and with `strict` at the first bad row.
        BundleError: if the model is missing or not whole.
    """
    if engine not in ("local", "ray"):
        raise InvalidRequest(f"--engine is {engine!r}; it may be local or ray.")
    if within is not None:
        check_inside(within, _named(inputs, output, summary))
    target = _local_path(output)
    summary_path = _local_path(summary) if summary is not None else None
    options = make_options(target, summary=str(summary) if summary else None, **given)
    if summary_path is not None:
        format_of(summary_path)
    classifier = Classifier.load(current_bundle(models), runners=workers or os.cpu_count() or 1)
    layout = make_layout(classifier, options)
    source = make_input(inputs, texts, options)
    if within is not None:
        _check_sources(within, source)
    _refuse_overwriting(source, target, summary_path)
    with locked(target):
        columns, parts = _begin_reading(source, layout)
        ledger = Ledger(target, _job(source, columns, classifier, options))
        if within is not None:
            ledger.refuse_foreign(_written(target, summary_path))
        ledger.open(restart=restart)
        out = Output(ledger, layout, columns, summary_path)
        with reporter or Reporter(quiet=True) as told:
            if ledger.finished and isinstance(source, Files):  # compared by its fingerprint
                scored: Iterator[Scored] = iter(())
            elif engine == "local":
                scored = _score_here(parts, ledger, Scorer(classifier, layout, columns))
            else:
                scored = _score_on_ray(
                    source,
                    ledger,
                    layout,
                    columns,
                    classifier.bundle,
                    address=address,
                    workers=workers,
                )
            counts = _write_all(scored, out, told, strict=strict)
        if not ledger.finished:
            out.join()
        counts.add_parts(ledger.done.values())
    return counts


def score_rows(
    inputs: Inputs | None = None,
    *,
    texts: Iterable[Any] | None = None,
    models: str | Path = "models",
    workers: int | None = None,
    strict: bool = False,
    rejected: list[dict[str, Any]] | None = None,
    **given: Unpack[Given],
) -> Iterator[dict[str, Any]]:
    """Yield the rows that `score` would write, in order, without any file.

    Bad rows are appended to the list `rejected` where one is given.

    Raises:
        InvalidRequest, InvalidData, BundleError: as `score`.
    """
    options = make_options(None, **given)
    classifier = Classifier.load(current_bundle(models), runners=workers or os.cpu_count() or 1)
    layout = make_layout(classifier, options)
    columns, parts = _begin_reading(make_input(inputs, texts, options), layout)
    with closing(score_here(parts, Scorer(classifier, layout, columns))) as scored:
        for part in scored:
            _refuse_bad_rows(part, strict=strict)
            if rejected is not None:
                rejected += part.rejected
            yield from part.rows


def make_input(inputs: Inputs | None, texts: Iterable[Any] | None, options: Options) -> Input:
    """Return what is to be read.

    Raises:
        InvalidRequest: if there is nothing to read, or files and texts both.
    """
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs or [])
    if texts is not None:
        if named:
            raise InvalidRequest("Files and texts are given. Give one of them.")
        if isinstance(texts, str | bytes):
            raise InvalidRequest("texts is one string. Give a list or a column of texts.")
        return Texts(texts, options)
    names = [str(name) for name in named]
    if "-" in names:
        if len(names) > 1:
            raise InvalidRequest("'-' (stdin) stands beside other inputs. Give it alone.")
        return Stdin(options)
    return Files(find_sources(names, options.input_format), options)


def _local_path(given: str | Path | None) -> Path:
    if given is None or not str(given):
        raise InvalidRequest("There is no output. Name a file with --output.")
    text = str(given).removeprefix("file://")
    if "://" in text:
        raise InvalidRequest(
            f"--output {text} is a URL. Parts are renamed and locked on a disk: name a local or "
            f"mounted file, and copy it when it is whole."
        )
    path = Path(text)
    if path.is_dir():
        raise InvalidRequest(f"--output {path} is a folder. Name a file in it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _written(output: Path, summary: Path | None) -> list[Path]:
    """Return the files that a run leaves."""
    rejected = beside(output, ".rejected.jsonl")
    return [output, rejected] if summary is None else [output, rejected, summary]


def _refuse_overwriting(source: Input, output: Path, summary: Path | None) -> None:
    """Refuse a run whose files would fall on each other.

    Raises:
        InvalidRequest: naming the file.
    """
    own = {path.resolve() for path in files_beside(output)}
    if summary is not None and summary.resolve() in own:
        raise InvalidRequest(
            f"--summary {summary} is also a file that --output {output} writes. Name two files."
        )
    written = {path.resolve() for path in _written(output, summary)}
    for each in source.sources if isinstance(source, Files) else ():
        if (path := each.path) is not None and path.resolve() in written:
            raise InvalidRequest(
                f"{path} is an input and would be written, too. Write to another place, "
                f"such as a folder that the inputs do not name."
            )


def _named(
    inputs: Inputs | None, output: str | Path | None, summary: str | Path | None
) -> list[tuple[str, int | None, str]]:
    """Return what a call names, as `check_inside` takes it."""
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs or [])
    named = [("inputs", index, str(name)) for index, name in enumerate(given)]
    outputs = {"output": output, "summary": summary}
    return [*named, *((field, None, str(name)) for field, name in outputs.items() if name)]


def _check_sources(within: Path, source: Input) -> None:
    """Refuse files that a pattern, or a folder, found by way of a link.

    Raises:
        InvalidRequest: naming the first of them.
    """
    for each in source.sources if isinstance(source, Files) else ():
        if each.path is None or not lies_in(within, each.path):
            raise InvalidRequest(
                f"The input {each.name} lies outside the folder {within}: a link leads there. "
                f"Copy the file into the folder."
            )


def _begin_reading(source: Input, layout: Layout) -> tuple[Columns, Iterator[Part]]:
    """Return the columns that are kept, for which the first part is read, and all parts."""
    options = layout.options
    declared = source.declared()
    parts = cut_parts(take(source.rows(), options.limit), options)
    first = next(parts, None)
    taken = frozenset({*layout.added, *(layout.summed if options.summary else ())})
    columns = choose_columns(declared, first, table=options.format != "jsonl", taken=taken)
    return columns, parts if first is None else chain([first], parts)


def _job(
    source: Input, columns: Columns, classifier: Classifier, options: Options
) -> dict[str, Any]:
    """Return all that shapes the output, as it stands in the manifest."""
    bundle = classifier.bundle
    types = {name: str(kind) for name, kind in (columns.types or {}).items()}
    return {
        "schema": SCHEMA_VERSION,
        "input": source.fingerprint(),
        "columns": types,
        "model": {"version": bundle.version, "sha256": sha256_of(bundle.path / "manifest.json")},
        "options": options.recorded(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def _score_here(parts: Iterator[Part], ledger: Ledger, scorer: Scorer) -> Iterator[Scored]:
    def undone() -> Iterator[Part]:
        seen = 0
        for part in parts:
            seen += 1
            if not ledger.verify(part.number, part.digest):
                yield part
        ledger.check_end(seen)

    return score_here(undone(), scorer)


def _score_on_ray(
    source: Input,
    ledger: Ledger,
    layout: Layout,
    columns: Columns,
    bundle: Bundle,
    *,
    address: str | None,
    workers: int | None,
) -> Iterator[Scored]:
    if not isinstance(source, Files):
        raise InvalidRequest("--engine ray reads files, not stdin or texts. Name files or URLs.")
    from serving.archive.ray_engine import Job, score_on_ray

    job = Job(source, layout, columns, bundle, frozenset(ledger.done))
    return score_on_ray(job, address=address, workers=workers)


def _write_all(
    scored: Iterator[Scored], out: Output, reporter: Reporter, *, strict: bool
) -> Counts:
    counts, start = Counts(), time.monotonic()
    for part in scored:
        _refuse_bad_rows(part, strict=strict)
        out.write(part)
        counts.scored += part.texts
        counts.repeated += part.texts - part.fresh
        reporter.update(counts.scored, part.progress)
    counts.seconds = time.monotonic() - start
    return counts


def _refuse_bad_rows(part: Scored, *, strict: bool) -> None:
    if strict and part.rejected:
        bad = part.rejected[0]
        row = BadRow(bad["input"], bad["line"], bad["column"], bad["reason"], bad["found"])
        raise InvalidData(
            f"{row.message}. Mend the row, or leave --strict out: bad rows then go to "
            f"{beside(Path('OUT'), '.rejected.jsonl')} and the run goes on."
        )
