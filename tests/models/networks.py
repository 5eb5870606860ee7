"""A tiny network without weights to speak of, whose runs a test can watch, hold up and break."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image as PilImage

from embeddb.models.network import Output
from embeddb.models.spec import Spec
from embeddb.query import Modality
from embeddb.settings import ModelSettings

__all__ = ["Means", "image"]


class Means:
    """An image's features are its mean colour, a text's are made of its length; 1 is added as a fourth.

    Attributes:
        runs: the modality and the size of each batch.
        started: released at each run.
        open: runs wait for it; set from the start.
    """

    modalities: tuple[Modality, ...] = (Modality.IMAGE, Modality.TEXT)
    labels: tuple[str, ...] = ("dark", "bright", "other")
    dimension = 4
    fingerprint = "f" * 64

    def __init__(self) -> None:
        self.module = torch.nn.Linear(1, 1)
        self.open = threading.Event()
        self.open.set()
        self.forget()

    def forget(self) -> None:
        """Begin to watch anew."""
        self.runs: list[tuple[Modality, int]] = []
        self.started = threading.Semaphore(0)

    @classmethod
    def load(cls, spec: Spec, settings: ModelSettings) -> Means:
        """A loader, with a spec of no keys."""
        spec.done()
        return cls()

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor:
        """(3,) float32. The text "unpreparable" breaks it."""
        if content == "unpreparable":
            raise ZeroDivisionError(content)
        if isinstance(content, str):
            value = {"breaks": -1.0, "not finite": float("inf")}.get(content, len(content))
            return torch.full((3,), float(value))
        return torch.tensor(np.asarray(content, np.float32).mean(axis=(0, 1)) / 255)

    def forward(self, modality: Modality, prepared: Sequence[torch.Tensor]) -> Output:
        """Run a batch. The text "breaks" breaks it, and the features of "not finite" are not."""
        self.runs.append((modality, len(prepared)))
        self.started.release()
        assert self.open.wait(20)
        batch = torch.stack(tuple(prepared))
        if (batch < 0).any():
            raise ZeroDivisionError("an input breaks the network")
        brightness = batch.mean(dim=1, keepdim=True).clamp(0, 1).nan_to_num()
        probabilities = torch.cat([1 - brightness, brightness * 0.75, brightness * 0.25], dim=1)
        return Output(torch.cat([batch, torch.ones(len(batch), 1)], dim=1), probabilities)


def image(red: int, green: int = 0, blue: int = 0, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    """(h, w, 3) uint8 of one colour."""
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (*size, 3)).copy()
