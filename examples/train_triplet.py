"""Train a triplet net on a folder of identities, and register it.

    python examples/train_triplet.py FOLDER models/mine.pt --trunk resnet18 --size 256 128 --dimension 128
    python examples/train_triplet.py FOLDER models/mine.pt --server 127.0.0.1:7080 --name mine

FOLDER has one folder an identity (a person, a face, a product) with its pictures in it. Training sees some of
the identities, evaluation the others: each of their pictures is searched among all the rest, and rank-1 (how
often the nearest shows the same identity) and mAP are printed before and after training.

Batches are P identities x K pictures, and the loss takes each picture's hardest positive and hardest negative
of its batch (Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", 2017, with their
soft margin).
What is trained is `embeddb.models.loaders.triplet.Embedder`, so that the loader needs no map of names. With
--server the model is registered there; the server's --models must be the weights' folder.

Needs: pip install 'embeddb[engine]' pytorch-metric-learning
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.samplers import MPerClassSampler
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from embeddb.models.loaders.triplet import Embedder, EmbedderShape, evaluation_transform
from embeddb_client import Client


class Identities(Dataset[tuple[torch.Tensor, int]]):
    """The pictures of some identities, with the number of each.

    Args:
        folders: one an identity.
        transform: from a PIL image to the net's input.
    """

    def __init__(self, folders: Sequence[Path], transform: Any) -> None:
        files = [(file, n) for n, folder in enumerate(folders) for file in sorted(folder.iterdir())]
        self.files, self.labels = [file for file, _ in files], [n for _, n in files]
        self._transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, n: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.files[n]) as image:
            return self._transform(image.convert("RGB")), self.labels[n]


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Train, evaluate, save and register; returns the figures before and after training."""
    options = _parser().parse_args(arguments)
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)  # which pytorch-metric-learning's sampler draws from
    identities = sorted(each for each in options.folder.iterdir() if each.is_dir())
    kept = max(1, round(len(identities) * options.unseen))
    seen, unseen = identities[:-kept], identities[-kept:]
    if len(seen) < 2 or len(unseen) < 2:
        raise SystemExit(f"{options.folder}: {len(identities)} identities, and 2 are needed on either side")
    size = (options.size[0], options.size[-1])
    transform = evaluation_transform(size, {})
    shape = EmbedderShape(options.trunk, size, dimension=options.dimension)
    embedder = Embedder(shape, options.pretrained)
    evaluation = Identities(unseen, transform)
    print(f"{len(seen)} identities to train on, {len(unseen)} others to evaluate: {len(evaluation)} pictures")
    figures = {"untrained trunk": evaluate(embedder.trunk, evaluation)}
    _show("untrained trunk", figures["untrained trunk"])
    train(embedder, Identities(seen, _augmented(transform, size)), options)
    figures["trained"] = evaluate(embedder, evaluation)
    _show("trained", figures["trained"])
    options.weights.parent.mkdir(parents=True, exist_ok=True)
    torch.save(embedder.state_dict(), options.weights)
    spec = {
        "loader": "triplet",
        "trunk": options.trunk,
        "size": list(size),
        "dimension": options.dimension,
        "checkpoint": options.weights.name,
    }
    print(f"weights in {options.weights}; its spec:\n{json.dumps(spec)}")
    if options.server:
        with Client(options.server) as client:
            print(f"registered: {client.register_model(options.name, spec)}")
    return figures


def train(embedder: Embedder, pictures: Identities, options: argparse.Namespace) -> None:
    """Batch-hard triplet loss on batches of P identities x K pictures."""
    batch = options.identities * options.pictures
    sampler = MPerClassSampler(
        pictures.labels, options.pictures, batch_size=batch, length_before_new_iter=batch * options.steps
    )
    loader = DataLoader(pictures, batch_size=batch, sampler=sampler)
    # Lengths are free in training: on the unit sphere a soft margin has hardly anything to gain.
    distance = LpDistance(normalize_embeddings=False)
    mine = BatchHardMiner(distance=distance)
    triplet_loss = TripletMarginLoss(margin=0.0, smooth_loss=True, distance=distance)
    optimizer = torch.optim.AdamW(embedder.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, total_steps=options.steps
    )
    embedder.train()
    for step, (images, labels) in enumerate(loader, start=1):
        embedded = embedder(images)
        loss = triplet_loss(embedded, labels, mine(embedded, labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == options.steps:
            print(f"step {step} of {options.steps}: loss {loss.item():.3f}")


def evaluate(network: torch.nn.Module, pictures: Identities) -> dict[str, float]:
    """Rank-1 and mAP, each picture searched among all the others by cosine."""
    network.eval()
    with torch.inference_mode():
        features = [normalize(network(images), dim=1) for images, _ in DataLoader(pictures, batch_size=64)]
    measures = {"precision_at_1": "rank-1", "mean_average_precision": "mAP"}
    calculator = AccuracyCalculator(include=tuple(measures), k=len(pictures) - 1, device=torch.device("cpu"))
    # With the queries themselves as the reference, each is left out of its own answer.
    accuracy = calculator.get_accuracy(torch.cat(features).clone(), torch.tensor(pictures.labels))
    return {shown: float(accuracy[name]) for name, shown in measures.items()}


def _augmented(transform: Any, size: tuple[int, int]) -> Any:
    shift = transforms.RandomAffine(degrees=5, translate=(0.05, 0.05), scale=(0.9, 1.1))
    return transforms.Compose([transforms.Resize(size), shift, transform])


def _show(name: str, figures: dict[str, float]) -> None:
    print(f"{name}: " + ", ".join(f"{measure} {value:.3f}" for measure, value in figures.items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="one folder an identity")
    parser.add_argument("weights", type=Path, help="where to write the trained weights (.pt)")
    parser.add_argument("--trunk", default="resnet18", help="a timm model")
    parser.add_argument("--pretrained", action="store_true", help="start from timm's weights for the trunk")
    parser.add_argument(
        "--size", type=int, nargs="+", default=[224], help="height and width, or one for both"
    )
    parser.add_argument("--dimension", type=int, default=128, help="of the features")
    parser.add_argument("--unseen", type=float, default=0.4, help="share of the identities to evaluate on")
    parser.add_argument("--identities", type=int, default=4, help="P: identities in a batch")
    parser.add_argument("--pictures", type=int, default=8, help="K: pictures of each")
    parser.add_argument("--steps", type=int, default=400, help="batches to train on")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the highest of the schedule")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and augmentation")
    parser.add_argument("--server", help="address of a server to register the model at")
    parser.add_argument("--name", default="triplet", help="the model's name there")
    return parser


if __name__ == "__main__":
    main()
