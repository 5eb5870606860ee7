"""What are these? By texts, by neighbours and by the model's own classes, in process and over gRPC."""

from __future__ import annotations

import json
from collections.abc import Callable

import open_clip
import pytest
import skimage.io
import torch
from PIL import Image as PilImage

from embeddb.calls import CollectionCalls
from embeddb.database import Database
from embeddb.errors import EmbeddbError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from embeddb.query import Image, Item, Precision, Prediction, PutItem, RunOptions, Text
from embeddb.questions import Classify, Neighbours, OwnClasses, ZeroShot
from embeddb_client import Collection
from embeddb_protos.v1 import analysis_pb2
from embeddb_protos.wire.questions import CODECS
from tests.conftest import PHOTOS

ARCHITECTURE = "tiny-clip-to-classify"
CONFIG = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
LABELS = ["cat", "cup of coffee", "rocket", "motorcycle"]
TEMPLATES = ["a photo of a {}.", "a picture of the {}", "{}"]
NAMES = ["chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png"]


@pytest.fixture(scope="module")
def classified(
    client: Collection, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Collection:
    """Four photographs, in the starter's space, in that of a small CLIP, and with classes of `tiny`."""
    file = tmp_path_factory.mktemp("architectures") / f"{ARCHITECTURE}.json"
    file.write_text(json.dumps(CONFIG))
    open_clip.add_model_config(file)
    # Measured precision may come out as bfloat16, and the library that it is compared with runs in float32.
    spec = {"loader": "open_clip", "architecture": ARCHITECTURE, "seed": 7}
    database.register_model("clip", spec, options=RunOptions(precision=Precision.FLOAT32))
    collection = client.create_collection("classified", ["starter", "clip", "tiny"])
    kinds = ["animal", "thing", "vehicle", "vehicle"]
    collection.put_many(
        PutItem(name.partition(".")[0], Image(PHOTOS / name), {"kind": {"is": kind}})
        for name, kind in zip(NAMES, kinds, strict=True)
    )
    return collection


@pytest.fixture(params=["in process", "over gRPC"])
def asked(request: pytest.FixtureRequest, classified: Collection, database: Database) -> CollectionCalls:
    return database.collection("classified") if request.param == "in process" else classified


def labels(outcome: list[Prediction] | EmbeddbError) -> list[str]:
    assert not isinstance(outcome, EmbeddbError), outcome
    return [each.label for each in outcome]


def test_labels_in_sentences_classify_photographs(asked: CollectionCalls) -> None:
    items = [Item(name.partition(".")[0]) for name in NAMES]
    outcomes = asked.ask(Classify(items, ZeroShot(LABELS, TEMPLATES, scale=20), top=2))
    assert [labels(outcome)[0] for outcome in outcomes] == LABELS
    assert {len(labels(outcome)) for outcome in outcomes} == {2}


def test_probabilities_are_those_of_open_clip(asked: CollectionCalls) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network, _, transform = open_clip.create_model_and_transforms(ARCHITECTURE)
    network.eval()
    tokenizer = open_clip.get_tokenizer(ARCHITECTURE)
    templates = [lambda label, t=t: t.replace("{}", label) for t in TEMPLATES]
    pictures = [PilImage.fromarray(skimage.io.imread(PHOTOS / name)[..., :3]) for name in NAMES]
    with torch.inference_mode():
        classes = open_clip.build_zero_shot_classifier(network, tokenizer, LABELS, templates)
        features = network.encode_image(torch.stack([transform(each) for each in pictures]), normalize=True)
        expected = (network.logit_scale.exp() * features @ classes).softmax(dim=1).numpy()
    assert expected.std(axis=1).min() > 0.01  # the small network tells them apart at all
    question = Classify([Image(PHOTOS / name) for name in NAMES], ZeroShot(LABELS, TEMPLATES), model="clip")
    for outcome, row in zip(asked.ask(question), expected, strict=True):
        assert not isinstance(outcome, EmbeddbError)
        found = {each.label: each.score for each in outcome}
        assert [found[label] for label in LABELS] == pytest.approx(row, abs=1e-4)


def test_neighbours_vote(asked: CollectionCalls) -> None:
    question = Classify([Text("a spacecraft"), Item("chelsea")], Neighbours("kind.is", k=3))
    craft, cat = asked.ask(question)
    assert not isinstance(craft, EmbeddbError)
    assert craft[0] == Prediction("vehicle", pytest.approx(2 / 3))
    assert sorted(labels(cat)) == ["thing", "vehicle"]
    near = asked.ask(Classify(["a motorcycle"], Neighbours("kind.is", k=4, temperature=0.02)))[0]
    assert not isinstance(near, EmbeddbError)
    assert (near[0].label, near[0].score > 0.9) == ("vehicle", True)
    assert asked.ask(Classify(["a motorcycle"], Neighbours("nix"))) == [[]]


def test_the_models_own_classes_of_items_and_of_new_content(asked: CollectionCalls) -> None:
    question = Classify([Item("coffee"), Image(PHOTOS / "coffee.png")], OwnClasses(), model="tiny")
    stored, new = asked.ask(question)
    assert sorted(labels(stored)) == ["cat", "cup", "dog"]
    assert labels(new) == labels(stored)
    asked_for = asked.get("coffee", with_predictions=True).predictions["tiny"]
    assert labels(stored) == [each.label for each in asked_for]


def test_each_expression_fails_alone(asked: CollectionCalls) -> None:
    unknown, good = asked.ask(Classify([Item("nix"), Item("coffee")], ZeroShot(["a", "b"], scale=1)))
    assert unknown == NotFoundError("item", "nix")
    assert len(labels(good)) == 2
    unknown, both, text, good = asked.ask(
        Classify(
            [Item("nix"), Item("coffee") + Item("rocket"), Text("a"), Item("coffee")],
            OwnClasses(),
            model="tiny",
        )
    )
    assert unknown == NotFoundError("item", "nix")
    assert isinstance(both, InvalidArgumentError)
    assert "must be one image, text or item alone" in str(both)
    assert isinstance(text, InvalidArgumentError)
    assert len(labels(good)) == 3


@pytest.mark.parametrize(
    ("question", "error", "message"),
    [
        (
            lambda: Classify(
                ["a"], ZeroShot([str(n) for n in range(101)], ["{}" + "!" * n for n in range(100)])
            ),
            InvalidArgumentError,
            "101 labels in 100 templates",
        ),
        (lambda: Classify(["a"], ZeroShot(["a"])), FailedPreconditionError, "'starter' has none of its own"),
        (lambda: Classify(["a"], ZeroShot(["a"], scale=1), model="tiny"), InvalidArgumentError, "no text"),
        (lambda: Classify(["a"], OwnClasses()), FailedPreconditionError, "no classes of its own"),
        (lambda: Classify([], OwnClasses()), InvalidArgumentError, "^expressions"),
        (lambda: Classify(["a"], OwnClasses(), top=0), InvalidArgumentError, "^top: 0"),
        (lambda: Classify(["a"], ZeroShot([])), InvalidArgumentError, r"^zero_shot\.labels"),
        (lambda: Classify(["a"], ZeroShot(["a", "a"])), InvalidArgumentError, r"^zero_shot\.labels"),
        (lambda: Classify(["a"], ZeroShot(["a"], ["a photo"])), InvalidArgumentError, r"\.templates"),
        (lambda: Classify(["a"], ZeroShot(["a"], scale=0)), InvalidArgumentError, r"\.scale: 0"),
        (lambda: Classify(["a"], Neighbours("")), InvalidArgumentError, r"^neighbours\.field"),
        (lambda: Classify(["a"], Neighbours("a", 0)), InvalidArgumentError, r"^neighbours\.k: 0"),
        (lambda: Classify(["a"], Neighbours("a", temperature=0)), InvalidArgumentError, r"\.temperature"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    asked: CollectionCalls, question: Callable[[], Classify], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        asked.ask(question())


def test_a_question_without_a_way_is_refused() -> None:
    message = analysis_pb2.ClassifyRequest(expressions=[{"terms": [{"text": "a"}]}])
    with pytest.raises(InvalidArgumentError, match="one of zero_shot, neighbours, own_classes"):
        CODECS[Classify].question_from(message)
    message.neighbours.field = "kind"
    assert CODECS[Classify].question_from(message) == Classify([Text("a") * 1.0], Neighbours("kind"))
