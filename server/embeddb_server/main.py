"""The command `embeddb-server`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from embeddb_server.garbage import collect_rarely

# Each is the function of its name in a module that is imported when it runs: making a key need not wait for
# what serving takes.
COMMANDS = {
    "serve": "serving",
    "config": "config",
    "keys": "maintenance",
    "verify": "maintenance",
    "backup": "maintenance",
    "restore": "maintenance",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command: serving is the one without a name. Returns the exit code."""
    # Read when torch, FAISS and numpy are imported. Their threads spin while they wait, and take a core that
    # others need: of lone exact searches among 20,000 vectors there were 67 a second, and are 320 without.
    # OpenBLAS takes the logarithm of a number of cycles, of which 4 is the least.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    # Read when gRPC starts. From 1.80 on, threads of its own read the sockets and wake the one that waits for
    # calls; without them that one reads. To wake a thread on another core of a virtual machine takes long.
    os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
    # Imports make many objects, and hardly any garbage.
    collect_rarely()
    import embeddb
    from embeddb.errors import EmbeddbError

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        print(f"embeddb-server {embeddb.__version__}")
        return 0
    command = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "serve"
    if command not in COMMANDS:
        print(f"embeddb-server: no command {command!r}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        getattr(import_module(f"embeddb_server.{COMMANDS[command]}"), command)(arguments)
    except (EmbeddbError, OSError) as error:
        print(f"embeddb-server: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
