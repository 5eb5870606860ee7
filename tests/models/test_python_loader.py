"""A class by its import path: only from a module that the operator has named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image as PilImage
from torchvision.transforms.functional import to_tensor

import embeddb
from embeddb import Image, Item, PutItem, RunOptions
from embeddb.database import Database
from embeddb.errors import FailedPreconditionError, InternalError, InvalidArgumentError, PermissionDeniedError
from embeddb.models import ModelSettings
from embeddb.query import Precision
from tests.models.pictures import check_images

MODULE = "tests.models.own_network"


def test_a_class_of_one_s_own_embeds(trusting: Database) -> None:
    spec = {"loader": "python", "class": f"{MODULE}:Colours", "arguments": {"times": 2}}
    assert trusting.register_model("colours", spec).dimension == 3
    check_images(trusting, "colours", lambda image: 2 * to_tensor(image).mean(dim=(1, 2)))


def test_a_class_need_not_turn_gradients_off(trusting: Database) -> None:
    trusting.register_model("trained", {"loader": "python", "class": f"{MODULE}:Trained"})
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 3).requires_grad_(False)
    check_images(trusting, "trained", lambda image: layer(to_tensor(image).mean(dim=(1, 2))))


@pytest.mark.parametrize("inputs", [False, True])
def test_weights_in_float64_are_brought_to_float32(inputs: bool, trusting: Database) -> None:
    name = f"from-numpy-{inputs}"
    spec = {"loader": "python", "class": f"{MODULE}:FromNumpy", "arguments": {"inputs": inputs}}
    running = trusting.register_model(name, spec, RunOptions(precision=Precision.FLOAT32)).running
    assert running is not None
    assert running.bytes == 4 * (9 + 3)
    weight = torch.arange(9.0).reshape(3, 3)
    check_images(trusting, name, lambda image: weight @ to_tensor(image).mean(dim=(1, 2)) + 1)


@pytest.mark.parametrize("where", ["prepare", "forward"])
def test_what_fails_on_one_input_names_the_model(where: str, trusting: Database) -> None:
    spec = {"loader": "python", "class": f"{MODULE}:Choosy", "arguments": {"where": where}}
    trusting.register_model(f"choosy-{where}", spec)
    items = trusting.create_collection(f"choosy-{where}", [f"choosy-{where}"])
    red, blue = (Image(PilImage.new("RGB", (8, 8), colour)) for colour in ("red", "blue"))
    failed, stored = items.put_many([PutItem("red", red), PutItem("blue", blue)])
    assert stored.error is None
    says = f"^model 'choosy-{where}' for images failed.*: ArithmeticError: too red$"
    assert re.match(says, str(failed.error))
    with pytest.raises(InternalError, match=says):
        items.search(red)


@pytest.mark.parametrize("module", ["os", "tests.models", f"{MODULE}.deeper", "", "tests.models.pictures"])
def test_a_module_that_is_not_on_the_list_is_not_imported(module: str, trusting: Database) -> None:
    with pytest.raises(PermissionDeniedError, match=f"the module {module!r} is not allowed"):
        trusting.register_model("wrong", {"loader": "python", "class": f"{module}:path"})


@pytest.mark.parametrize(
    ("field", "given"), [("folder", "models"), ("python_modules", MODULE), ("max_batch", "8")]
)
def test_settings_of_other_types_are_named(field: str, given: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{field}: '{given}' given, must be"):
        ModelSettings(**{field: given})  # type: ignore[arg-type]


def test_no_module_is_on_the_list_by_default(tmp_path: Path) -> None:
    with embeddb.open(tmp_path) as database, pytest.raises(PermissionDeniedError):
        database.register_model("wrong", {"loader": "python", "class": f"{MODULE}:Colours"})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NoSuchClass", "no such class"),
        ("not_a_class", "no such class"),
        ("", "no such class"),
        ("WrongDimension", "features of"),
        ("LabelsWithoutPredictions", "labels, a tuple"),
        ("NoFingerprint", "fingerprint"),
        ("BareFeatures", r"gives an embeddb\.models\.Output, not a Tensor"),
        ("WholeNumbers", r"floating type, not torch\.int64"),
        ("NumbersAsLabels", "labels, a tuple of names"),
        ("Logits", "probabilities from 0 to 1"),
    ],
)
def test_what_is_no_network_is_refused_at_once(name: str, says: str, trusting: Database) -> None:
    with pytest.raises(InvalidArgumentError, match=says) as caught:
        trusting.register_model("wrong", {"loader": "python", "class": f"{MODULE}:{name}"})
    assert caught.value.details["field"] == "spec.class"


@pytest.mark.parametrize("class_name", ["Dropping", "Centring", "FirstAlone"])
def test_what_depends_on_the_batch_or_on_chance_is_refused(class_name: str, trusting: Database) -> None:
    says = (
        "features of shape" if class_name == "FirstAlone" else "different features alone .* evaluation mode"
    )
    with pytest.raises(FailedPreconditionError, match=says):
        trusting.register_model("wrong", {"loader": "python", "class": f"{MODULE}:{class_name}"})
    assert "wrong" not in {info.name for info in trusting.models()}


def test_what_gives_nothing_but_zero_vectors_is_refused(trusting: Database) -> None:
    with pytest.raises(FailedPreconditionError, match=r"of all 6 images .* are zero.*weights were loaded"):
        trusting.register_model("wrong", {"loader": "python", "class": f"{MODULE}:Nothing"})


def test_predictions_that_are_not_finite_fail_their_item_alone(trusting: Database) -> None:
    trusting.register_model("classes", {"loader": "python", "class": f"{MODULE}:Classes"})
    items = trusting.create_collection("classes", ["classes"])
    pictures = {"orange": (255, 120, 20), "teal": (0, 120, 120), "pink": (255, 100, 180)}
    results = items.put_many(
        PutItem(name, Image(PilImage.new("RGB", (8, 8), colour))) for name, colour in pictures.items()
    )
    failed = {result.id: str(result.error) for result in results if result.error is not None}
    assert list(failed) == ["teal"]
    assert "predictions that are not finite" in failed["teal"]
    assert [hit.id for hit in items.search(Item("orange"), filter='label("classes") == "red"')] == ["pink"]


def test_a_path_without_a_colon_names_no_module_to_allow(trusting: Database) -> None:
    with pytest.raises(InvalidArgumentError, match="must be MODULE:CLASS"):
        trusting.register_model("wrong", {"loader": "python", "class": f"{MODULE}.Colours"})


def test_what_fails_says_how(tmp_path: Path, trusting: Database) -> None:
    spec = {"loader": "python", "class": f"{MODULE}:Failing"}
    with pytest.raises(FailedPreconditionError, match="ArithmeticError: out of cheese"):
        trusting.register_model("wrong", spec)
    with pytest.raises(FailedPreconditionError, match="unexpected keyword argument 'size'"):
        trusting.register_model("wrong", {**spec, "arguments": {"size": 1}})
    settings = ModelSettings(python_modules=("no.such.module",))
    with (
        embeddb.open(tmp_path, models=settings) as database,
        pytest.raises(FailedPreconditionError, match="ModuleNotFoundError"),
    ):
        database.register_model("wrong", {"loader": "python", "class": "no.such.module:Net"})
