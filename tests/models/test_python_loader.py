"""A class by its import path: only from a module that the operator has named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.transforms.functional import to_tensor

import embeddb
from embeddb.database import Database
from embeddb.errors import FailedPreconditionError, InvalidArgumentError, PermissionDeniedError
from embeddb.models import ModelSettings
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


@pytest.mark.parametrize("module", ["os", "tests.models", f"{MODULE}.deeper", "", "tests.models.pictures"])
def test_a_module_that_is_not_on_the_list_is_not_imported(module: str, trusting: Database) -> None:
    with pytest.raises(PermissionDeniedError, match=f"the module {module!r} is not allowed"):
        trusting.register_model("wrong", {"loader": "python", "class": f"{module}:path"})


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
    ],
)
def test_what_is_no_network_is_refused_at_once(name: str, says: str, trusting: Database) -> None:
    with pytest.raises(InvalidArgumentError, match=says) as caught:
        trusting.register_model("wrong", {"loader": "python", "class": f"{MODULE}:{name}"})
    assert caught.value.details["field"] == "spec.class"


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
