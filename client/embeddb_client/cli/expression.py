r"""The expressions that are typed at a shell.

    @cat.jpg - "a cat" + 0.5 * #sku-42

    @path       an image file           "text"      a text, in either kind of quotes
    #id         a stored item           ( ... )     linear, as in arithmetic
    2 * x, x / 2, -x                    unit(...)   nested: brought to unit length first
    between(x, y, 0.3)                  on the arc from x to y; half-way by default
    @path[10,20,300,200]                the part of the image inside a box: left, top, right, bottom in pixels

Paths and ids end at a space, a comma or a closing parenthesis; quote those that contain them: @"my cat.jpg".
What begins with a letter is a text as a whole, since shells take one pair of quotes away: embeddb search "a
sleeping cat". Where it is a file's path, a line on standard error says how to search with the file. What
Python prints can be typed too: Image('cat.jpg') - Text('a cat') + Vector([1, 0.5]).

Inside quotes, a backslash takes the next character as it is, but for Python's \n, \t, \r, \xhh, \uhhhh and
\Uhhhhhhhh.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from embeddb.errors import InvalidArgumentError
from embeddb.presets import between
from embeddb.query import Expression, Image, Item, Operand, Text, Vector, unit
from embeddb_client.cli.options import err, printable

__all__ = ["parse"]

_STRING = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_FOUR = r"\s*[0-9]{1,10}(?:\s*,\s*[0-9]{1,10}){3}\s*"
_BOX = rf"\[{_FOUR}\]"
_BOX_ARGUMENT = rf"\s*,\s*box\s*=\s*\({_FOUR}\)\s*\)"
_TOKEN = re.compile(
    rf"""\s*(?:
        (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<call>(?:unit|between)\s*\()
      | (?P<boxed>@(?:{_STRING}|[^\s),"']+?){_BOX}(?=[\s),]|$)
          |Image\s*\(\s*{_STRING}{_BOX_ARGUMENT})
      | (?P<operand>[@\#]?{_STRING}|[@\#][^\s),"']+|(?:Image|Item|Text)\s*\(\s*{_STRING}\s*\))
      | (?P<vector>Vector\s*\(\s*\[[^\]]*\]\s*\))
      | (?P<sign>[-+*/(),])
    )""",
    re.VERBOSE | re.DOTALL,
)
_BOX_AT_END = re.compile(rf"(?:{_BOX}|{_BOX_ARGUMENT})$")
_PYTHON = re.compile(r"(?:unit|between|Image|Item|Text|Vector)\s*\(")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r"}
MAX_NESTING = 50


def parse(typed: str) -> Expression:
    """Read an expression.

    Raises:
        InvalidArgumentError: it cannot be read; the message says at which column and what was expected.
    """
    text = typed.strip()
    if text[:1].isalpha() and not _PYTHON.match(text):
        if _is_file(text):
            shown = printable(text)
            err.print(f'{shown} is taken as a text; the file is @"{shown}"', soft_wrap=True)
        return Text(text)
    return _Parser(typed).parse()


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        # It is too long for a path, or holds what no path can.
        return False


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
            raise self._error("expected + or -")
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
                    raise self._error("expected * after a weight")
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
                raise self._error("expected a number")
            factor = float(self._token)
            self._advance()
            expression = expression / factor if divide else expression * factor
        return expression

    def _operand(self) -> Expression:
        kind, token = self._kind, self._token
        if kind in ("operand", "boxed", "vector"):
            operand = self._vector(token) if kind == "vector" else self._leaf(token)
            self._advance()
            return operand
        if kind == "call" or (kind == "sign" and token == "("):
            self._nesting += 1
            if self._nesting > MAX_NESTING:
                raise self._error(f"more than {MAX_NESTING} parentheses inside one another")
            self._advance()
            inside = self._sum()
            if token.startswith("unit"):
                inside = unit(inside)
            elif token.startswith("between"):
                inside = self._between(inside)
            self._expect(")")
            self._nesting -= 1
            return inside
        raise self._error('expected an operand: @file, #id, "text" or (')

    def _between(self, start: Expression) -> Expression:
        self._expect(",")
        end, share = self._sum(), 0.5
        if self._token == "," and self._kind == "sign":
            self._advance()
            if self._kind != "number":
                raise self._error("expected a number")
            share = float(self._token)
            self._advance()
        return between(start, end, share)

    def _expect(self, sign: str) -> None:
        if self._token != sign or self._kind != "sign":
            raise self._error(f"expected {sign}")
        self._advance()

    def _leaf(self, token: str) -> Operand:
        """An operand in either notation: @"a path" and #id, or Image('a path') and Item('id')."""
        box = _BOX_AT_END.search(token) if self._kind == "boxed" else None
        named = token if box is None else token[: box.start()]
        quote = re.search("[\"']", named)
        text = named[1:] if quote is None else self._unescape(named[quote.end() : named.rindex(quote[0])])
        if named.startswith(("@", "Image")):
            if not text:
                raise self._error("expected a path")
            return Image(text, None if box is None else [int(n) for n in re.findall("[0-9]+", box[0])])
        return Item(text) if named.startswith(("#", "Item")) else Text(text)

    def _unescape(self, quoted: str) -> str:
        def character(match: re.Match[str]) -> str:
            number = int(match[1] or match[2] or match[3] or "0", 16)
            if number > sys.maxunicode:
                raise self._error(f"{match[0]} is no character")
            return chr(number) if match[4] is None else _CONTROLS.get(match[4], match[4])

        return _ESCAPE.sub(character, quoted)

    def _vector(self, token: str) -> Vector:
        try:
            return Vector(json.loads(token[token.index("[") : token.index("]") + 1]))
        except (ValueError, RecursionError):
            raise self._error("expected numbers between [ and ]") from None

    def _advance(self) -> None:
        match = _TOKEN.match(self._typed, self._place)
        if match is None:
            rest = self._typed[self._place :]
            self._start = self._place + len(rest) - len(rest.lstrip())
            if rest.strip():
                raise self._error('expected an operand (@file, #id, "text") or one of + - * / ( ) ,')
            self._kind = self._token = ""
            return
        self._place = match.end()
        self._kind = match.lastgroup or ""
        self._token = match[self._kind]
        self._start = match.start(self._kind)

    def _error(self, expected: str) -> InvalidArgumentError:
        return InvalidArgumentError("expression", self._typed, f"column {self._start + 1}: {expected}")
