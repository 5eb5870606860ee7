"""The expressions that are typed at a shell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddb.errors import InvalidArgumentError
from embeddb.query import Between, Expression, Image, Item, Operand, Text, Unit, Vector, unit
from embeddb_client.cli.expression import MAX_NESTING, parse
from tests.expressions import ids, sums, texts

paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
# Printing shortens a vector's numbers to six digits, and leaves out all after the fourth.
short_vectors = st.lists(st.integers(-999, 999), min_size=1, max_size=4)
corners = st.integers(0, 99)
boxes = st.builds(lambda x, y, w, h: (x, y, x + 1 + w, y + 1 + h), corners, corners, corners, corners)
leaves: st.SearchStrategy[Operand] = st.one_of(
    texts.map(Text), ids.map(Item), st.builds(Image, paths, st.none() | boxes), short_vectors.map(Vector)
)
operands = st.recursive(
    leaves,
    lambda inner: sums(inner).map(Unit) | st.builds(Between, sums(inner), sums(inner), st.floats(0, 1)),
    max_leaves=6,
)
expressions = st.one_of(operands, sums(operands))


@given(expressions)
def test_what_python_prints_is_read_back(expression: Expression) -> None:
    read = parse(repr(expression))
    assert repr(read) == repr(expression)
    assert len(read.terms) == len(expression.terms)
    for (weight, operand), (printed, _) in zip(read.terms, expression.terms, strict=True):
        assert weight == pytest.approx(printed, rel=1e-5)
        assert not isinstance(operand, Image | Text | Item | Vector) or operand in [
            o for _, o in expression.terms
        ]


@given(st.text(max_size=40))
def test_anything_typed_is_an_expression_or_a_clear_error(typed: str) -> None:
    try:
        read = parse(typed)
    except InvalidArgumentError:
        return
    assert isinstance(read, Expression)


@pytest.mark.parametrize(
    ("typed", "expression"),
    [
        ("a sleeping cat", Text("a sleeping cat")),
        ("  a sleeping cat ", Text("a sleeping cat")),
        ("units of measure", Text("units of measure")),
        ('"a cat"', Text("a cat")),
        ("'it''s'", None),
        (r"'it\'s'", Text("it's")),
        (r'"C:\\new, \u00e9\x21"', Text("C:\\new, é!")),
        ("@cat.jpg", Image("cat.jpg")),
        ('@"my cat.jpg"', Image("my cat.jpg")),
        ("@photos/cat-1.jpg", Image("photos/cat-1.jpg")),
        ("@cat.jpg[10,20,300,200]", Image("cat.jpg", (10, 20, 300, 200))),
        ('@"my cat.jpg"[ 1, 2, 3, 4 ] - #a', Image("my cat.jpg", (1, 2, 3, 4)) - Item("a")),
        ("2 * (@a.jpg[1,2,3,4] + @b[1].jpg)", 2 * (Image("a.jpg", (1, 2, 3, 4)) + Image("b[1].jpg"))),
        ('@"a[1,2,3,4]"', Image("a[1,2,3,4]")),
        ("Image( 'a' , box = (1,2,3,4) )", Image("a", (1, 2, 3, 4))),
        ("@a.jpg[1,2,3]", None),
        ("#a[1,2,3,4]", None),
        ("#sku-42", Item("sku-42")),
        ('#"a (b)"', Item("a (b)")),
        ("(#a)", Item("a")),
        ("-#a", -Item("a")),
        ("- -#a", 1.0 * Item("a")),
        ('@cat.jpg - "a cat" + 0.5 * #x', Image("cat.jpg") - Text("a cat") + 0.5 * Item("x")),
        ("#a/2", Item("a/2")),
        ("#a / 2", Item("a") / 2),
        ("#a * 3 / 2", Item("a") * 3 / 2),
        ("2*-.5e1*#a", 2 * -5.0 * Item("a")),
        ("2 * (#a - #b)", 2 * (Item("a") - Item("b"))),
        ("unit(#a + #b) - #c", unit(Item("a") + Item("b")) - Item("c")),
        ("Vector([1, -2.5e-1])", Vector([1, -0.25])),
        ("between(#a, #b)", Between(Item("a"), Item("b"), 0.5)),
        ("2*between(#a - #b,'c',.25)", 2 * Between(Item("a") - Item("b"), Text("c"), 0.25)),
        ("between two trees", Text("between two trees")),
        ("Item( 'a' ) + #b", Item("a") + Item("b")),
    ],
)  # fmt: skip
def test_notations(typed: str, expression: Expression | None) -> None:
    if expression is None:
        with pytest.raises(InvalidArgumentError, match=r"expected \+ or -"):
            parse(typed)
    else:
        assert parse(typed) == expression


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "column 1: expected an operand"),
        ("@a.jpg[4,3,2,1]", r"box: \(4, 3, 2, 1\) given, must be left, top, right, bottom"),
        ("   ", "column 4: expected an operand"),
        ("3 dogs", r"column 3: expected an operand \(@file, #id, \"text\"\)"),
        ("2 #a", r"column 3: expected \* after a weight"),
        ("#a #b", r"column 4: expected \+ or -"),
        ("#a +", "column 5: expected an operand"),
        ("#a * #b", "column 6: expected a number"),
        ("(#a", r"column 4: expected \)"),
        ("unit(#a", r"column 8: expected \)"),
        ('#a + "open', "column 6: expected an operand"),
        ("between(#a)", "column 11: expected ,"),
        ("between(#a, #b, #c)", "column 17: expected a number"),
        ("between(#a, #b, 2)", "between.t: 2.0 given"),
        ("between(#a, #b, 1, #c)", r"column 18: expected \)"),
        ('@""', "column 1: expected a path"),
        ('#""', r"item.id: '' given"),
        ('" "', "text: ' ' given"),
        ("#a / 0", "division by 0"),
        ("1e999 * #a", "expression.weight: inf given"),
        ("Vector([1, x])", "column 1: expected numbers between"),
        ("Vector([1, 2, ...] of 512)", "column 1: expected an operand"),
        ("Vector([])", r"vector: 'shape \(0,\)'"),
        ("Image(<141,303 bytes>)", "column 1: expected an operand"),
        (r'"\U00110000"', r"column 1: \\U00110000 is no character"),
    ],
)
def test_what_is_wrong_is_said_with_its_column(typed: str, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        parse(typed)


def test_parentheses_end_somewhere() -> None:
    assert parse("(" * MAX_NESTING + "#a" + ")" * MAX_NESTING) == Item("a")
    with pytest.raises(InvalidArgumentError, match="more than 50 parentheses"):
        parse("(" * 100_000 + "#a")
