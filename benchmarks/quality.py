"""How good the answers are, on real pictures: searches by text, arithmetic, garments, unseen identities.

    apt-get install dataset-fashion-mnist
    python examples/fashion_identities.py garments
    python benchmarks/quality.py --garments garments --json quality.json

Each figure is measured through the database and stands beside what chance gives. Without --garments, only the
photographs that scikit-image and scikit-learn carry are asked about. docs/quality.md has the figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import embeddb
from embeddb.collection import Collection
from embeddb.errors import or_raise
from embeddb.models import ModelSettings
from embeddb.models.loaders.starter import CLASSIFIER
from embeddb.options import Arithmetic, Combine, KReciprocal
from embeddb.query import Expression, Image, Item, PutItem, Search, Text
from embeddb.questions import Evaluate

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from demo_photos import photos

Figures = dict[str, dict[str, float]]

# Written for this, from what the photographs show and before anything was measured. One of the two
# motorcycles is left out, for no sentence tells it from the other.
CAPTIONS = {
    "astronaut": "a woman in a space suit",
    "brick": "a brick wall",
    "camera": "a man with a camera on a tripod",
    "cell": "a biological cell under a microscope",
    "chelsea": "a cat",
    "china": "a Chinese temple",
    "coffee": "a cup of coffee",
    "coins": "old coins",
    "flower": "a flower",
    "grass": "grass",
    "gravel": "gravel",
    "hubble_deep_field": "galaxies in deep space",
    "ihc": "stained tissue under a microscope",
    "moon": "the surface of the moon",
    "motorcycle_left": "a motorcycle in a garage",
    "retina": "the retina of an eye",
    "rocket": "a rocket on its launch pad",
}
ARITHMETIC = {
    "3CosAdd": Arithmetic(),
    "3CosMul": Arithmetic(Combine.PRODUCT),
    "3CosAdd, centred": Arithmetic(center=True),
    "3CosMul, centred": Arithmetic(Combine.PRODUCT, center=True),
}
# The unseen identities: the last four of ten, as examples/train_triplet.py divides them.
UNSEEN_SHARE = 0.4


def ask_photographs(collection: Collection) -> Figures:
    """Photographs by their captions; and a photograph - its caption + another caption gives the other one."""
    collection.put_many(PutItem(name, Image(photos()[name]), {"kind": "photo"}) for name in CAPTIONS)
    # Centring subtracts the mean of the texts, too, so there have to be some.
    collection.put_many(PutItem(f"text of {name}", text) for name, text in CAPTIONS.items())
    many = len(CAPTIONS)
    figures: Figures = {}
    for name, arithmetic in (("plain", Arithmetic()), ("centred", Arithmetic(center=True))):
        by_text = {each: Text(text) for each, text in CAPTIONS.items()}
        ranks = _ranks(collection, by_text, arithmetic)
        figures[f"photographs by text, {name}"] = {
            "recall@1": float(np.mean(ranks < 1)),
            "recall@5": float(np.mean(ranks < 5)),
            "chance of recall@1": 1 / many,
            "chance of recall@5": 5 / many,
            "questions": many,
        }
    pairs = [(one, other) for one in CAPTIONS for other in CAPTIONS if one != other]
    wanted: dict[str, Expression] = {
        f"{one} {other}": Item(one) - Text(CAPTIONS[one]) + Text(CAPTIONS[other]) for one, other in pairs
    }
    for name, arithmetic in ARITHMETIC.items():
        ranks = _ranks(collection, wanted, arithmetic)
        figures[f"photograph - its text + another text, {name}"] = {
            "recall@1": float(np.mean(ranks < 1)),
            "recall@5": float(np.mean(ranks < 5)),
            "chance of recall@1": 1 / (many - 1),
            "chance of recall@5": 5 / (many - 1),
            "questions": len(pairs),
        }
    return figures


def _ranks(collection: Collection, questions: Mapping[str, Expression], arithmetic: Arithmetic) -> np.ndarray:
    """The place, from 0 on, of the photograph that the last word of each question's name says."""
    search = Search(
        list(questions.values()),
        k=len(CAPTIONS),
        arithmetic=arithmetic,
        filter='kind == "photo"',
    )
    places = []
    for name, outcome in zip(questions, collection.search_many(search), strict=True):
        ids = or_raise(outcome).ids
        places.append(ids.index(name.split()[-1]))
    return np.array(places)


def ask_garments(collection: Collection, folder: Path, kinds: list[str]) -> Figures:
    """Every picture searched among all the others: is the nearest of the same kind?"""
    collection.put_many(
        PutItem(f"{kind}/{file.name}", file, {"kind": kind})
        for kind in kinds
        for file in sorted((folder / kind).iterdir())
    )
    figures: Figures = {}
    questions = {
        "plain": Evaluate("kind"),
        "centred": Evaluate("kind", center=True),
        "re-ranked": Evaluate("kind", rerank=KReciprocal()),
        "centred, re-ranked": Evaluate("kind", rerank=KReciprocal(), center=True),
    }
    for name, question in questions.items():
        found = collection.ask(question)
        figures[name] = {
            "recall@1": found.cmc[1],
            "mAP": found.mean_average_precision,
            "chance": 1 / len(kinds),
            "questions": found.queries,
        }
    return figures


def train_triplet(folder: Path, weights: Path) -> dict[str, object]:
    """Train as docs/models.md does; gives the spec of what was trained."""
    import train_triplet

    shape = ["--trunk", "test_resnet", "--size", "64", "--dimension", "64"]
    training = ["--steps", "200", "--identities", "6", "--unseen", str(UNSEEN_SHARE)]
    train_triplet.main([str(folder), str(weights), *shape, *training])
    return {
        "loader": "triplet",
        "trunk": "test_resnet",
        "size": [64, 64],
        "dimension": 64,
        "checkpoint": weights.name,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--garments", type=Path, help="the folder that examples/fashion_identities.py wrote")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        models.mkdir()
        with embeddb.open(Path(folder) / "data", models=ModelSettings(folder=models)) as database:
            database.register_model("starter", {"loader": "starter"})
            figures |= ask_photographs(database.create_collection("photographs", ["starter"]))
            if options.garments:
                kinds = sorted(each.name for each in options.garments.iterdir())
                unseen = kinds[-round(UNSEEN_SHARE * len(kinds)) :]
                database.register_model("imagenet", CLASSIFIER)
                trained = train_triplet(options.garments, models / "garments.pt")
                database.register_model("triplet", trained)
                for name, model, asked in (
                    ("garments, ImageNet net", "imagenet", kinds),
                    ("unseen garments, ImageNet net", "imagenet", unseen),
                    ("unseen garments, triplet net", "triplet", unseen),
                ):
                    collection = database.create_collection(f"{model}-{len(asked)}", [model])
                    found = ask_garments(collection, options.garments, asked)
                    figures |= {f"{name}, {how}": each for how, each in found.items()}
    for name, each in figures.items():
        shown = "   ".join(
            f"{what} {value:,}" if isinstance(value, int) else f"{what} {value:.3f}"
            for what, value in each.items()
        )
        print(f"{name}: {shown}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
