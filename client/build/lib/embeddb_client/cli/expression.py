"""The expressions that are typed at a shell.

    @cat.jpg - "a cat" + 0.5 * #sku-42

    @path       an image file           "text"      a text, in either kind of quotes
    #id         a stored item           ( ... )     linear, as in arithmetic
    2 * x, x / 2, -x                    unit(...)   nested: brought to unit length first

Paths and ids end at a space or a closing parenthesis; quote those that contain them: @"my cat.jpg". Inside
quotes, a backslash takes the next character as it is. What begins with a letter is a text as a whole, since
shells take one pair of quotes away: embeddb search "a sleeping cat".
"""

from __future__ import annotations

import re

from embeddb.errors import InvalidArgumentError
from embeddb.query import Expression, Image, Item, Operand, Text, unit

__all__ = ["parse"]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
      | (?P<unit>unit\s*\()
      | (?P<operand>[@#]?(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|[@#][^\s)"']+)
      | (?P<sign>[-+*/()])
    )""",
    re.VERBOSE | re.DOTALL,
)
MAX_NESTING = 50


def parse(typed: str) -> Expression:
    """Read an expression.

    Raises:
        InvalidArgumentError: it cannot be read; the message says at which column and what was expected.
    """
    if typed[:1].isalpha() and not re.match(r"unit\s*\(", typed):
        return Text(typed)
    return _Parser(typed).parse()


class _Parser:
    """Recursive descent over the tokens of one line."""

    def __init__(self, typed: str) -> None:
        self._typed = typed
        self._place = 0
        self._nesting = 0
        self._kind = self._token = ""
        self._start = 0
        self._advance()

    def parse(self) -> Expression:
        expression = self._sum()
        if self._kind:
            self._fail("expected + or -")
        return expression

    def _sum(self) -> Expression:
        total = self._product()
        while self._token in ("+", "-") and self._kind == "sign":
            negative = self._token == "-"
            self._advance()
            term = self._product()
            total = total - term if negative else total + term
        return total

    def _product(self) -> Expression:
        weight, signed = 1.0, False
        while self._kind == "number" or (self._kind == "sign" and self._token in ("+", "-")):
            signed = True
            if self._kind == "number":
                weight *= float(self._token)
                self._advance()
                if self._token != "*":
                    self._fail("expected * after a weight")
            elif self._token == "-":
                weight = -weight
            self._advance()
        expression = self._operand()
        if signed:
            expression = weight * expression
        while self._kind == "sign" and self._token in ("*", "/"):
            divide = self._token == "/"
            self._advance()
            if self._kind != "number":
                self._fail("expected a number")
            factor = float(self._token)
            self._advance()
            expression = expression / factor if divide else expression * factor
        return expression

    def _operand(self) -> Expression:
        kind, token = self._kind, self._token
        if kind == "operand":
            operand = self._leaf(token)
            self._advance()
            return operand
        if kind == "unit" or (kind == "sign" and token == "("):
            self._nesting += 1
            if self._nesting > MAX_NESTING:
                self._fail(f"more than {MAX_NESTING} parentheses inside one another")
            self._advance()
            inside = self._sum()
            if self._token != ")" or self._kind != "sign":
                self._fail("expected )")
            self._nesting -= 1
            self._advance()
            return unit(inside) if kind == "unit" else inside
        self._fail('expected an operand: @file, #id, "text" or (')
        raise AssertionError("_fail always raises")

    def _leaf(self, token: str) -> Operand:
        sigil, quoted = (token[0], token[1:]) if token[0] in "@#" else ("", token)
        if quoted[0] in "\"'":
            quoted = re.sub(r"\\(.)", r"\1", quoted[1:-1], flags=re.DOTALL)
        if sigil == "@":
            if not quoted:
                self._fail("expected a path after @")
            return Image(quoted)
        return Item(quoted) if sigil == "#" else Text(quoted)

    def _advance(self) -> None:
        match = _TOKEN.match(self._typed, self._place)
        if match is None:
            rest = self._typed[self._place :]
            self._start = self._place + len(rest) - len(rest.lstrip())
            if rest.strip():
                self._fail('expected an operand (@file, #id, "text") or one of + - * / ( )')
            self._kind = self._token = ""
            return
        self._place = match.end()
        self._kind = match.lastgroup or ""
        self._token = match[self._kind]
        self._start = match.start(self._kind)

    def _fail(self, expected: str) -> None:
        raise InvalidArgumentError("expression", self._typed, f"column {self._start + 1}: {expected}")
