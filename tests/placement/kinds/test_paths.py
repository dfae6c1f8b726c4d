import pytest

from placement.kinds import paths
from placement.kinds.conditions import AllOf, AnyOf, AtLeast, Exists, HasCondition, Negate, OneOf, holds, spec_holds
from placement.kinds.problems import Findings


def test_paths() -> None:
    assert paths.compiled('metadata.labels["a.b/c"].x-y') == ("metadata", "labels", "a.b/c", "x-y")
    assert paths.compiled("") == ()
    assert paths.shown(("metadata", "labels", "a.b/c"), "root") == 'root.metadata.labels["a.b/c"]'


@pytest.mark.parametrize("path", ["a..b", "a.", "a[b]", "a b", "$x"])
def test_malformed_paths(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        paths.compiled(path)


def test_finding() -> None:
    obj = {"a": {"b": {"x": 1, "y": 2, "z": True}, "l": [{"n": 3}, {"n": 4}, 5]}}
    assert paths.find(obj, ("a", "b", "x")) == 1
    assert paths.find(obj, ("a", "gone", "x")) is None
    assert paths.find(obj, ("a", "l", "x")) is None
    assert list(paths.numbers(obj, ("a", "b", "*"))) == [1, 2]
    assert list(paths.numbers(obj, ("a", "l", "*", "n"))) == [3, 4]


def test_reaching_says_what_bars_the_way() -> None:
    found = Findings()
    assert paths.reach(found, {"a": [1]}, ("a", "b"), "spec") is None
    assert found.problems[0].path == "spec.a"
    assert paths.reach(found, {"a": None}, ("a", "b")) is None
    assert len(found.problems) == 1


def test_conditions() -> None:
    obj = {"a": 1, "n": None, "status": {"ready": 2, "conditions": [{"type": "T", "status": "False"}]}}
    yes, no = Exists(("a",)), Exists(("n",))
    assert spec_holds(yes, obj)
    assert not spec_holds(no, obj)
    assert not spec_holds(None, obj)
    assert spec_holds(OneOf(("mode",), ("x",), "x"), obj)
    assert not spec_holds(OneOf(("mode",), ("x",)), obj)
    assert spec_holds(HasCondition("T", "False"), obj)
    assert not spec_holds(HasCondition("T"), obj)
    assert spec_holds(AllOf((yes, Negate(no))), obj)
    assert not spec_holds(AnyOf((no, Negate(yes))), obj)
    assert holds(AtLeast((("status", "ready"),), "gang"), obj, lambda fact: {"gang": 2, "pods": 3}[fact])
    assert not holds(AtLeast((("status", "ready"),), "pods"), obj, lambda fact: {"gang": 2, "pods": 3}[fact])
    with pytest.raises(LookupError):
        spec_holds(AtLeast((), "gang"), obj)
