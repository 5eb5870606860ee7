"""torch.compile, for the methods in which a network's time goes."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import torch

from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.models.network import CompilableNetwork, Network

__all__ = ["Compiled", "check_compilable"]


def check_compilable(network: Network) -> None:
    """Let a network pass that can be compiled on this machine.

    Raises:
        InvalidArgumentError: it has nothing to compile.
        FailedPreconditionError: there is no C++ compiler.
    """
    if not isinstance(network, CompilableNetwork):
        allowed = "must be false: models of this loader have nothing to compile"
        raise InvalidArgumentError("options.compile", True, allowed)
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise FailedPreconditionError(
            f"options.compile: torch.compile needs a C++ compiler, and there is no {compiler!r}; install it, "
            f"name another in the environment variable CXX, or register the model without compile"
        )


class Compiled:
    """A network's methods, compiled, which can be put in the place of its own and taken out again.

    Each is compiled at its first calls, once for batches of one and once for all other sizes. torch keeps
    open what it has seen to vary, the number of inputs and the length of texts, and fixes the rest, such as
    the size of images, which is translated sooner and to faster code than where everything is kept open.

    Args:
        methods: each as a module and the method's name.
    """

    def __init__(self, methods: Sequence[tuple[torch.nn.Module, str]]) -> None:
        # Otherwise models of one architecture share a limit of eight translations, and run uncompiled beyond.
        isolates = "isolate_recompiles" in inspect.signature(torch.compile).parameters
        options: dict[str, Any] = {"isolate_recompiles": True} if isolates else {}
        translate: Callable[..., Any] = torch.compile
        self._methods = [(owner, name, translate(getattr(owner, name), **options)) for owner, name in methods]

    def put_in(self) -> None:
        """From now on, the network runs what was compiled."""
        for owner, name, compiled in self._methods:
            setattr(owner, name, compiled)

    def take_out(self) -> None:
        """Run the network's own methods, if it does not do so already."""
        for owner, name, _ in self._methods:
            vars(owner).pop(name, None)
