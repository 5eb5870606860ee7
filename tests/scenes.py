"""Captioned scenes: one coloured shape somewhere in a picture, and a small CLIP that learns to read them.

Where weights cannot be had, this is a model whose images and texts really share a space. Some pairs of colour
and shape are never seen in training; it has to put them together from their parts.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image as PilImage
from PIL import ImageDraw
from torch.nn.functional import cross_entropy, normalize

__all__ = ["COLOURS", "HELD_OUT", "SEEN", "Scene", "draw", "train"]

SIZE = 32
COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 160, 40),
    "blue": (40, 60, 220),
    "yellow": (240, 220, 40),
    "purple": (150, 40, 170),
    "white": (250, 250, 250),
}
SHAPES = ("circle", "square", "triangle", "cross", "ring")
PLACES = {"left": (10, 16), "right": (22, 16), "top": (16, 10), "bottom": (16, 22)}
PICTURES_EACH = 24
STEPS = 300
BATCH = 64
LEARNING_RATE = 2e-3

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 64,
        "vision_cfg": {
            "image_size": SIZE,
            "timm_model_name": "test_resnet",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
        },
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
}


@dataclass(frozen=True)
class Scene:
    """What is to be seen; empty where a caption does not say."""

    colour: str
    shape: str
    place: str = ""

    @property
    def caption(self) -> str:
        """Such as "red circle at the left", "circle" or "red"."""
        where = f"at the {self.place}" if self.place else ""
        return " ".join(part for part in (self.colour, self.shape, where) if part)

    def fits(self, scene: Scene) -> bool:
        """Whether this caption is true of a scene."""
        return (
            self.colour in ("", scene.colour)
            and self.shape in ("", scene.shape)
            and self.place in ("", scene.place)
        )


ALL = [Scene(*parts) for parts in itertools.product(COLOURS, SHAPES, PLACES)]
# Every colour and every shape is seen, but not these together: one colour of each shape.
HELD_OUT = [scene for scene in ALL if scene.colour == list(COLOURS)[(SHAPES.index(scene.shape) + 2) % 6]]
SEEN = [scene for scene in ALL if scene not in HELD_OUT]


def draw(scene: Scene, random: np.random.Generator) -> PilImage.Image:
    """One picture of a scene, (32, 32): size, exact place, shade and background vary."""
    image = PilImage.new("RGB", (SIZE, SIZE), tuple(random.integers(60, 130, 3).tolist()))
    x, y = np.array(PLACES[scene.place]) + random.integers(-2, 3, 2)
    r = int(random.integers(5, 8))
    fill = tuple(np.clip(np.array(COLOURS[scene.colour]) + random.integers(-20, 21, 3), 0, 255).tolist())
    pen, box = ImageDraw.Draw(image), [x - r, y - r, x + r, y + r]
    match scene.shape:
        case "circle":
            pen.ellipse(box, fill=fill)
        case "square":
            pen.rectangle(box, fill=fill)
        case "triangle":
            pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=fill)
        case "cross":
            pen.line([(x - r, y - r), (x + r, y + r)], fill=fill, width=3)
            pen.line([(x - r, y + r), (x + r, y - r)], fill=fill, width=3)
        case "ring":
            pen.ellipse(box, outline=fill, width=2)
    noise = random.normal(0, 6, (SIZE, SIZE, 3))
    return PilImage.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def train(folder: Path, seed: int = 0) -> None:
    """Train a small CLIP on the scenes seen, and write it as open_clip publishes its models.

    The loss is CLIP's with all true captions of a picture as its target, not one alone (UniCL: Yang et al.,
    "Unified Contrastive Learning in Image-Text-Label Space", CVPR 2022), for captions leave things out here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG))
    name = f"local-dir:{folder}"
    random = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, _, transform = open_clip.create_model_and_transforms(name, load_weights=False)
        pictures = [(scene, transform(draw(scene, random))) for scene in SEEN for _ in range(PICTURES_EACH)]
        _fit(network.train(), open_clip.get_tokenizer(name), pictures, random)
    torch.save(network.state_dict(), folder / "open_clip_pytorch_model.bin")


def _fit(
    network: Any, tokenizer: Any, pictures: Sequence[tuple[Scene, torch.Tensor]], random: np.random.Generator
) -> None:
    # Most of the parameters embed the vocabulary, and its fifteen words here need no learned embedding.
    network.token_embedding.requires_grad_(False)
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS, pct_start=0.1)
    for _ in range(STEPS):
        chosen = [pictures[n] for n in random.choice(len(pictures), BATCH, replace=False)]
        captions = list({_left_out(scene, random) for scene, _ in chosen})
        images = normalize(network.encode_image(torch.stack([picture for _, picture in chosen])), dim=1)
        texts = normalize(network.encode_text(tokenizer([each.caption for each in captions])), dim=1)
        true = torch.tensor([[each.fits(scene) for each in captions] for scene, _ in chosen]).float()
        logits = network.logit_scale.exp() * images @ texts.T
        loss = cross_entropy(logits, true / true.sum(1, keepdim=True))
        loss = loss + cross_entropy(logits.T, true.T / true.T.sum(1, keepdim=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            network.logit_scale.clamp_(0, math.log(100))


def _left_out(scene: Scene, random: np.random.Generator) -> Scene:
    """A caption of a scene: whole as often as not, else without one or two of its parts."""
    if random.random() < 0.5:
        return scene
    kept = random.choice(3, size=int(random.integers(1, 3)), replace=False)
    parts = (scene.colour, scene.shape, scene.place)
    return Scene(*(part if n in kept else "" for n, part in enumerate(parts)))
