"""A network where and how it is run: its device, its precision, the layout of its weights, compiled or not.

What the options leave open is measured when the model is loaded: every way that comes into question runs a
few images and texts, and the fastest wins among those whose features stay close to float32's. No table would
do: bfloat16 makes a ViT four times faster on a processor with AMX, and depthwise convolutions four times
slower on one without it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import torch
from PIL import Image as PilImage

from embeddb.errors import EmbeddbError, FailedPreconditionError, ResourceExhaustedError
from embeddb.models.compilation import check_compilable, compile_methods
from embeddb.models.cores import Cores
from embeddb.models.folding import fold_batch_norms
from embeddb.models.network import CompilableNetwork, Network, Output, ReentrantNetwork
from embeddb.models.probe import Measured, measure, probes, warm_up
from embeddb.models.way import DTYPES, Way, eager_ways, find_device, machine
from embeddb.query import Modality, Precision, Running, RunOptions

__all__ = ["Choices", "Runner"]

MIN_COSINE = 0.999
"""Least cosine between features at a reduced precision and those in float32, where the choice is ours."""
MIN_CENTRED_COSINE = 0.995
"""The same without the mean of the features, which a trained network gives to any picture without a subject.

With photographs, the weights of EfficientNet-Lite0 in bfloat16 come down to 0.990; with the probe to 0.9990,
and to 0.975 without the mean. Networks that stay above 0.999 with photographs stay above 0.998
without the mean.
"""
# A way is taken over a plainer one only if it is faster by this factor: less may be noise.
MIN_GAIN = 1.05
# Raised when another way of choosing, or of running, is to choose anew.
METHOD = 3

Choices = MutableMapping[str, dict[str, Any]]
"""Ways that were chosen, as plain data, by what decided them."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Runner:
    """Runs a network as its options say; what they leave open is chosen by measuring, here.

    Args:
        name: the model's, for the log.
        network: as it was loaded, in float32 on the CPU; its module is changed.
        options: the device, the precision, and whether it may be compiled.
        max_batch: most inputs of one `forward`.
        choices: what was chosen before is found here, and not measured again; what is chosen is added.

    Raises:
        FailedPreconditionError: there is no such device or it has too little memory, the network does not run
            as the options say, or it is to be compiled and there is no compiler.
        InvalidArgumentError: it is to be compiled, and has nothing to compile.
    """

    def __init__(
        self, name: str, network: Network, options: RunOptions, max_batch: int, choices: Choices
    ) -> None:
        self._name = name
        self._network = network
        self._max_batch = max_batch
        self._device = find_device(options.device)
        # Work of different models overlaps on a GPU only where it is in different streams.
        self._stream: torch.cuda.Stream | None = None
        if self._device.type == "cuda":
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        if options.compile:
            check_compilable(network)
        try:
            with self._on_stream():
                network.module.to(self._device)
        except torch.OutOfMemoryError as error:
            raise FailedPreconditionError(
                f"the memory of {self._device} does not hold the weights"
            ) from error
        self._cores: Cores | None = None
        self._uncompile: Callable[[], None] = _nothing
        self._way = Way(Precision.FLOAT32)
        self._fold()
        self._restore = _remember(network.module)
        if network.modalities:
            self._choose(options, choices)
        # Nothing goes back to float32 from here on, so its weights need not be kept beside the others.
        del self._restore
        # Compiled code has the number of its threads built in.
        reentrant = isinstance(network, ReentrantNetwork) and network.reentrant and not self._way.compiled
        if reentrant and self._device.type == "cpu" and torch.get_num_threads() > 1:
            self._cores = Cores(name)

    @property
    def running(self) -> Running:
        """How the network runs, and how many bytes its weights take."""
        tensors = chain(self._network.module.parameters(), self._network.module.buffers())
        size = sum(tensor.nbytes for tensor in tensors)
        return Running(str(self._device), self._way.precision, size, self._way.compiled)

    def prepare(self, content: PilImage.Image | str) -> Any:
        """What `forward` takes: prepared by the network, and brought to its device and precision.

        Raises:
            ResourceExhaustedError: the device's memory has no room for it.
        """
        prepared = self._network.prepare(content)
        if not isinstance(prepared, torch.Tensor):
            return prepared
        if prepared.is_floating_point():
            prepared = prepared.to(DTYPES[self._way.precision])
        if self._stream is not None:
            with self._on_device(1):
                return prepared.pin_memory().to(self._device, non_blocking=True)
        return prepared

    def forward(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        """Run a batch of what `prepare` gave.

        Returns:
            Features in float32 and probabilities, on the CPU.

        Raises:
            ResourceExhaustedError: the batch is too large for the device's memory.
        """
        if self._cores is not None and self._cores.can_divide(prepared):
            return self._cores.divide(partial(self._run, modality), prepared)
        return self._run(modality, prepared)

    def close(self) -> None:
        """End its threads; it runs nothing any more."""
        if self._cores is not None:
            self._cores.close()

    def _run(self, modality: Modality, prepared: Sequence[Any]) -> Output:
        with torch.inference_mode(), self._on_device(len(prepared)):
            output = self._network.forward(modality, prepared)
            probabilities = None if output.probabilities is None else output.probabilities.cpu()
            return Output(output.features.float().cpu(), probabilities)

    @contextmanager
    def _on_device(self, inputs: int) -> Iterator[None]:
        """Inside, work is put on the model's stream; no memory for so many inputs is an error of ours."""
        try:
            with self._on_stream():
                yield
        except torch.OutOfMemoryError as error:
            raise ResourceExhaustedError(
                f"model {self._name!r}: the memory of {self._device} does not hold a batch of {inputs}"
            ) from error

    def _on_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _fold(self) -> None:
        """Fold batch norms into convolutions, in float32, for all ways."""

        def run() -> Sequence[torch.Tensor]:
            return self._running_or_refused(lambda prepared: warm_up(self.forward, prepared, ()))

        try:
            # On the stream that reads the folded weights: another one would not wait for them.
            with self._on_stream():
                folded = fold_batch_norms(self._network.module, run)
        except EmbeddbError as error:
            # It may run at another precision all the same, with types of its own built in.
            log.info("model %r: batch norms are not folded: %s", self._name, error)
            return
        if folded:
            log.info("model %r: %d batch norms are folded into convolutions", self._name, folded)

    def _choose(self, options: RunOptions, choices: Choices) -> None:
        """Find the fastest way that is close to the reference, or the one found before, and take it."""
        key = (
            f"{METHOD}; {self._network.fingerprint}; {options.precision}; compile {options.compile}; "
            f"{machine(self._device)}"
        )
        if key in choices:
            chosen = choices[key]
            self._apply(Way(Precision(chosen["precision"]), chosen["channels_last"], chosen["compiled"]))
            self._running_or_refused(lambda prepared: warm_up(self.forward, prepared, self._sizes()))
            log.info("model %r runs in %s, as measured before", self._name, self._way)
            return
        ways = eager_ways(options, self._network.module, self._device)
        # The first is the plainest: in float32 where that is allowed, with the weights as they come.
        plain, reference = ways[0], self._measure(ways[0])
        seconds = {plain: reference.seconds} | {way: self._try(way, reference) for way in ways[1:]}
        best = _fastest(plain, seconds)
        if options.compile:
            compiled = replace(best, compiled=True)
            seconds[compiled] = self._try(compiled, reference)
            best = _fastest(best, {way: seconds[way] for way in (best, compiled)})
        if self._way != best:
            self._apply(best)
        times = "; ".join(f"{way} {t * 1e3:.1f} ms" for way, t in seconds.items() if t < math.inf)
        log.info("model %r runs in %s, as measured: %s", self._name, best, times)
        try:
            choices[key] = asdict(best)
        except EmbeddbError as error:
            # A full disk: the model runs all the same, and the next start measures again.
            log.warning("model %r: what was measured could not be kept: %s", self._name, error)

    def _sizes(self) -> Sequence[int]:
        """Of the batches that warm the network up."""
        # What is compiled is compiled apart for one input, and once more where a second one has another
        # length, and for many: here, so that nobody who asks waits for it.
        return (1, 1, self._max_batch) if self._way.compiled else ()

    def _measure(self, way: Way) -> Measured:
        self._apply(way)
        measured = self._running_or_refused(lambda prepared: measure(self.forward, prepared, self._sizes()))
        if not all(features.isfinite().all() for features in measured.features):
            raise FailedPreconditionError(f"the model's features in {way} are not finite numbers")
        return measured

    def _running_or_refused(self, run: Callable[[dict[Modality, list[Any]]], T]) -> T:
        """Run the prepared probes; what goes wrong is an error of ours."""
        try:
            return run({m: [self.prepare(each) for each in probes(m)] for m in self._network.modalities})
        except EmbeddbError:
            raise
        except Exception as error:
            # A network may have types built in, or lack a kernel; torch says so with errors of any class.
            first = str(error).strip().partition("\n")[0]
            raise FailedPreconditionError(
                f"the model does not run in {self._way} on {self._device}: {first}"
            ) from error

    def _try(self, way: Way, reference: Measured) -> float:
        """The seconds that a way takes; infinity if it fails, or strays from the reference."""
        try:
            measured = self._measure(way)
        except EmbeddbError as error:
            log.info("model %r, not taken: %s", self._name, error)
            return math.inf
        cosine, centred = measured.cosine(reference), measured.centred_cosine(reference)
        if cosine < MIN_COSINE or centred < MIN_CENTRED_COSINE:
            log.info(
                "model %r, not taken: %s, whose cosine to the plain way is %.5f, and %.5f without the mean",
                *(self._name, way, cosine, centred),
            )
            return math.inf
        return measured.seconds

    def _apply(self, way: Way) -> None:
        module = self._network.module
        self._uncompile()
        self._uncompile = _nothing
        self._restore()
        with self._on_stream():
            module.to(DTYPES[way.precision])
            if way.channels_last:
                module.to(memory_format=torch.channels_last)
        if way.compiled:
            assert isinstance(self._network, CompilableNetwork)
            self._uncompile = compile_methods(self._network.compilable)
        self._way = way


def _nothing() -> None:
    """What has not been compiled needs nothing to be as it was."""


def _fastest(plain: Way, seconds: dict[Way, float]) -> Way:
    """The fastest way; the plain one, if none is clearly faster than that."""
    best = min(seconds, key=lambda way: seconds[way])
    return best if seconds[best] * MIN_GAIN < seconds[plain] else plain


def _remember(module: torch.nn.Module) -> Callable[[], None]:
    """Keep a module's tensors as they are; what is returned brings them back."""
    parameters = [(parameter, parameter.data) for parameter in module.parameters()]
    buffers = [
        (owner, name, buffer)
        for owner in module.modules()
        for name, buffer in owner.named_buffers(recurse=False)
    ]

    def restore() -> None:
        for parameter, data in parameters:
            parameter.data = data
        for owner, name, buffer in buffers:
            setattr(owner, name, buffer)

    return restore
