from __future__ import annotations

import re

import pytest
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from registry import references
from registry.references import NameRefused, Revision

LABELS = st.from_regex(r"[a-z][a-z0-9-]{0,9}[a-z]", fullmatch=True).filter(lambda text: text != "main")


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("llama", "llama", Revision()),
        ("org/llama@champion", "org/llama", Revision(alias="champion")),
        ("org/llama:12", "org/llama", Revision(version=12)),
    ],
)
def test_references(text: str, name: str, revision: Revision) -> None:
    assert references.parse(text) == (name, revision)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a/b/c",
        "../x",
        "a..b",
        "a--b",
        "-a",
        "a/",
        "/a",
        "a:0",
        "a:x",
        "a@",
        "a@main",
        "a@7",
        "a@A B",
        "a b",
        "a%2f",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(NameRefused):
        references.parse(text)


@given(
    st.one_of(
        st.builds(Revision, alias=LABELS),
        st.builds(Revision, version=st.integers(1, 999_999_999)),
        st.builds(Revision, commit=st.from_regex(r"[0-9a-f]{40}", fullmatch=True).filter(lambda t: not t.isdigit())),
        st.just(Revision()),
    ),
    st.one_of(st.just(""), LABELS),
)
def test_a_revision_is_read_as_it_was_written(revision: Revision, variant: str) -> None:
    from dataclasses import replace

    revision = replace(revision, variant=variant)
    assert references.revision_of(references.text_of(revision)) == revision


@given(st.from_regex(re.compile(r"[A-Za-z0-9._/-]{1,30}", re.ASCII), fullmatch=True))
def test_every_name_is_one_that_hugging_faces_client_takes(name: str) -> None:
    try:
        references.check_model(name)
    except NameRefused:
        return
    if name.endswith(".git"):
        return  # the one thing that theirs refuses besides
    validate_repo_id(name)
