"""What the operator decides about models, and nobody else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embeddb.arguments import check_fields
from embeddb.errors import PermissionDeniedError

__all__ = ["PILLOW_MAX_PIXELS", "ModelSettings"]

PILLOW_MAX_PIXELS = 178_956_970
"""Pillow opens no larger image, whatever else is allowed."""


@dataclass(frozen=True)
class ModelSettings:
    """What the operator decides about models.

    Attributes:
        folder: where model files may lie; None forbids them.
        allow_programs: whether model files that are programs, TorchScript and torch.export's .pt2, may run.
        python_modules: the modules whose classes may be models, by their full import path.
        max_batch: most inputs of one forward pass.
        max_queue: most inputs that wait for one model, for each priority and modality; beyond it queries are
            refused, and bulk loads wait.
        text_cache: how many of the texts that queries had embedded last each model keeps with their features;
            0 for none.
        max_image_bytes: largest encoded image.
        max_image_pixels: largest image, width x height; at most `PILLOW_MAX_PIXELS` count.
        predictions: how many of the likeliest classes are kept with an item; all, if there are not more.

    Raises:
        InvalidArgumentError: a field is of another type, such as a folder that is a string.
    """

    folder: Path | None = None
    allow_programs: bool = False
    python_modules: tuple[str, ...] = ()
    max_batch: int = 32
    max_queue: int = 512
    text_cache: int = 4096
    max_image_bytes: int = 64 << 20
    max_image_pixels: int = 100_000_000
    predictions: int = 5

    def __post_init__(self) -> None:
        check_fields(self)

    def check_program(self, field: str, file: str) -> None:
        """Let a model file that is a program pass.

        Raises:
            PermissionDeniedError: the operator has not allowed them.
        """
        if not self.allow_programs:
            raise PermissionDeniedError(
                f"{field}: {file!r} is a program, and programs are not allowed; "
                f"whoever trusts the model folder starts the server with --allow-programs"
            )

    def check_module(self, field: str, module: str) -> None:
        """Let a Python module pass.

        Raises:
            PermissionDeniedError: the operator has not allowed it.
        """
        if module not in self.python_modules:
            raise PermissionDeniedError(
                f"{field}: the module {module!r} is not allowed; "
                f"whoever trusts it starts the server with --allow-modules {module}"
            )
