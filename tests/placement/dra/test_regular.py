"""Patterns against Python's own engine, and the ones that would take it for ever."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.dra.cel_syntax import CelError
from placement.dra.regular import Pattern

_ATOMS = st.sampled_from(["a", "b", "1", ".", "[ab]", "[^a]", "[a-c1]", r"\d", r"\w", r"\W", r"\.", "(?:ab)", "(a|1)"])
_COUNTS = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,2}", "{0,1}", "{2,}"])
_PARTS = st.tuples(_ATOMS, _COUNTS).map("".join)
_SEQUENCES = st.lists(_PARTS, min_size=0, max_size=4).map("".join)
_GROUPS = st.one_of(_SEQUENCES, st.tuples(_SEQUENCES, _COUNTS).map(lambda each: f"({each[0]}){each[1]}"))
_PATTERNS = st.tuples(
    st.sampled_from(["", "^"]), st.lists(_GROUPS, min_size=1, max_size=3).map("|".join), st.sampled_from(["", "$"])
).map("".join)


@given(_PATTERNS, st.text("ab1c.", max_size=8))
def test_it_finds_what_pythons_engine_finds(pattern: str, text: str) -> None:
    assert Pattern(pattern).found_in(text) == bool(re.search(pattern, text))


@given(_PATTERNS, st.text("abAB1", max_size=6))
def test_without_case(pattern: str, text: str) -> None:
    if "W" not in pattern:
        assert Pattern(f"(?i){pattern}").found_in(text) == bool(re.search(pattern, text, re.IGNORECASE))


# A timeout of the suite, not an assertion, tells where one does take for ever.
@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|a)*$", "(a*)*b", "a*a*a*a*a*a*a*a*b", "(.*)(.*)(.*)(.*)x"])
def test_what_takes_others_for_ever_takes_no_time(pattern: str) -> None:
    assert not Pattern(pattern).found_in("a" * 64 + "!")


@pytest.mark.parametrize(
    "pattern", ["(", "a)", "[a", "*a", r"\b", r"(?=a)", "a{999}", "a{3,2}", "[z-a]", "\\", "((((a{99}){99})))"]
)
def test_what_is_not_read_is_refused(pattern: str) -> None:
    with pytest.raises(CelError):
        Pattern(pattern)


@given(st.text(max_size=30), st.text(max_size=10))
def test_whatever_is_written_is_read_or_refused(pattern: str, text: str) -> None:
    with contextlib.suppress(CelError):
        Pattern(pattern).found_in(text)
