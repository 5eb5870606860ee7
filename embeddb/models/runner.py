"""A network where and how it is run: on which device, at which precision, with weights in which layout.

What the options leave open is measured when the model is loaded: every way that comes into question runs a
few images and texts, and the fastest wins among those whose features stay close to float32's. The choice is
kept, and the machine may be busy just then, so they are timed in turns. No table would do: bfloat16 makes a
ViT four times faster on a processor with AMX, and depthwise convolutions four times slower on one without it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image as PilImage

from embeddb.errors import EmbeddbError, FailedPreconditionError, ResourceExhaustedError
from embeddb.models.compilation import Compiled, check_compilable
from embeddb.models.cores import Cores
from embeddb.models.failures import in_a_line
from embeddb.models.folding import fold_batch_norms
from embeddb.models.network import (
    CompilableNetwork,
    Network,
    Output,
    ReentrantNetwork,
    ResizingNetwork,
)
from embeddb.models.packing import Packed, can_pack
from embeddb.models.probe import in_turns, least_centred_cosine, least_cosine, probes, seconds, warm_up
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
MAX_CHANGE = 0.05
"""Of an input's features alone and among others, as a part of their length. Rounding changes them by less; to
drop a tenth of them (and multiply the others by 10 / 9) changes them by sqrt(0.1 / 0.9), a third.
"""
MAX_CONVOLUTIONAL_PART = 8
"""Most inputs that a core takes at once through a network of convolutions. Their weights are soon read, and
activations of more inputs outgrow the caches, and what the C library keeps of the memory that was freed.
"""
# A way is taken over a plainer one only if it is faster by this factor: less may be noise.
MIN_GAIN = 1.05
# Raised when another way of choosing, or of running, is to choose anew.
METHOD = 5

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
            as the options say, its features depend on the batch or on chance, or all of them are zero, or it
            is to be compiled and there is no compiler.
        InvalidArgumentError: it is to be compiled, and has nothing to compile.
    """

    def __init__(
        self, name: str, network: Network, options: RunOptions, max_batch: int, choices: Choices
    ) -> None:
        self._name = name
        self._network = network
        self._max_batch = max_batch
        self._resize = network.resize if isinstance(network, ResizingNetwork) else None
        self._device = find_device(options.device)
        # Work of different models overlaps on a GPU only where it is in different streams.
        self._stream: torch.cuda.Stream | None = None
        if self._device.type == "cuda":
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        if options.compile:
            check_compilable(network)
        self._bring(self._device)
        self._cores: Cores | None = None
        self._replaced: dict[Way, Compiled | Packed] = {}
        self._way = Way(Precision.FLOAT32)
        self._fold()
        # While ways are compared, the weights of each are kept beside the others'.
        self._weights = {self._way: _remember(network.module)}
        if network.modalities:
            self._choose(options, choices)
        del self._weights, self._replaced
        # Compiled code has the number of its threads built in.
        reentrant = isinstance(network, ReentrantNetwork) and network.reentrant and not self._way.compiled
        if reentrant and self._device.type == "cpu" and torch.get_num_threads() > 1:
            self._cores = Cores(name, MAX_CONVOLUTIONAL_PART if self._way.channels_last else max_batch)

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
        # In float32, the pixels are those of the model's own library to the last bit.
        if self._resize and self._way.precision is not Precision.FLOAT32 and not isinstance(content, str):
            content = self._resize(content)
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
            return self._running_or_refused(lambda: warm_up(self.forward, self._probes(), ()))

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
            self._apply(Way(**chosen | {"precision": Precision(chosen["precision"])}))
            self._features()
            log.info("model %r runs in %s, as measured before", self._name, self._way)
            return
        plain, *others = eager_ways(options, self._network.module, self._device)
        # The plainest: in float32 where that is allowed, with the weights as they come.
        self._apply(plain)
        reference = self._features()
        self._check_alone(reference)
        best = self._fastest([plain, *(way for way in others if self._is_close(way, reference))])
        further = []
        if can_pack(self._network.module, self._device, DTYPES[best.precision]):
            further.append(replace(best, packed=True))
        if options.compile:
            further.append(replace(best, compiled=True))
        best = self._fastest([best, *(way for way in further if self._is_close(way, reference))])
        self._apply(best)
        log.info("model %r runs in %s", self._name, best)
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

    def _probes(self) -> dict[Modality, list[Any]]:
        return {m: [self.prepare(each) for each in probes(m)] for m in self._network.modalities}

    def _features(self) -> Sequence[torch.Tensor]:
        """The probes' features in the way that the network is in, which warms it up, too."""
        features = self._running_or_refused(lambda: warm_up(self.forward, self._probes(), self._sizes()))
        if not all(each.isfinite().all() for each in features):
            raise FailedPreconditionError(f"the model's features in {self._way} are not finite numbers")
        for modality, each in zip(self._network.modalities, features, strict=True):
            if not each.any():
                raise FailedPreconditionError(
                    f"the model's features in {self._way} of all {len(each)} {modality}s that it was tried "
                    f"on are zero, and nothing can be found by those; check that its weights were loaded, "
                    f"and that no ReLU comes last"
                )
        return features

    def _check_alone(self, together: Sequence[torch.Tensor]) -> None:
        """Refuse a network that gives an input other features alone than among others, or than before.

        Batches form by themselves, so nothing would be found by such features. Dropout and batch norms in
        training mode give them, and a program keeps the mode that it was traced or exported in.

        Args:
            together: (n, dimension) features of all probes, for each modality.
        """
        prepared = self._running_or_refused(self._probes)
        for (modality, inputs), features in zip(prepared.items(), together, strict=True):
            asked, given = (len(inputs), self._network.dimension), tuple(features.shape)
            if given != asked:
                raise FailedPreconditionError(
                    f"the model gives features of shape {given} for {len(inputs)} {modality}s, not {asked}"
                )
            # All of them: dropout may chance to drop the same of one input's few features twice.
            alone = self._running_or_refused(partial(self._each_alone, modality, inputs))
            changes = torch.linalg.vector_norm(alone - features, dim=1)
            if (changes > MAX_CHANGE * torch.linalg.vector_norm(features, dim=1)).any():
                raise FailedPreconditionError(
                    f"the model gives one {modality} different features alone and among others, or each time "
                    f"it runs; it must be in evaluation mode, as after module.eval() and before it is "
                    f"exported, and treat each input by itself"
                )

    def _each_alone(self, modality: Modality, prepared: Sequence[Any]) -> torch.Tensor:
        """The features (n, dimension) of inputs, each run by itself."""
        return torch.cat([self.forward(modality, [each]).features.clone() for each in prepared])

    def _running_or_refused(self, run: Callable[[], T]) -> T:
        """Run the network; what goes wrong is an error of ours."""
        try:
            return run()
        except EmbeddbError:
            raise
        except Exception as error:
            # A network may have types built in, or lack a kernel; torch says so with errors of any class.
            raise FailedPreconditionError(
                f"the model does not run in {self._way} on {self._device}: {in_a_line(error)}"
            ) from error

    def _is_close(self, way: Way, reference: Sequence[torch.Tensor]) -> bool:
        """Whether the network runs in a way, and gives features close to the reference."""
        try:
            self._apply(way)
            features = self._features()
        except EmbeddbError as error:
            log.info("model %r, not taken: %s", self._name, error)
            return False
        cosine, centred = least_cosine(features, reference), least_centred_cosine(features, reference)
        if cosine >= MIN_COSINE and centred >= MIN_CENTRED_COSINE:
            return True
        log.info(
            "model %r, not taken: %s, whose cosine to the plain way is %.5f, and %.5f without the mean",
            *(self._name, way, cosine, centred),
        )
        return False

    def _fastest(self, ways: Sequence[Way]) -> Way:
        """The fastest of some ways that have run before; the first, if none is clearly faster."""
        if len(ways) == 1:
            return ways[0]
        prepared: dict[Way, dict[Modality, list[Any]]] = {}

        def turn(way: Way) -> float:
            self._apply(way)
            if way not in prepared:
                prepared[way] = self._probes()
            return self._running_or_refused(lambda: seconds(self.forward, prepared[way]))

        rounds = in_turns([partial(turn, way) for way in ways])
        gains = np.median(rounds[:, :1] / rounds, axis=0)
        figures = zip(ways, rounds.min(axis=0), gains, strict=True)
        told = "; ".join(f"{way} {least * 1e3:.1f} ms ({gain:.2f})" for way, least, gain in figures)
        log.info(
            "model %r, fastest of %d rounds and median gain over the first way: %s",
            *(self._name, len(rounds), told),
        )
        best = int(gains.argmax())
        return ways[best] if gains[best] > MIN_GAIN else ways[0]

    def _apply(self, way: Way) -> None:
        """Bring the network to a way; to one that it was in before, its weights are only put back."""
        if self._way in self._replaced:
            self._replaced[self._way].take_out()
        weights = replace(way, compiled=False, packed=False)
        if weights not in self._weights:
            self._weights[Way(Precision.FLOAT32)]()
            self._bring(DTYPES[way.precision])
            if way.channels_last:
                self._bring(memory_format=torch.channels_last)
            self._weights[weights] = _remember(self._network.module)
        self._weights[weights]()
        self._way = way
        if way != weights:
            if way not in self._replaced:
                self._replaced[way] = self._compiled() if way.compiled else self._packed()
            self._replaced[way].put_in()

    def _compiled(self) -> Compiled:
        assert isinstance(self._network, CompilableNetwork)
        return Compiled(self._network.compilable)

    def _packed(self) -> Packed:
        return self._running_or_refused(
            lambda: Packed(self._network.module, partial(warm_up, self.forward, self._probes(), ()))
        )

    def _bring(self, *to: Any, **options: Any) -> None:
        """Bring the weights to a device, a type or a layout."""
        try:
            with self._on_stream():
                self._network.module.to(*to, **options)
        except torch.OutOfMemoryError as error:
            raise FailedPreconditionError(
                f"the memory of {self._device} does not hold the weights"
            ) from error


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
