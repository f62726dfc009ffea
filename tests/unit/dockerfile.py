"""Reads the Dockerfile, for the tests and, as a program, for `build_image_steps.sh`.

As a program: `python dockerfile.py DOCKERFILE WHAT`, WHAT being one of `PARTS`, one value a line.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

Instruction = tuple[str, str]


def read_instructions(path: Path) -> list[Instruction]:
    """Return each instruction's name and text, continued lines joined, comments left out."""
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.lstrip().startswith("#")]
    joined = "\n".join(kept).replace("\\\n", " ")
    pairs = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(name.upper(), text.strip()) for name, text in pairs]


def texts_of(instructions: list[Instruction], name: str) -> list[str]:
    return [text for found, text in instructions if found == name]


def command(instructions: list[Instruction]) -> list[str]:
    """Return the arguments of the last CMD, which must be in exec form."""
    arguments: list[str] = json.loads(texts_of(instructions, "CMD")[-1])
    return arguments


def health_command(instructions: list[Instruction]) -> list[str]:
    """Return the arguments of the health check, which must be in exec form."""
    arguments: list[str] = json.loads(texts_of(instructions, "HEALTHCHECK")[-1].split("CMD", 1)[1])
    return arguments


def environment(instructions: list[Instruction]) -> list[str]:
    """Return the variables, each as NAME=VALUE."""
    return texts_of(instructions, "ENV")


def sources(instructions: list[Instruction]) -> list[str]:
    """Return what is copied from the working tree."""
    copies = [text.split() for text in texts_of(instructions, "COPY") if "--from=" not in text]
    return [word for words in copies for word in words[:-1] if not word.startswith("--")]


def requirement(instructions: list[Instruction]) -> list[str]:
    """Return what pip is told to install."""
    runs = texts_of(instructions, "RUN")
    found = [re.search(r"pip install (?:--\S+ )*'([^']+)'$", text) for text in runs]
    return [match[1] for match in found if match]


def working_folder(instructions: list[Instruction]) -> list[str]:
    return texts_of(instructions, "WORKDIR")[-1:]


PARTS = {
    "command": command,
    "health": health_command,
    "environment": environment,
    "sources": sources,
    "requirement": requirement,
    "folder": working_folder,
}

if __name__ == "__main__":
    print("\n".join(PARTS[sys.argv[2]](read_instructions(Path(sys.argv[1])))))
