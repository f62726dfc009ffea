"""Imports between the three packages go one way; the service loads no training library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("diplophrase", "training", "serving")


def imported_packages(tree: ast.AST, package: str) -> set[str]:
    """Return the top-level packages that `tree`, a module of `package`, imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(package if node.level else (node.module or "").partition(".")[0])
    return found


def modules_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def arrows_from(package: str, *, without: str | None = None) -> dict[str, set[str]]:
    """Return for each module of `package` the other packages of the project that it imports."""
    arrows = {}
    for path in modules_of(package):
        name = path.relative_to(ROOT).as_posix()
        if without is None or not name.startswith(without):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            arrows[name] = imported_packages(tree, package) & set(PACKAGES) - {package}
    return arrows


def test_imports_are_found_wherever_they_stand_in_training_and_elsewhere():
    source = (
        "import training.folds as folds\n"
        "from .near import x\n"
        "def late():\n"
        "    from serving.app import y\n"
        "    import os.path, diplophrase\n"
    )
    expected = {"training", "here", "serving", "os", "diplophrase"}
    assert imported_packages(ast.parse(source), "here") == expected


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_read_training_included(package: str):
    assert f"{package}/__init__.py" in arrows_from(package)
    assert len(modules_of(package)) >= 4


def test_the_shared_package_imports_neither_training_nor_serving():
    arrows = arrows_from("diplophrase", without="diplophrase/command")
    assert {name: found for name, found in arrows.items() if found} == {}


def test_commands_import_training_and_serving_only_when_they_run():
    for path in modules_of("diplophrase/command"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        at_import = imported_packages(ast.Module(top, []), "diplophrase")
        assert at_import.isdisjoint({"training", "serving"}), path.name


def test_training_imports_no_serving():
    arrows = arrows_from("training")
    assert {name for name, found in arrows.items() if "serving" in found} == set()


def test_serving_never_imports_training():
    arrows = arrows_from("serving")
    assert {name for name, found in arrows.items() if "training" in found} == set()


@pytest.mark.parametrize("module", ["serving.app", "serving.archive"])
def test_loading_the_service_loads_no_training_library(module: str):
    program = (
        f"import sys, {module}\n"
        "heavy = {'torch', 'ray', 'transformers', 'datasets', 'sklearn', 'onnx', 'training'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
