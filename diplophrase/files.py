"""Writing a file so that nobody ever meets half of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from diplophrase.errors import DiplophraseError


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` in the place of `path` in one step; what was there stays if that fails.

    Raises:
        DiplophraseError: `storage`, naming the file and what the system says.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        scratch = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            scratch.chmod(0o644)  # mkstemp gives it to its owner alone
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise DiplophraseError(
            f"{path} cannot be written: {error.strerror}. It is as it was. Name a file in a folder "
            f"that is there and may be written.",
            kind="storage",
        ) from error
