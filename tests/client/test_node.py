"""The contract outside Python: the example for Node.js, which loads the .proto files, against a server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from embeddb_server import Server

ROOT = Path(__file__).parents[2]
# As the example's first lines say.
PACKAGES = ["@grpc/grpc-js@1.14.0", "@grpc/proto-loader@0.8.0"]


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_the_example_runs(server: Server, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "client.mjs", tmp_path)
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", *PACKAGES]
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(
        ["node", "client.mjs", server.address],
        cwd=tmp_path,
        env=os.environ | {"EMBEDDB_PROTOS": str(ROOT / "protos")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    *answers, error = done.stdout.splitlines()
    assert answers == ["north PUT_STATUS_CREATED, east PUT_STATUS_CREATED", "north 0.894", "east 0.447"]
    assert error.startswith("NOT_FOUND no collection named 'mpa'; there are: ")
