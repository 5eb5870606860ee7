"""Which index a space has: what `auto` chooses, and which factory strings are taken."""

from __future__ import annotations

import pytest

from embeddb.errors import InvalidArgumentError
from embeddb.index import IndexPolicy, check_factory


@pytest.mark.parametrize(("dimension", "exact"), [(2048, 10_000), (384, 13_020), (64, 78_125), (2, 100_000)])
def test_auto_is_exact_while_there_is_little_to_read(dimension: int, exact: int) -> None:
    auto = IndexPolicy()
    assert auto.choose(exact - 1, dimension) is None
    assert auto.choose(exact, dimension) is not None


def test_auto_has_vectors_enough_to_train_each_of_its_lists() -> None:
    auto = IndexPolicy()
    assert auto.choose(10_000, 512) == "IVF256,PQ256x4fs"
    assert auto.choose(62_000, 512) == "IVF996,PQ256x4fs"


def test_auto_has_codes_of_centres_where_these_are_many() -> None:
    assert IndexPolicy().choose(1_000_000, 512) == "IVF4000(PQ128x4fs,Refine(Flat)),PQ256x4fs"
    assert IndexPolicy().choose(1_000_000, 130) == "IVF4000,PQ65x4fs"


@pytest.mark.parametrize("dimension", [64, 126, 129, 1023])
def test_auto_has_longer_codes_where_dimensions_are_few_or_odd(dimension: int) -> None:
    assert IndexPolicy().choose(100_000, dimension) == "IVF1265,SQ4"


def test_auto_has_codes_for_a_gpu_that_faiss_has_there() -> None:
    assert IndexPolicy().choose(100_000, 512, gpu=True) == "IVF1265,SQ4"


@pytest.mark.parametrize(
    ("factory", "complaint"),
    [
        ("IVF", "must be auto, Flat or a FAISS factory string"),
        ("nonsense", "must be auto, Flat or a FAISS factory string"),
        ("IVF16,SQ8,RFlat", "must not refine"),
        ("HNSW32,Refine(SQ8)", "must not refine"),
        ("IVF16,PQ7", "that fits 16 dimensions"),
        ("PQ8", "of the families IVF and HNSW"),
        ("", "must be auto, Flat or a FAISS"),
    ],
)
def test_what_is_no_index_is_refused(factory: str, complaint: str) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint):
        check_factory(factory, 16)


@pytest.mark.parametrize("factory", ["auto", "Flat", "IVF16,PQ8", "HNSW32,SQ8", "OPQ8,IVF16,PQ8"])
def test_what_is_an_index_is_taken(factory: str) -> None:
    check_factory(factory, 16)
