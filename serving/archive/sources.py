"""Which files there are to read: names, folders, globs and URLs become a list of sources."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import fsspec

from diplophrase.errors import InvalidRequest

_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
    ".md": "document",
}
_PACKED = {".gz": "gzip", ".zst": "zstd"}
_IN_FOLDERS = (".txt", ".md")
_BLOCK = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Source:
    """One file: where it is, how it is read, and the name that stands in messages and rows."""

    url: str
    name: str
    format: str
    packing: str | None
    size: int  # bytes as stored

    @property
    def path(self) -> Path | None:
        """Return where the file lies on this machine, None if it is elsewhere."""
        local = self.url.startswith("file://")
        return Path(self.url.removeprefix("file://")) if local else None

    def open(self) -> BinaryIO:
        """Open the file as it is stored, packed or not."""
        fs, path = _locate(self.url)
        file: BinaryIO = fs.open(path, "rb")
        return file


def find_sources(inputs: Sequence[str], input_format: str | None = None) -> list[Source]:
    """Return the files that `inputs` name, in a fixed order: as given, and sorted within.

    Raises:
        InvalidRequest: if an input names nothing, its protocol is not known, its format cannot be
            told, or a file stands twice.
    """
    if not inputs:
        raise InvalidRequest("There is no input. Name a file, a folder, a glob, a URL, or '-'.")
    found = [source for each in inputs for source in _expand(each, input_format)]
    seen: set[str] = set()
    for source in found:
        if source.url in seen:
            raise InvalidRequest(f"{source.url} is named twice. Name each file once.")
        seen.add(source.url)
    return found


def _expand(given: str, input_format: str | None) -> list[Source]:
    fs, path = _locate(given)
    if any(mark in path for mark in "*?[") and not fs.exists(path):
        paths = sorted(each for each in fs.glob(path) if fs.isfile(each))
        if not paths:
            raise InvalidRequest(f"The pattern {given} fits no file. Check it.")
        return [_source(fs, each, each, input_format) for each in paths]
    if fs.isdir(path):
        return _folder(fs, path, given)
    if not fs.exists(path):
        raise InvalidRequest(f"The input {given} is not there. Check the path.")
    return [_source(fs, path, given, input_format)]


def _folder(fs: Any, path: str, given: str) -> list[Source]:
    """Return the documents of a folder, named by their path within it."""
    root = path.rstrip("/") + "/"
    every = sorted(fs.find(path))
    kept = [each for each in every if _suffixes(each)[0] in _IN_FOLDERS]
    if not kept:
        held = sorted({_suffixes(each)[0] or "no suffix" for each in every})
        raise InvalidRequest(
            f"The folder {given} holds no .txt or .md file; it holds {', '.join(held) or 'nothing'}"
            f". For files of rows give a glob, such as '{given}/*.csv'."
        )
    return [_source(fs, each, each.removeprefix(root), "document") for each in kept]


def _source(fs: Any, path: str, name: str, input_format: str | None) -> Source:
    suffix, packing = _suffixes(path)
    chosen = input_format or _FORMATS.get(suffix)
    if chosen is None:
        raise InvalidRequest(
            f"The format of {name} cannot be told from its name. End it in one of "
            f"{', '.join(_FORMATS)} (and .gz or .zst), or give --input-format."
        )
    return Source(fs.unstrip_protocol(path), name, chosen, packing, int(fs.size(path) or 0))


def _suffixes(path: str) -> tuple[str, str | None]:
    """Return the suffix that tells the format, and the packing around it."""
    name = PurePosixPath(path.lower())
    packing = _PACKED.get(name.suffix)
    return (name.with_suffix("").suffix if packing else name.suffix), packing


def _locate(url: str) -> tuple[Any, str]:
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as error:  # the protocol's own package is missing; fsspec names it
        raise InvalidRequest(
            f"{url} cannot be opened: {error}. For s3:// install the s3 extra: "
            f"pip install 'diplophrase[s3]'."
        ) from None
    except ValueError as error:
        raise InvalidRequest(f"{url} cannot be opened: {error}. Check the protocol.") from None
    return fs, path


def fingerprint(source: Source) -> str:
    """Return what changes when the file changes: its sha256, or what a remote store says of it.

    Local files and memory are read whole, in blocks; from elsewhere that would mean fetching all
    twice, so size and the store's own mark (an etag, a time) stand for the content.
    """
    fs, path = _locate(source.url)
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    if not {"file", "memory"} & set(protocols):
        return f"{source.size} {fs.ukey(path)}"
    digest = hashlib.sha256()
    with source.open() as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
