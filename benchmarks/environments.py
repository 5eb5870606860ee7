"""Environments of their own for what embeddb is measured beside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DEFAULT = Path(".benchmarks")
"""Where they are made unless told otherwise; git ignores it."""


def environment(cache: Path, requirements: Path) -> Path:
    """The Python of an environment with these requirements, made anew if it has others.

    Args:
        cache: the folder of the environments; this one has the name of the requirements.
        requirements: a file as pip reads it.
    """
    folder = cache.resolve() / requirements.stem
    python, installed = folder / "bin/python", folder / requirements.name
    if not installed.exists() or installed.read_text() != requirements.read_text():
        print(f"installing {requirements.name} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", requirements], check=True)
        installed.write_text(requirements.read_text())
    return python


def pins(requirements: Path) -> dict[str, str]:
    """The versions in a file of requirements, by name."""
    lines = (line.split("==") for line in requirements.read_text().splitlines() if "==" in line)
    return {name.partition("[")[0]: version for name, version in lines}
