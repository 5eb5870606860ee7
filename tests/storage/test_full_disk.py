"""A disk that is really full: writes are refused whole, reads go on, and writes resume when there is room."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage import full_disk

IN_A_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def can_mount() -> bool:
    """Whether this user may mount a disk of memory, in a namespace of its own."""
    return (
        shutil.which("unshare") is not None
        and not subprocess.run(
            [*IN_A_NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
        ).returncode
    )


@pytest.mark.skipif(not can_mount(), reason="the system does not let this user mount a tmpfs")
def test_a_full_disk(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=10m tmpfs "$1" && cd "$1" && exec "$2" "$3"'
    command = ["sh", "-c", script, "sh", tmp_path, sys.executable, full_disk.__file__]
    done = subprocess.run([*IN_A_NAMESPACE, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
