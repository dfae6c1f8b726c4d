from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.kinds import expressions
from placement.kinds.catalogue import Catalogue, CatalogueError
from placement.kinds.observe import observe
from placement.lifecycle import Event

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def two(name: str) -> int:
    return 2


@pytest.mark.parametrize(
    ("text", "obj", "answer"),
    [
        ('status.phase == "Ready"', {"status": {"phase": "Ready"}}, True),
        ('status.phase == "Ready"', {"status": {"phase": "Pending"}}, False),
        ('status.phase == "Ready"', {}, False),  # a field that is not there
        ('status.phase == "Ready"', {"status": "broken"}, False),
        ("status.ready >= gang", {"status": {"ready": 2}}, True),
        ("status.ready >= gang", {"status": {"ready": "2"}}, False),  # a string is no number
        ("int(status.ready) >= gang", {"status": {"ready": "2"}}, True),
        ('status.conditions.exists(c, c.type == "Up" && c.status == "True")', {"status": {"conditions": []}}, False),
        ('object.kind.startsWith("Py") && has(spec.a)', {"kind": "PyTorchJob", "spec": {"a": 1}}, True),
        ("status.count", {"status": {"count": 1}}, False),  # an answer that is not true or false
    ],
)
def test_expressions_say_true_or_do_not_hold(text: str, obj: dict[str, Any], answer: bool) -> None:
    expressions.check(text)
    assert expressions.holds(text, obj, two) is answer


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("status.phase ==", "Failed to parse"),
        ("", "Failed to parse"),
        ('phase == "Ready"', "phase in .* is no name; known: gang, metadata, object"),
        ("shout(status.phase)", r"shout\(\) in .* is no function"),
        ("size(status.x) > 0 && " * 60 + "true", "at most 1000"),
        ("status.a.all(x, x > 0) && " * 4 + "true", "4 macros"),
        ("status.a.all(x, status.b.exists(y, y == x))", "within another"),
        ('size(r"\\") > 0 && status.a.all(x, status.a.all(y, true)) || "x" == "y")', "plain quotes"),
        ('status.a == """x"""', "plain quotes"),
        ("status.a.all(status, status > 0)", "status is a name of its own"),
    ],
)
def test_what_is_no_expression_is_refused_when_the_file_is_read(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        expressions.check(text)


def test_a_macro_in_a_string_is_none() -> None:
    expressions.check("status.note != '.all(x, .all(y, .all(z, .all(w, '")


@given(JSON)
def test_no_status_makes_one_fail(status: Any) -> None:
    for text in ("status.a.b > 1", "status.exists(x, x == 1)", "size(status) > gang", "status[0] == status.a"):
        assert expressions.holds(text, {"status": status}, two) in (True, False)


FILE = """
kind: Widget
group: example.com
versions: [v1]
roles: {form: one, name: worker, at: spec, template: template, replicas: {path: replicas}}
gang: {minimum: all}
status:
  - {event: succeed, when: {cel: 'status.phase == "Done"'}}
  - {event: running, when: {cel: 'status.phase == "Up" && status.ready >= gang'}}
"""


def test_a_kind_file_may_judge_a_status_by_them() -> None:
    kind = Catalogue.loaded({"widget.yaml": FILE}).find("example.com/v1", "Widget")
    assert kind is not None
    widget = {"spec": {"replicas": 3, "template": {}}, "status": {"phase": "Up", "ready": 2}}
    assert observe(kind, widget).event is not Event.RUNNING
    assert observe(kind, widget | {"status": {"phase": "Up", "ready": 3}}).event is Event.RUNNING
    assert observe(kind, widget | {"status": {"phase": "Done"}}).event is Event.SUCCEED


def test_a_wrong_one_names_the_file_and_the_field() -> None:
    with pytest.raises(CatalogueError, match=r"widget\.yaml(.|\n)*status\.0(.|\n)*pase in .* is no name"):
        Catalogue.loaded({"widget.yaml": FILE.replace('status.phase == "Done"', "pase == 1")})


def test_what_is_asked_of_the_spec_cannot_compare_with_the_gang() -> None:
    wrong = FILE + "suspended: {cel: 'gang > 2'}\n"
    with pytest.raises(CatalogueError, match="suspended asks for gang or pods"):
        Catalogue.loaded({"widget.yaml": wrong})
