"""Files that are programs: TorchScript modules, and torch.export's .pt2.

    {"loader": "torchscript", "file": "resnet18.ts", "size": [224, 224], "labels": "imagenet"}
    {"loader": "pt2", "file": "encoder.pt2", "size": 256, "resize": "fit"}

The program maps a batch of images, (n, 3, height, width) float32 in [0, 1], to features of (n, d), or to
the pair (predictions of (n, classes), features), which is what EuclidesDB had its traced modules give. Any
normalisation is its own affair.

Keys:
    file: in the server's model folder.
    size: [height, width] of the input in pixels, or one number for both.
    resize: "squash" (default) to that size, or "fit": the middle is cut out in its proportions first.
    labels: "imagenet" or a list of names, for a program that gives predictions.
    scores: "logits" (default), which go through a softmax here, or "probabilities".

Runs what the file says: needs the operator's --allow-programs. A .pt2 must be exported with a dynamic batch
dimension (`torch.export.Dim`).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from PIL import Image as PilImage
from PIL import ImageOps
from torchvision import transforms

from embeddb.errors import EmbeddbError, InvalidArgumentError
from embeddb.models.failures import in_a_line
from embeddb.models.fingerprint import fingerprint
from embeddb.models.loaders.keys import take_labels, take_pair
from embeddb.models.network import Network, Output
from embeddb.models.resizing import quick_resize
from embeddb.models.spec import Spec, model_file
from embeddb.query import Modality
from embeddb.settings import ModelSettings

__all__ = ["load_pt2", "load_torchscript"]


class ProgramNetwork:
    """A program that encodes images.

    Args:
        module: the program.
        transform: from a PIL image to its input.
        labels: the names of its classes; empty for none.
        logits: whether its predictions are to go through a softmax.
        identity: of the file and how it is used.

    Raises:
        InvalidArgumentError: it does not give what it should.
    """

    modalities: tuple[Modality, ...] = (Modality.IMAGE,)

    def __init__(
        self,
        module: torch.nn.Module,
        transform: Callable[[Any], torch.Tensor],
        labels: Sequence[str],
        logits: bool,
        identity: str,
    ) -> None:
        self.module = module
        self.labels = tuple(labels)
        self.fingerprint = identity
        self._transform = transform
        self.resize = quick_resize(transform)
        self._logits = logits
        self.dimension = self._probe()

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor:
        """(3, height, width) float32 in [0, 1]."""
        return self._transform(content)

    def forward(self, modality: Modality, prepared: Sequence[torch.Tensor]) -> Output:
        """Run a batch."""
        given = self.module(torch.stack(tuple(prepared)))
        if isinstance(given, torch.Tensor):
            return Output(given)
        predictions, features = _pair(given)
        if not self.labels:
            return Output(features)
        scores = predictions.float()
        return Output(features, scores.softmax(dim=1) if self._logits else scores)

    def _probe(self) -> int:
        """Run it on batches of one and of two, and return the dimension of its features."""
        blank = self.prepare(PilImage.new("RGB", (8, 8)))
        for n in (1, 2):
            try:
                output = self.forward(Modality.IMAGE, [blank] * n)
            except EmbeddbError:
                raise
            except Exception as error:
                # A program raises whatever it likes.
                height, width = blank.shape[-2:]
                said = in_a_line(error) + _other_types(self.module)
                failed = f"fails in it, of {height} x {width} pixels: {said}"
                raise InvalidArgumentError("spec.file", f"a batch of {n}", failed) from error
            if not output.features.is_floating_point():
                given = str(output.features.dtype)
                raise InvalidArgumentError("spec.file", given, "its features must be of a floating type")
            shape = tuple(output.features.shape)
            if len(shape) != 2 or shape[0] != n:
                allowed = f"its features must be ({n}, d) for a batch of {n}"
                raise InvalidArgumentError("spec.file", f"shape {shape}", allowed)
            self._check_predictions(output, n)
        return shape[1]

    def _check_predictions(self, output: Output, n: int) -> None:
        if not self.labels:
            return
        if output.probabilities is None:
            allowed = "must not be given: the program gives features alone, and no predictions"
            raise InvalidArgumentError("spec.labels", f"{len(self.labels)} names", allowed)
        given = tuple(output.probabilities.shape)
        if given != (n, len(self.labels)):
            allowed = "the labels must be as many as its predictions"
            raise InvalidArgumentError("spec.labels", f"{len(self.labels)} for {given}", allowed)


def _other_types(module: torch.nn.Module) -> str:
    """What else to say of a program that failed, where its weights are not of its input's type."""
    types = {each.dtype for each in module.parameters() if each.is_floating_point()} - {torch.float32}
    if not types:
        return ""
    named = " and ".join(sorted(map(str, types)))
    return f". Its input is torch.float32 and its weights are {named}: write it again after module.float()"


def _pair(given: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and features, of a program that gave no tensor.

    Raises:
        InvalidArgumentError: it gave something else.
    """
    several = tuple(given) if isinstance(given, tuple | list) else ()
    if len(several) == 2 and all(isinstance(each, torch.Tensor) for each in several):
        return several[0], several[1]
    kinds = ", ".join(type(each).__name__ for each in several)
    shown = f"{type(given).__name__}({kinds})" if several else type(given).__name__
    allowed = "it must give features, or the pair (predictions, features), as tensors"
    raise InvalidArgumentError("spec.file", shown, allowed)


def load_torchscript(spec: Spec, settings: ModelSettings) -> Network:
    """Load a TorchScript module.

    Raises:
        PermissionDeniedError: the operator has not allowed programs.
        InvalidArgumentError: a key is wrong, or the file is no such module.
    """

    def read(file: Path) -> torch.nn.Module:
        with warnings.catch_warnings():
            # torch calls its own format deprecated; people's files are still there.
            warnings.filterwarnings("ignore", ".*torch.jit.load.*", FutureWarning)
            module: torch.nn.Module = torch.jit.load(str(file))  # type: ignore[no-untyped-call]
        # Where weights want gradients, what was traced in training mode fails in words of autograd.
        for weights in module.parameters():
            weights.requires_grad_(False)
        return module.eval()

    return _load("torchscript", read, spec, settings)


def load_pt2(spec: Spec, settings: ModelSettings) -> Network:
    """Load an exported program; as `load_torchscript` otherwise."""

    def read(file: Path) -> torch.nn.Module:
        # Exported for inference alone: it has neither a training nor an evaluation mode.
        program: torch.export.ExportedProgram = torch.export.load(file)
        return program.module()

    return _load("pt2", read, spec, settings)


def _load(
    loader: str, read: Callable[[Path], torch.nn.Module], spec: Spec, settings: ModelSettings
) -> Network:
    path = spec.require("file", str)
    size = take_pair(spec, "size", (224, 224))
    resize = spec.choose("resize", ("squash", "fit"), "squash")
    labels = take_labels(spec, open_clip.IMAGENET_CLASSNAMES) or ()
    scores = spec.choose("scores", ("logits", "probabilities"), "logits")
    spec.done()
    settings.check_program("spec.file", path)
    file = model_file("spec.file", path, settings.folder)
    try:
        module = read(file)
    except Exception as error:
        # A damaged file makes the readers raise nearly anything.
        said = f"is no {loader} program: {in_a_line(error)}"
        raise InvalidArgumentError("spec.file", path, said) from error
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    facts = {"loader": loader, "file": digest, "size": size, "resize": resize, "scores": scores}
    identity = fingerprint({}, facts)
    return ProgramNetwork(module, _transform(size, resize), labels, scores == "logits", identity)


def _transform(size: tuple[int, int], resize: str) -> Callable[[Any], torch.Tensor]:
    def fit(image: PilImage.Image) -> PilImage.Image:
        return ImageOps.fit(image, (size[1], size[0]), PilImage.Resampling.BILINEAR)

    resized = transforms.Resize(size) if resize == "squash" else fit
    transform: Callable[[Any], torch.Tensor] = transforms.Compose([resized, transforms.ToTensor()])
    return transform
