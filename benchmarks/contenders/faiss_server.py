"""An index of FAISS behind gRPC, and nothing else: what a search takes that no service can save.

    python -m contenders.faiss_server FILE

A request is how hard to look, as four bytes, and float32 queries one after the other; the response is the
places found, int64. Nothing is parsed, checked, stored, counted or refused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
import grpc
import numpy as np

from contenders import K

SERVICE, CALL, EXCHANGE = "faiss", "search", "stream"
THREADS = 64


class Searches:
    """The two methods."""

    def __init__(self, index: faiss.Index) -> None:
        self._index = index

    def one(self, request: bytes, _: Any) -> bytes:
        parameters = faiss.SearchParametersIVF(nprobe=int.from_bytes(request[:4]))
        queries = np.frombuffer(request, np.float32, offset=4).reshape(-1, self._index.d)
        faiss.omp_set_num_threads(1 if len(queries) == 1 else os.cpu_count() or 1)
        return self._index.search(queries, K, params=parameters)[1].tobytes()

    def stream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        return (self.one(request, context) for request in requests)


def main() -> None:
    searches = Searches(faiss.read_index(sys.argv[1]))
    methods = {
        CALL: grpc.unary_unary_rpc_method_handler(searches.one),
        EXCHANGE: grpc.stream_stream_rpc_method_handler(searches.stream),
    }
    server = grpc.server(ThreadPoolExecutor(THREADS))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
