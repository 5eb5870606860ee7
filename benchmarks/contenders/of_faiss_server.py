"""FAISS behind gRPC, and nothing else, as a process of its own: the limit of a service over it."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import grpc
import numpy as np

from contenders import Client, Floats, K
from contenders.faiss_server import CALL, EXCHANGE, SERVICE
from contenders.of_faiss import Faiss


class FaissServer(Faiss):
    """A server of the index that this process has made, in a file."""

    def open(self, folder: Path) -> None:
        super().open(folder)
        if self._file.exists():
            self._start()

    def build(self) -> None:
        super().build()
        self._start()

    def look(self, effort: int) -> None:
        self._effort = effort

    def clients(self) -> Mapping[str, Callable[[], Client]]:
        return {
            "": lambda: Unary(self._address, self._effort),
            "open stream": lambda: Stream(self._address, self._effort),
        }

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()

    def _start(self) -> None:
        # The server has it.
        del self._index
        command = [sys.executable, "-m", "contenders.faiss_server", str(self._file.resolve())]
        # As embeddb-server does for itself.
        environ = os.environ | {"OMP_WAIT_POLICY": "passive", "OPENBLAS_THREAD_TIMEOUT": "4"}
        folder = Path(__file__).parents[1]
        self._server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=environ)
        assert self._server.stdout is not None
        self._address = self._server.stdout.readline().strip()
        self.pid = self._server.pid


class Caller:
    """A connection of its own."""

    def __init__(self, address: str, effort: int) -> None:
        # Without the option all channels to one address share a connection.
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self._effort = effort.to_bytes(4)

    def request(self, queries: Floats) -> bytes:
        return self._effort + queries.tobytes()

    @staticmethod
    def places(response: bytes) -> Sequence[Sequence[int]]:
        found: Sequence[Sequence[int]] = np.frombuffer(response, np.int64).reshape(-1, K).tolist()
        return found

    def close(self) -> None:
        self._channel.close()


class Unary(Caller):
    """A call for each search."""

    def __init__(self, address: str, effort: int) -> None:
        super().__init__(address, effort)
        self._call = self._channel.unary_unary(f"/{SERVICE}/{CALL}")

    def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        return self.places(self._call(self.request(queries)))


class Stream(Caller):
    """An exchange on an open stream for each search."""

    def __init__(self, address: str, effort: int) -> None:
        super().__init__(address, effort)
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._answers = self._channel.stream_stream(f"/{SERVICE}/{EXCHANGE}")(iter(self._requests.get, None))

    def search(self, queries: Floats) -> Sequence[Sequence[int]]:
        self._requests.put(self.request(queries))
        return self.places(next(self._answers))

    def close(self) -> None:
        self._requests.put(None)
        assert next(self._answers, None) is None
        super().close()
