"""Regular expressions that take linear time, for text that strangers wrote: RE2's core, matched by sets of states.

Read are literals, `.`, classes, `^`, `$`, groups, `|`, and `* + ? {m,n}` (lazy or not: whether something matches is all
that is asked). Not read: back references, look-around, flags other than a leading `(?i)`, Unicode classes, `\\b`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from placement.dra.cel_syntax import CelError

_MOST_STATES = 2_000
_MOST_REPEATS = 200
_DEEPEST = 30
_CLASSES: dict[str, Callable[[str], bool]] = {
    "d": lambda c: "0" <= c <= "9",
    "w": lambda c: c.isascii() and (c.isalnum() or c == "_"),
    "s": lambda c: c in " \t\n\f\r",
}
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}

Accepts = Callable[[str], bool]


@dataclass(slots=True)
class _State:
    """Goes to `free` without a character, and to `then` with one that it accepts; `anchor` holds at one end only."""

    accepts: Accepts | None = None
    then: int = -1
    free: list[int] = field(default_factory=list)
    anchor: str = ""


class Pattern:
    def __init__(self, text: str) -> None:
        self._states: list[_State] = []
        self._ignore_case = text.startswith("(?i)")
        self._text = text[4:] if self._ignore_case else text
        self._at = 0
        self._depth = 0
        self._first, last = self._alternatives()
        if self._at < len(self._text):
            raise CelError(f'the pattern "{text}" has a ")" too many')
        self._end = last

    def found_in(self, text: str) -> bool:
        """Whether any part of the text matches."""
        if self._ignore_case:
            text = text.lower()
        here = self._reached({self._first}, 0, len(text))
        for position, character in enumerate(text):
            if self._end in here:
                return True
            moved = {self._states[s].then for s in here if (a := self._states[s].accepts) and a(character)}
            here = self._reached(moved | {self._first}, position + 1, len(text))
        return self._end in here

    def _reached(self, states: set[int], position: int, length: int) -> set[int]:
        reached, waiting = set(states), list(states)
        while waiting:
            state = self._states[waiting.pop()]
            if (state.anchor == "^" and position > 0) or (state.anchor == "$" and position < length):
                continue
            for following in state.free:
                if following not in reached:
                    reached.add(following)
                    waiting.append(following)
        return reached

    # ---- text to states; each part answers its first and last state ----

    def _alternatives(self) -> tuple[int, int]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise CelError(f"the pattern is nested more than {_DEEPEST} deep")
        parts = [self._sequence()]
        while self._took("|"):
            parts.append(self._sequence())
        self._depth -= 1
        first, last = self._new(), self._new()
        for begin, end in parts:
            self._states[first].free.append(begin)
            self._states[end].free.append(last)
        return first, last

    def _sequence(self) -> tuple[int, int]:
        first = last = self._new()
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            began = self._at
            begin, end = self._one()
            least, most = self._repeats()
            after = self._at
            self._states[last].free.append(begin)
            last = end
            if (least, most) != (1, 1):
                self._at = began
                last = self._repeated(begin, end, least, most)
                self._at = after
        return first, last

    def _repeated(self, begin: int, end: int, least: int, most: int | None) -> int:
        """The part stands once already; the others are read anew from the text. Answers the last state."""
        last = self._new()
        if least == 0:
            self._states[begin].free.append(last)
        if most == 0:
            self._states[begin] = _State(free=[last])
        began, at_end = self._at, end
        copies = max(least, 1) if most is None else most
        for number in range(2, copies + 1):
            self._at = began
            if number > least:
                self._states[at_end].free.append(last)
            begin, after = self._one()
            self._states[at_end].free.append(begin)
            at_end = after
        if most is None:
            self._states[at_end].free.append(begin)
        self._states[at_end].free.append(last)
        return last

    def _one(self) -> tuple[int, int]:
        character = self._text[self._at]
        self._at += 1
        if character == "(":
            if self._took("?") and not self._took(":"):
                raise CelError("a group that begins with (? is not read, but for (?:")
            inner = self._alternatives()
            if not self._took(")"):
                raise CelError('a ")" is missing in the pattern')
            # States of its own around it, so that what is repeated has no way in but this.
            first, last = self._new(), self._new()
            self._states[first].free.append(inner[0])
            self._states[inner[1]].free.append(last)
            return first, last
        if character in "^$":
            first, last = self._new(), self._new()
            self._states[first].anchor = character
            self._states[first].free.append(last)
            return first, last
        if character in "*+?":
            raise CelError(f'nothing stands before "{character}" in the pattern')
        if character == "[":
            return self._accepting(self._set())
        if character == "\\":
            return self._accepting(self._escape())
        if character == ".":
            return self._accepting(lambda c: c != "\n")
        return self._accepting(self._exactly(character))

    def _accepting(self, accepts: Accepts) -> tuple[int, int]:
        first, last = self._new(), self._new()
        self._states[first].accepts, self._states[first].then = accepts, last
        return first, last

    def _exactly(self, character: str) -> Accepts:
        wanted = character.lower() if self._ignore_case else character
        return lambda c: c == wanted

    def _escape(self) -> Accepts:
        if self._at == len(self._text):
            raise CelError("the pattern ends in a backslash")
        code = self._text[self._at]
        self._at += 1
        if code.lower() in _CLASSES:
            known = _CLASSES[code.lower()]
            return known if code.islower() else lambda c: not known(c)
        if code.isalnum() and code not in _ESCAPED:
            raise CelError(f"\\{code} is not read in a pattern")
        return self._exactly(_ESCAPED.get(code, code))

    def _set(self) -> Accepts:
        negated = self._took("^")
        parts: list[Accepts] = []
        while not self._took("]") or not parts:
            if self._at >= len(self._text):
                raise CelError('a "]" is missing in the pattern')
            if parts or self._text[self._at - 1] != "]":
                first = self._text[self._at]
                self._at += 1
            else:
                first = "]"  # the first in a class stands for itself
            if first == "[" and self._text[self._at : self._at + 1] == ":":
                raise CelError("named classes are not read in a pattern")
            if first == "\\":
                parts.append(self._escape())
            elif self._text[self._at : self._at + 1] == "-" and self._text[self._at + 1 : self._at + 2] not in (
                "",
                "]",
            ):
                last = self._text[self._at + 1]
                self._at += 2
                parts.append(self._range(first, last))
            else:
                parts.append(self._exactly(first))
        if negated:
            return lambda c: not any(part(c) for part in parts)
        return lambda c: any(part(c) for part in parts)

    def _range(self, first: str, last: str) -> Accepts:
        if first > last or last == "\\":
            raise CelError(f'"{first}-{last}" is no range in a pattern')
        if self._ignore_case:
            return lambda c: first <= c <= last or first <= c.upper() <= last
        return lambda c: first <= c <= last

    def _repeats(self) -> tuple[int, int | None]:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._took(sign):
                self._took("?")
                return bounds
        if self._text[self._at : self._at + 1] != "{":
            return 1, 1
        inside, closed, _ = self._text[self._at + 1 :].partition("}")
        least, comma, most = inside.partition(",")
        if not closed or not least.isdigit() or (most and not most.isdigit()):
            return 1, 1  # a brace that stands for itself
        self._at += len(inside) + 2
        self._took("?")
        low, high = int(least), int(most) if most else None if comma else int(least)
        if max(low, high or 0) > _MOST_REPEATS or (high is not None and high < low):
            raise CelError(f"{{{inside}}} repeats more than {_MOST_REPEATS} times, or from more to less")
        return low, high

    def _took(self, character: str) -> bool:
        if self._text[self._at : self._at + 1] != character:
            return False
        self._at += 1
        return True

    def _new(self) -> int:
        if len(self._states) >= _MOST_STATES:
            raise CelError("the pattern is too large")
        self._states.append(_State())
        return len(self._states) - 1


@lru_cache(maxsize=1024)
def pattern(text: str) -> Pattern:
    """Raises CelError."""
    return Pattern(text)
