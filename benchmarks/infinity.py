"""Infinity's server over HTTP, with a CLIP of random weights from a folder, on the CPU in float32.

Lower precision it takes on GPUs alone. Its other engines want models in other forms.
"""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2

REQUIREMENTS = Path(__file__).parent / "infinity.txt"
LARGEST = 32
"""The most images that a request may hold."""
AT_ONCE = 4
START_SECONDS = 120
NAME = "clip"
OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}


@contextmanager
def serve(python: Path, folder: Path) -> Iterator[tuple[int, int]]:
    """Run a server until the block ends; gives the number of its process, and its port.

    Args:
        python: of Infinity's environment.
        folder: where the model is written, empty.
    """
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
    # Its packages warn of themselves, and do so for pages.
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": os.environ | OFFLINE}
    subprocess.run([python, Path(__file__).with_name("infinity_model.py"), folder], check=True, **quiet)
    command = [python.parent / "infinity_emb", "v2", "--model-id", folder, "--served-model-name", NAME]
    command += ["--engine", "torch", "--device", "cpu", "--batch-size", str(LARGEST), "--port", str(port)]
    command += ["--no-model-warmup", "--no-bettertransformer", "--log-level", "error"]
    with subprocess.Popen(command, **quiet) as server:
        try:
            _wait(server, port)
            yield server.pid, port
        finally:
            server.terminate()


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    end = time.perf_counter() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if server.poll() is not None or time.perf_counter() > end:
                raise
            time.sleep(0.1)


class Client:
    """One caller; of more images than a request may hold, a few requests are under way at once."""

    def __init__(self, port: int) -> None:
        self._http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=START_SECONDS)
        self._pool = ThreadPoolExecutor(AT_ONCE)

    def embed(self, images: Sequence[bytes]) -> list[bytes]:
        """The features of JPEGs, each as float32 in bytes."""
        parts = [images[start : start + LARGEST] for start in range(0, len(images), LARGEST)]
        return [features for part in self._pool.map(self._request, parts) for features in part]

    def close(self) -> None:
        self._pool.shutdown()
        self._http.close()

    def _request(self, images: Sequence[bytes]) -> list[bytes]:
        urls = [f"data:image/jpeg;base64,{base64.b64encode(image).decode()}" for image in images]
        asked = {"model": NAME, "input": urls, "modality": "image", "encoding_format": "base64"}
        answer = self._http.post("/embeddings", json=asked).raise_for_status()
        return [base64.b64decode(each["embedding"]) for each in answer.json()["data"]]
