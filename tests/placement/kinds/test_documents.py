import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.kinds import documents
from placement.kinds.documents import ManifestError, parse


def problem_of(text: bytes) -> documents.Problem:
    with pytest.raises(ManifestError) as caught:
        parse(text)
    return caught.value.problems[0]


def read_or_refused(text: bytes) -> None:
    try:
        parse(text)
    except ManifestError as error:
        refused = error
    else:
        return
    assert refused.problems


def test_values_are_those_of_yaml() -> None:
    assert parse(b'a: {i: 3, o: 010, x: 0x1F, f: 1.5, "yes": on, n: ~, e: , s: "3"}\nb: |\n  two\n  lines\n') == (
        {"a": {"i": 3, "o": 8, "x": 31, "f": 1.5, "yes": True, "n": None, "e": None, "s": "3"}, "b": "two\nlines\n"},
    )


def test_dates_and_times_stay_strings() -> None:
    assert parse(b"a: 2024-01-31\nb: 12:30:45\nc: 1e3\nd: =") == (
        {"a": "2024-01-31", "b": "12:30:45", "c": "1e3", "d": "="},
    )


def test_documents_are_numbered_as_the_file_separates_them() -> None:
    loaded = documents.load(b"---\n---\na: 1\n---\n# nothing\n---\nb: 2\n")
    assert [(each.number, each.body) for each in loaded] == [(2, {"a": 1}), (4, {"b": 2})]


def test_aliases_are_copied_out_and_merges_are_done() -> None:
    (body,) = parse(b"base: &b {x: 1, y: [1]}\none: *b\ntwo:\n  <<: *b\n  x: 2\n")
    assert body == {"base": {"x": 1, "y": [1]}, "one": {"x": 1, "y": [1]}, "two": {"x": 2, "y": [1]}}
    assert body["one"] is not body["base"]
    assert body["one"]["y"] is not body["base"]["y"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "empty"),
        (b"# a comment\n---\n", "empty"),
        (b"a: [1, 2", "line 2, column 1"),
        (b"a:\n\t- b\n", "a tab indents here"),
        (b"- 1\n- 2\n", "mapping, this is a list"),
        (b"just words\n", "mapping, this is a string"),
        (b"a: 1\nb: 2\na: 3\n", "the key 'a' is there twice"),
        (b"1: x\n", "the key 1 is a number"),
        (b"on: x\n", "the key on is a boolean"),
        (b"? [a, b]\n: x\n", "a key must be a string"),
        (b"a: !!python/object/apply:os.system [ls]\n", "tag"),
        (b"a: !!str 1\n", "tag"),
        (b"a: &x [1, *x]\n", "*x names nothing before it"),
        (b"a: *gone\n", "*gone names nothing before it"),
        (b"a: .inf\n", "not a number JSON can hold"),
        (b"a: 99999999999999999999999\n", "does not fit 64 bits"),
        (b"a: " + b"9" * 10_000, "does not fit 64 bits"),
        (b"a: 0b_\n", "does not fit 64 bits"),
        (b"a: {<<: 3}\n", "merges mappings only"),
        (b"a: \xff\xfe\n", "not UTF-8"),
        (b"a: \x01\n", "control characters"),
        (b"[" * 100_000, "deeper than 64"),
        (b"a: " + b"{a: " * 70 + b"1" + b"}" * 70, "deeper than 64"),
        (b"x: y\n" * 250_000, "1,250,000 bytes"),
        (b"---\na: 1\n" * 101, "more than 100 documents"),
    ],
)
def test_bad_text_is_refused_with_words(text: bytes, said: str) -> None:
    problem = problem_of(text)
    assert said in problem.message
    assert problem.mend


def test_every_semantic_problem_is_reported_at_once() -> None:
    with pytest.raises(ManifestError) as caught:
        parse(b"spec:\n  a: 1\n  a: 2\n  1: x\n---\n- no\n")
    assert [(each.document, each.path) for each in caught.value.problems] == [(1, "spec.a"), (1, "spec"), (2, "")]


def test_alias_bombs_are_refused_before_they_expand() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    began = time.process_time()
    assert "aliases make the file larger" in problem_of("\n".join(lines).encode()).message
    assert time.process_time() - began < 5
    long = b"a: &a " + b"x" * 500_000 + b"\nb: [" + b"*a, " * 1000 + b"*a]\n"
    assert "aliases make the file larger" in problem_of(long).message


def test_a_million_problems_are_cut_short() -> None:
    with pytest.raises(ManifestError) as caught:
        parse(b"a: 1\n" * 100_000)
    assert len(caught.value.problems) == documents.MAX_PROBLEMS


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    read_or_refused(text)


_YAMLISH = st.text(alphabet=st.sampled_from("ab:- \n\t[]{}&*!|>'\"#?,1.0xe~%@`<=_"), max_size=80)


@settings(deadline=None)
@given(_YAMLISH)
def test_any_yamlish_text_is_read_or_refused(text: str) -> None:
    read_or_refused(text.encode())


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text(alphabet=st.characters(exclude_categories=["C"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet="abc/.-1", max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(alphabet="abcdef", min_size=1), _JSON, min_size=1))
def test_what_yaml_writes_is_read_back(body: dict[str, object]) -> None:
    assert parse(yaml.safe_dump(body, allow_unicode=True).encode()) == (body,)
