"""The error tree."""

from __future__ import annotations

import pickle

import pytest

from embeddb import errors
from embeddb.errors import (
    AlreadyExistsError,
    EmbeddbError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from embeddb.query import PutItem
from embeddb_protos.v1 import common_pb2
from embeddb_protos.wire.errors import STATUS_CODES, error_from, error_message

EXAMPLES = [
    InvalidArgumentError("k", 0, "must be at least 1"),
    NotFoundError("model", "clip", ["starter"]),
    AlreadyExistsError("collection", "photos"),
    FailedPreconditionError("remove the collection first"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_a_pickle_and_the_wire(error: EmbeddbError) -> None:
    assert pickle.loads(pickle.dumps(error)) == error
    assert error_from(common_pb2.Error.FromString(error_message(error).SerializeToString())) == error


def test_an_error_says_field_given_and_allowed() -> None:
    error = EXAMPLES[0]
    assert str(error) == "k: 0 given, must be at least 1"
    assert error.details == {"field": "k", "given": "0", "allowed": "must be at least 1"}
    assert str(EXAMPLES[1]) == "no model named 'clip'; there are: starter"


def test_megabytes_are_not_echoed() -> None:
    assert str(InvalidArgumentError("image", b"x" * 2_000_000, "no")) == "image: 2,000,000 bytes given, no"
    assert len(str(InvalidArgumentError("text", "x" * 2_000_000, "no"))) < 200


def test_every_error_has_a_status_code_and_no_two_the_same() -> None:
    leaves = {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, EmbeddbError)}
    assert leaves - {EmbeddbError} == set(STATUS_CODES)
    assert len(set(STATUS_CODES.values())) == len(STATUS_CODES)


def test_a_number_that_python_does_not_write_is_refused_like_any_other() -> None:
    with pytest.raises(InvalidArgumentError, match=r"item\.metadata: dict of a huge number given"):
        PutItem("a", "a text", {"n": 1 << 20_000})
