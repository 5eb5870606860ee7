"""Random expressions, for the laws that hold for all of them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embeddb.query import Between, Expression, Image, Item, Operand, Sum, Text, Unit, Vector

texts = st.text(min_size=1, max_size=20).filter(str.strip)
ids = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
weights = st.floats(-1e6, 1e6).filter(lambda weight: weight == 0 or abs(weight) > 1e-6)
vectors = arrays.arrays(
    np.float32, st.integers(1, 8), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
)
spans = st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2, unique=True).map(sorted)
boxes = st.tuples(spans, spans).map(lambda xy: (xy[0][0], xy[1][0], xy[0][1], xy[1][1]))


def sums(operands: st.SearchStrategy[Operand]) -> st.SearchStrategy[Expression]:
    return st.lists(st.tuples(weights, operands), min_size=1, max_size=4).map(lambda terms: Sum(tuple(terms)))


leaves: st.SearchStrategy[Operand] = st.one_of(
    texts.map(Text),
    ids.map(Item),
    vectors.map(Vector),
    st.builds(Image, st.binary(min_size=1, max_size=20), st.none() | boxes),
)
operands = st.recursive(
    leaves,
    lambda inner: sums(inner).map(Unit) | st.builds(Between, sums(inner), sums(inner), st.floats(0, 1)),
    max_leaves=6,
)
expressions = st.one_of(operands, sums(operands))
