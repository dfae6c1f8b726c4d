"""The syntax of CEL (Common Expression Language) as far as it is used to select devices: text to a tree.

Read are literals, operators, fields, indices, lists, calls, and the optional forms `.?` and `[?]`. Not read: bytes,
maps written out, messages, unsigned numbers, triple-quoted strings. Whatever is not read is an error that says what
and where, so that a selector is never taken for another one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LENGTH = 10 * 1024  # of an expression, as the API server allows it
_DEEPEST = 60  # nested parentheses and the like


class CelError(Exception):
    """The expression cannot be read, or has no value for this device. The message is one clause."""


@dataclass(frozen=True, slots=True)
class Literal:
    value: bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Name:
    name: str


@dataclass(frozen=True, slots=True)
class Field:
    """`target.name`; with `optional` written `target.?name`."""

    target: Expression
    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    target: Expression
    key: Expression
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function or (with a target) a method; operators are functions of their sign: `&&`, `!`, `?:`, `-1`."""

    function: str
    arguments: tuple[Expression, ...]
    target: Expression | None = None


Expression = Literal | Name | Field | Index | ListOf | Call


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number | string | name | sign | end
    text: str
    at: int


_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![A-Za-z0-9_])
      | (?P<string>[rR]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>&&|\|\||==|!=|<=|>=|\.\?|\[\?|[-+*/%!<>?:.,()\[\]])
    )""",
    re.VERBOSE,
)
_COMMENT = re.compile(r"\s*//[^\n]*")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2}|.)", re.DOTALL)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"} | {c: c for c in "\\?\"'`"}
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
# Binary operators by how tightly they bind, loosest first.
_LEVELS = (("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))


def parse(text: str) -> Expression:
    """Raises CelError."""
    if len(text) > MAX_LENGTH:
        raise CelError(f"it has {len(text)} characters, at most {MAX_LENGTH} are allowed")
    parser = _Parser(_tokens(text))
    tree = parser.expression()
    parser.expect("end")
    return tree


def _tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    while text[at:].strip():
        if comment := _COMMENT.match(text, at):
            at = comment.end()
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].lstrip()
            raise CelError(f'it cannot be read from "{rest[:20]}" on (character {len(text) - len(rest) + 1})')
        kind = match.lastgroup or ""
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return [*tokens, _Token("end", "", len(text))]


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def expression(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise CelError(f"it is nested more than {_DEEPEST} deep")
        condition = self._binary(0)
        if self._took("?"):
            yes = self._binary(0)
            self.expect(":")
            condition = Call("?:", (condition, yes, self.expression()))
        self._depth -= 1
        return condition

    def expect(self, text: str) -> None:
        token = self._tokens[self._next]
        if (token.kind if text == "end" else token.text) != text or (token.kind == "string" and text != "end"):
            raise self._refusal(f"{'its end' if text == 'end' else text} is expected")
        self._next += 1

    def _binary(self, level: int) -> Expression:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while (sign := self._any_of(_LEVELS[level])) is not None:
            left = Call(sign, (left, self._binary(level + 1)))
        return left

    def _unary(self) -> Expression:
        signs = []
        while (sign := self._any_of(("!", "-"))) is not None:
            signs.append(sign)
        if len(signs) > _DEEPEST:
            raise CelError(f"it is nested more than {_DEEPEST} deep")
        inner = self._member()
        for sign in reversed(signs):
            inner = Call("!" if sign == "!" else "neg", (inner,))
        return inner

    def _member(self) -> Expression:
        found = self._primary()
        while True:
            if self._took("."):
                name = self._name()
                found = Call(name, self._arguments(), found) if self._took("(") else Field(found, name)
            elif self._took(".?"):
                found = Field(found, self._name(), optional=True)
            elif (bracket := self._any_of(("[", "[?"))) is not None:
                found = Index(found, self.expression(), optional=bracket == "[?")
                self.expect("]")
            else:
                return found

    def _primary(self) -> Expression:
        token = self._tokens[self._next]
        if token.kind == "number":
            self._next += 1
            return Literal(_number(token.text))
        if token.kind == "string":
            self._next += 1
            return Literal(_string(token.text))
        if token.kind == "name":
            self._next += 1
            if token.text in _WORDS:
                return Literal(_WORDS[token.text])
            return Call(token.text, self._arguments()) if self._took("(") else Name(token.text)
        if self._took("("):
            inner = self.expression()
            self.expect(")")
            return inner
        if self._took("["):
            return ListOf(self._listed("]"))
        raise self._refusal("a value is expected")

    def _arguments(self) -> tuple[Expression, ...]:
        return self._listed(")")

    def _listed(self, end: str) -> tuple[Expression, ...]:
        found: list[Expression] = []
        while not self._took(end):
            if found:
                self.expect(",")
            found.append(self.expression())
        return tuple(found)

    def _name(self) -> str:
        token = self._tokens[self._next]
        if token.kind != "name":
            raise self._refusal("a name is expected")
        self._next += 1
        return token.text

    def _took(self, text: str) -> bool:
        return self._any_of((text,)) is not None

    def _any_of(self, texts: tuple[str, ...]) -> str | None:
        token = self._tokens[self._next]
        if token.kind not in ("sign", "name") or token.text not in texts:
            return None
        self._next += 1
        return token.text

    def _refusal(self, wanted: str) -> CelError:
        token = self._tokens[self._next]
        found = f'"{token.text[:20]}"' if token.text else "its end"
        return CelError(f"{wanted} where {found} stands (character {token.at + 1})")


def _number(text: str) -> int | float:
    if text.startswith("0x"):
        return int(text, 16)
    if text.isdigit():
        if len(text) > 19:
            raise CelError(f"{text[:20]} is no 64-bit number")
        return int(text)
    return float(text)


def _string(text: str) -> str:
    if text[0] in "rR":
        return text[2:-1]
    return _ESCAPE.sub(_unescaped, text[1:-1])


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "xuU" and len(code) > 1:
        return chr(min(int(code[1:], 16), 0x10FFFF))
    if len(code) == 3:
        return chr(int(code, 8))
    if code not in _ESCAPED:
        raise CelError(f"\\{code} is no escape in a string")
    return _ESCAPED[code]
