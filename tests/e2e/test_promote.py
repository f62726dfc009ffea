"""Promoting on a full disk, and from two processes at once: CURRENT always names a whole bundle."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diplophrase.bundle import current_bundle, load_bundle, set_current
from diplophrase.errors import BundleError
from diplophrase.promotions import read_promotions
from tests.e2e.harm import small_version
from tests.e2e.server import COMMAND, ROOT
from tests.versions import measured_version

ROUNDS = 300
SECONDS = 300

# Fill a disk of 4 MiB of our own, then promote on it.
FULL_DISK = """
mount -t tmpfs -o size=4m none "$1" || exit 77
cp -P -r "$2/." "$1/"
cat /dev/zero > "$1/filler" 2> /dev/null
shift 2
"$@"
code=$?
cat "$MODELS/CURRENT" >&2
exit $code
"""

# No file of this process may grow: writing fails as it does on a full disk, with another errno.
NO_WRITING = """
import resource, sys
from diplophrase.command import main
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
sys.argv = ["diplophrase", *sys.argv[1:]]
main()
"""

PROMOTE_OFTEN = """
import sys
from diplophrase.bundle import set_current
models, rounds, *versions = sys.argv[1:]
for number in range(int(rounds)):
    set_current(models, versions[number % 2])
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    for name in ("old", "new"):
        measured_version(models, name)
    (models / "CURRENT").write_text("old\n")
    return models


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **variables, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize("step", ["os.fsync", "tempfile.mkstemp", "Path.replace"])
def test_no_space_at_any_step_leaves_the_pointer_as_it_was(
    models: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"diplophrase.bundle.{step}", fail)
    message = r"CURRENT cannot be written: No space left on device\. It is as it was; .* new again"
    with pytest.raises(BundleError, match=message):
        set_current(models, "new")
    assert (models / "CURRENT").read_text() == "old\n"
    assert sorted(path.name for path in models.iterdir()) == ["CURRENT", "new", "old"]


def test_a_disk_that_is_full(models: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    arguments = ["models", "promote", "new", "--force", "a test", "--models", str(disk)]
    done = run(
        *("unshare", "--user", "--map-root-user", "--mount", "bash", "-c", FULL_DISK, "promote"),
        *(str(disk), str(models), *COMMAND, *arguments),
        MODELS=str(disk),
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("a disk of our own may not be mounted here")
    assert done.returncode == 5, done.stderr
    error, current = done.stderr.splitlines()[0], done.stderr.splitlines()[-1]
    assert error.startswith(f"error: {disk}/promotions.jsonl cannot be written: No space left")
    assert current == "old"


def test_a_process_that_may_not_write(models: Path) -> None:
    arguments = ("models", "promote", "new", "--force", "a test", "--models", str(models))
    done = run(sys.executable, "-c", NO_WRITING, *arguments)
    assert done.returncode == 5, done.stderr
    message = f"error: {models}/promotions.jsonl cannot be written: File too large. CURRENT is as"
    assert done.stderr.startswith(message)
    assert current_bundle(models) == models / "old"
    assert read_promotions(models) == []


def test_two_processes_that_promote_at_once_leave_a_whole_version(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for version in ("a", "b"):
        small_version(models, version)
    set_current(models, "a")
    orders = (("a", "b"), ("b", "a"))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTE_OFTEN, str(models), str(ROUNDS), *order], cwd=ROOT
        )
        for order in orders
    ]
    seen = set()
    while any(process.poll() is None for process in processes):
        seen.add(load_bundle(current_bundle(models)).version)
    assert [process.wait() for process in processes] == [0, 0]
    assert seen == {"a", "b"}
    assert sorted(path.name for path in models.iterdir()) == [".network", "CURRENT", "a", "b"]
