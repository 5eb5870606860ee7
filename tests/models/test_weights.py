"""Weights, and the paths to them: nothing runs, nothing outside the model folder is read."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import embeddb
from embeddb.errors import InvalidArgumentError, PermissionDeniedError
from embeddb.models.fingerprint import fingerprint
from embeddb.models.spec import model_file, model_folder
from embeddb.models.weights import load_by_name, read_state_dict

FIELD = "spec.checkpoint"
KEPT = "52293260546deeac53034d678853d07dfd4767ea2df3f7b6c4a159601dd4af4c"


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 3)
        self.norm = torch.nn.BatchNorm1d(3)


class Payload:
    """Pickles as a call."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("write", [torch.save, lambda value, file: file.write_bytes(pickle.dumps(value))])
def test_a_pickle_that_would_run_something_is_refused_and_does_not_run(write: object, tmp_path: Path) -> None:
    proof, file = tmp_path / "it-ran", tmp_path / "model.pt"
    write({"weight": Payload(proof)}, file)  # type: ignore[operator]
    with pytest.raises(InvalidArgumentError, match="holds no plain tensors") as caught:
        read_state_dict(FIELD, file)
    assert "you have two options" not in str(caught.value)
    assert not proof.exists()


def test_a_torchscript_file_is_no_checkpoint(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.save(torch.jit.script(Network()), tmp_path / "model.pt")
        with pytest.raises(InvalidArgumentError, match="holds no plain tensors"):
            read_state_dict(FIELD, tmp_path / "model.pt")


@given(st.binary(max_size=64), st.sampled_from([".pt", ".safetensors"]))
def test_a_damaged_file_is_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str
) -> None:
    file = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    file.write_bytes(data)
    with pytest.raises(InvalidArgumentError) as caught:
        read_state_dict(FIELD, file)
    assert caught.value.details["field"] == FIELD


@pytest.mark.parametrize("wrap", [dict, lambda s: {"state_dict": s, "epoch": 1}, lambda s: {"model": s}])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_training_wrappers_are_taken_off(wrap: object, prefix: str, tmp_path: Path) -> None:
    state = Network().state_dict()
    torch.save(wrap({prefix + n: t for n, t in state.items()}), tmp_path / "model.pt")  # type: ignore[operator]
    read = read_state_dict(FIELD, tmp_path / "model.pt")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


def test_what_does_not_fit_changes_nothing() -> None:
    network = Network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    good = Network().state_dict()
    for bad in (
        {**good, "extra": torch.zeros(1)},
        {name: tensor for name, tensor in good.items() if name != "layer.bias"},
        {**good, "layer.weight": torch.zeros(3, 3)},
    ):
        with pytest.raises(InvalidArgumentError):
            load_by_name(FIELD, network, bad)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    load_by_name(FIELD, network, {n: t for n, t in good.items() if not n.endswith("num_batches_tracked")})
    assert torch.equal(network.layer.weight, good["layer.weight"])


@pytest.mark.parametrize(
    "path", ["../secret.pt", "/etc/hostname", "inside/../../secret.pt", "link.pt", "linked/x"]
)
@pytest.mark.parametrize("find", [model_file, model_folder])
def test_no_path_leads_out_of_the_model_folder(path: str, find: object, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / "inside").mkdir(parents=True)
    (tmp_path / "secret.pt").write_bytes(b"secret")
    (folder / "link.pt").symlink_to(tmp_path / "secret.pt")
    (folder / "linked").symlink_to("/etc")
    with pytest.raises(PermissionDeniedError, match="leads out of the model folder"):
        find(FIELD, path, folder)  # type: ignore[operator]


@pytest.mark.parametrize("path", ["", ".", "none.pt", "a\0b", "x" * 5000, "inside"])
def test_what_is_no_file_is_named(path: str, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    with pytest.raises(InvalidArgumentError) as caught:
        model_file(FIELD, path, tmp_path)
    assert caught.value.details["field"] == FIELD


def test_without_a_model_folder_the_flag_is_named() -> None:
    with pytest.raises(PermissionDeniedError, match="--models"):
        model_file(FIELD, "model.pt", None)


def test_a_package_s_files_are_found_and_nothing_beside_them() -> None:
    init = Path(embeddb.__file__)
    assert model_file(FIELD, "package:embeddb/models/spec.py", None) == init.parent / "models" / "spec.py"
    with pytest.raises(PermissionDeniedError, match="leads out"):
        model_file(FIELD, "package:embeddb/../pyproject.toml", None)
    for none in ("no_such_package", "embeddb.models", "__main__", "os", "", "typing"):
        with pytest.raises(InvalidArgumentError, match="no installed package"):
            model_file(FIELD, f"package:{none}/x", None)


tensors = st.dictionaries(
    st.text("abc", min_size=1, max_size=2),
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=4).map(
        torch.tensor
    ),
    min_size=1,
    max_size=4,
)


@given(tensors, st.randoms())
def test_the_fingerprint_is_of_the_bytes_and_not_of_their_order(
    state: dict[str, torch.Tensor], random: Random
) -> None:
    facts = {"architecture": "x", "size": [1, 2]}
    names = list(state)
    random.shuffle(names)
    one = fingerprint(state, facts)
    assert one == fingerprint({name: state[name].clone() for name in names}, dict(reversed(facts.items())))
    name = names[0]
    assert one != fingerprint(state | {name: torch.nextafter(state[name], torch.tensor(torch.inf))}, facts)
    assert one != fingerprint(state | {name: state[name].double()}, facts)
    assert one != fingerprint(state | {name: state[name][None]}, facts)
    assert one != fingerprint({f"{each}.": tensor for each, tensor in state.items()}, facts)
    assert one != fingerprint(state, facts | {"size": [2, 1]})


def test_a_fingerprint_stays_the_same_for_ever() -> None:
    """Spaces are bound to it: a change here would lock people out of their own data."""
    state = {"b": torch.tensor([1.0, 2.0]), "a": torch.tensor([[1, 2]], dtype=torch.bfloat16)}
    assert fingerprint(state, {"loader": "test"}) == KEPT
