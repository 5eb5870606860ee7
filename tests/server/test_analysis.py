"""Questions beside searches, in process and over gRPC."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from embeddb.calls import CollectionCalls
from embeddb.database import Database
from embeddb.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from embeddb.options import Arithmetic, Combine
from embeddb.query import CollectionSettings, Item, Metric, PutItem, Text
from embeddb.questions import Calibrate, Compare, Question
from embeddb_client import Client, Collection

RNG = np.random.default_rng(3)
CENTRES = RNG.normal(size=(6, 4))
PEOPLE = [
    PutItem(
        f"{person}-{shot}",
        features={"given": CENTRES[person] + 0.4 * RNG.normal(size=4)},
        metadata={"person": person, "seen": {"camera": shot % 2}},
    )
    for person in range(6)
    for shot in range(5)
]


@pytest.fixture(scope="module")
def people(client: Collection) -> Collection:
    """Six people, five shots each."""
    people = client.create_collection("people", ["given"])
    people.put_many(PEOPLE)
    people.put("nobody", features={"given": [1, 2, 3, 4]})
    return people


@pytest.fixture(params=["in process", "over gRPC"])
def asked(request: pytest.FixtureRequest, people: Collection, database: Database) -> CollectionCalls:
    return database.collection("people") if request.param == "in process" else people


def unit(n: int) -> np.ndarray:
    vector = np.asarray(PEOPLE[n].features["given"], np.float64)
    return vector / np.linalg.norm(vector)


def test_comparing_gives_cosines(asked: CollectionCalls) -> None:
    matrix = asked.ask(
        Compare([Item("0-0"), Item("0-1")], [Item("1-0"), Item("1-1") - Item("1-2"), [1, 0, 0, 0]])
    )
    assert matrix.shape == (2, 3)
    assert matrix.dtype == np.float32
    assert matrix[1, 0] == pytest.approx(unit(1) @ unit(5), abs=1e-6)
    assert matrix[0, 2] == pytest.approx(unit(0)[0], abs=1e-6)
    among_themselves = asked.ask(Compare([Item("0-0"), Item("3-0")]))
    assert among_themselves.tolist() == [
        [pytest.approx(1), pytest.approx(unit(0) @ unit(15), abs=1e-6)],
        [pytest.approx(unit(0) @ unit(15), abs=1e-6), pytest.approx(1)],
    ]
    assert asked.compare(Item("0-0"), Item("3-0")) == pytest.approx(unit(0) @ unit(15), abs=1e-6)


def test_comparing_heeds_the_arithmetic(asked: CollectionCalls) -> None:
    vectors = [np.asarray(each.features["given"], np.float64) for each in PEOPLE] + [np.arange(1.0, 5)]
    mean = np.mean([v / np.linalg.norm(v) for v in vectors], axis=0)
    a, b = unit(0) - mean, unit(15) - mean
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    similarity = asked.compare(Item("0-0"), Item("3-0"), arithmetic=Arithmetic(center=True))
    assert similarity == pytest.approx(expected, abs=1e-5)


def test_verifying_is_comparing_with_a_threshold(asked: CollectionCalls) -> None:
    similarity = asked.compare(Item("0-0"), Item("0-1"))
    assert asked.verify(Item("0-0"), Item("0-1"), similarity - 0.01).same
    verdict = asked.verify(Item("0-0"), Item("0-1"), similarity + 0.01)
    assert (verdict.same, verdict.similarity) == (False, pytest.approx(similarity))


def test_a_calibrated_threshold_keeps_to_its_rate(asked: CollectionCalls) -> None:
    found = asked.ask(Calibrate("person", false_accept_rate=0.05))
    assert (found.items, found.same_pairs, found.different_pairs) == (30, 60, 375)
    same, different = [], []
    for i in range(30):
        for j in range(i):
            (same if i // 5 == j // 5 else different).append(unit(i) @ unit(j))
    assert found.false_accept_rate == pytest.approx(np.mean(np.array(different) >= found.threshold))
    assert 0.04 < found.false_accept_rate <= 0.05
    assert found.false_reject_rate == pytest.approx(np.mean(np.array(same) < found.threshold))
    assert 0 < found.equal_error_rate < 0.5
    taken = np.mean(np.array(different) >= found.equal_error_threshold - 1e-6)
    refused = np.mean(np.array(same) < found.equal_error_threshold - 1e-6)
    assert found.equal_error_rate == pytest.approx((taken + refused) / 2, abs=1e-6)
    assert abs(taken - refused) < 1 / 50
    centred = asked.ask(Calibrate("person", false_accept_rate=0.05, center=True))
    assert centred.threshold != found.threshold


def test_calibration_and_verification_go_by_the_cosine_in_every_collection(
    client: Client, asked: CollectionCalls
) -> None:
    settings = CollectionSettings(metric=Metric.L2)
    by_length = client.create_collection(f"by-length-{type(asked).__module__}", ["given"], settings)
    by_length.put_many(PEOPLE)
    question = Calibrate("person", false_accept_rate=0.05)
    assert by_length.ask(question) == asked.ask(question)
    verdict = by_length.verify(Item("0-0"), Item("0-1"), 0.5)
    assert verdict == asked.verify(Item("0-0"), Item("0-1"), 0.5)


def test_calibration_goes_by_nested_fields_too(asked: CollectionCalls) -> None:
    assert asked.ask(Calibrate("seen.camera")).same_pairs == 18 * 17 / 2 + 12 * 11 / 2


@pytest.mark.parametrize(
    ("question", "error", "message"),
    [
        (lambda: Compare([Item("nix")]), NotFoundError, "no item named 'nix'"),
        (lambda: Compare([Item("0-0")], [Item("0-0") - Item("0-0")]), InvalidArgumentError, "zero vector"),
        (lambda: Compare([]), InvalidArgumentError, "expressions: 'none' given"),
        (
            lambda: Compare([Text("a")], arithmetic=Arithmetic(Combine.BEST)),
            InvalidArgumentError,
            "arithmetic.combine: 'best' given, must be sum",
        ),
        (lambda: Compare([Item("0-0")], model="nix"), NotFoundError, "nix"),
        (lambda: Calibrate("nix"), FailedPreconditionError, "0 labelled items"),
        (lambda: Calibrate(""), InvalidArgumentError, "^field: ''"),
        (lambda: Calibrate("person", 1.5), InvalidArgumentError, "false_accept_rate: 1.5"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    asked: CollectionCalls, question: Callable[[], Question[object]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        asked.ask(question())


def test_a_question_of_another_kind_is_refused(asked: CollectionCalls) -> None:
    class Guess(Question[int]):
        model = None

    with pytest.raises(InvalidArgumentError, match=r"embeddb\.questions"):
        asked.ask(Guess())
