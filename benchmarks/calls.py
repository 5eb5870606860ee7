"""What a call costs beside its work: a health check, asked of gRPC alone and of embeddb-server.

    python benchmarks/calls.py --json calls.json

Both servers run from the start, each in a process of its own, and are asked in turns; callers are threads of
this process, each with a connection. What is shown is the median of the rounds. A switch is the system's
change from one of the server's threads to another, because one waits or has had its time.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import threading
from collections.abc import Callable
from concurrent import futures
from functools import partial
from multiprocessing.connection import Connection

import clock
import grpc
import grpc.aio
import machine
import numpy as np
import report
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from embeddb_server import Server

CLIENTS = (1, 8)
ROUNDS = 5
REQUEST = health_pb2.HealthCheckRequest()


def on_threads(threads: int) -> str:
    """Start gRPC's server on threads; returns its address."""
    server = grpc.server(futures.ThreadPoolExecutor(threads))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    # Nobody else refers to it.
    SERVING.append(server)
    return f"127.0.0.1:{port}"


def on_a_loop() -> str:
    """Start gRPC's server on an event loop, with a thread for that; returns its address."""

    async def started() -> str:
        server = grpc.aio.server()
        health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        SERVING.append(server)
        return f"127.0.0.1:{port}"

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return asyncio.run_coroutine_threadsafe(started(), loop).result()


def embeddb_server() -> str:
    """Start ours; returns its address."""
    server = Server(None)
    server.start()
    SERVING.append(server)
    return server.address


SERVING: list[object] = []
SERVERS: dict[str, Callable[[], str]] = {
    "gRPC alone, 2 threads": partial(on_threads, 2),
    "gRPC alone, 128 threads": partial(on_threads, 128),
    "gRPC alone, event loop": on_a_loop,
    "embeddb-server": embeddb_server,
}


def serve(pipe: Connection, start: Callable[[], str]) -> None:
    """Tell the address, and what was used as often as it is asked."""
    pipe.send(start())
    while pipe.recv():
        pipe.send(usage())


def usage() -> tuple[float, int]:
    """Of this process: seconds of processor time, and switches between threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_nvcsw + used.ru_nivcsw


def ask(address: str, pipe: Connection, clients: int, seconds: float) -> dict[str, float]:
    """What so many callers get, and what their calls cost both processes."""
    # Without the option all channels to one address share a connection.
    alone = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(address, alone) for _ in range(clients)]

    def caller(check: health_pb2_grpc.HealthStub) -> clock.Work:
        def work(_: int) -> int:
            check.Check(REQUEST)
            return 1

        return work

    works = [caller(health_pb2_grpc.HealthStub(channel)) for channel in channels]
    clock.rate(works, seconds / 10)
    before, (server_before, switches_before) = usage()[0], used_by(pipe)
    rate = clock.rate(works, seconds)
    client, (server, switches) = usage()[0] - before, used_by(pipe)
    done = rate * seconds
    for channel in channels:
        channel.close()
    return {
        "calls/s": rate,
        "processor time of the server, ms": (server - server_before) / done * 1e3,
        "processor time of the client, ms": client / done * 1e3,
        "in the server, switches": (switches - switches_before) / done,
    }


def used_by(pipe: Connection) -> tuple[float, int]:
    """What the process at the other end has used."""
    pipe.send(True)
    used: tuple[float, int] = pipe.recv()
    return used


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    report.add_options(parser)
    options = parser.parse_args()
    where = machine.describe()
    spawning = multiprocessing.get_context("spawn")
    running = {}
    for name, start in SERVERS.items():
        pipe, theirs = spawning.Pipe()
        process = spawning.Process(target=serve, args=(theirs, start), daemon=True)
        process.start()
        theirs.close()  # Else the end of a process that failed would not show here.
        running[name] = (pipe.recv(), pipe)
    rounds: dict[str, dict[str, list[float]]] = {name: {} for name in SERVERS}
    for _ in range(ROUNDS):
        for clients in CLIENTS:
            for name, (address, pipe) in running.items():
                for figure, value in ask(address, pipe, clients, options.seconds).items():
                    label = f"{clients} client{'s' * (clients > 1)}: {figure}"
                    rounds[name].setdefault(label, []).append(value)
    for _, pipe in running.values():
        pipe.send(False)
    results = {
        name: {label: float(np.median(values)) for label, values in figures.items()}
        for name, figures in rounds.items()
    }
    report.finish(options, where, {"grpcio": grpc.__version__, "seconds": options.seconds}, results)


if __name__ == "__main__":
    main()
