import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.inventory import Taint
from placement.matching import admits, holds, obstacle, tolerates
from placement.workload import LabelRequirement, NodeConstraint, Operator, Toleration
from tests.placement.worlds import selecting

TAINT = Taint("gpu", "yes", "NoSchedule")


@pytest.mark.parametrize(
    ("operator", "values", "absent", "present"),
    [
        (Operator.IN, ("a", "b"), False, True),
        (Operator.IN, ("b",), False, False),
        (Operator.NOT_IN, ("b",), True, True),
        (Operator.NOT_IN, ("a",), True, False),
        (Operator.EXISTS, (), False, True),
        (Operator.DOES_NOT_EXIST, (), True, False),
    ],
)
def test_each_operator_on_a_key_that_is_absent_and_one_that_is_a(
    operator: Operator, values: tuple[str, ...], absent: bool, present: bool
) -> None:
    requirement = LabelRequirement("k", operator, values)
    assert holds(requirement, {}) is absent
    assert holds(requirement, {"k": "a"}) is present


@pytest.mark.parametrize(
    ("operator", "bound", "value", "expected"),
    [
        (Operator.GT, "7", "8", True),
        (Operator.GT, "8", "8", False),
        (Operator.LT, "8", "-3", True),
        (Operator.GT, "7", "+8", True),
        (Operator.GT, "7", "8Gi", False),
        (Operator.GT, "7", " 8", False),
        (Operator.GT, "7", "1_000", False),
        (Operator.GT, "7", "٨", False),
        (Operator.GT, "seven", "8", False),
        (Operator.GT, "7", str(2**63), False),
        (Operator.GT, "7", str(2**63 - 1), True),
    ],
)
def test_gt_and_lt_compare_64_bit_integers_and_nothing_else(
    operator: Operator, bound: str, value: str, expected: bool
) -> None:
    assert holds(LabelRequirement("k", operator, (bound,)), {"k": value}) is expected


def test_gt_and_lt_need_the_key_and_exactly_one_bound() -> None:
    assert not holds(LabelRequirement("k", Operator.GT, ("1",)), {})
    assert not holds(LabelRequirement("k", Operator.GT, ("1", "2")), {"k": "3"})


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_of_gt_lt_and_equality_exactly_one_holds(value: int, bound: int) -> None:
    labels = {"k": str(value)}
    verdicts = [holds(LabelRequirement("k", op, (str(bound),)), labels) for op in (Operator.GT, Operator.LT)]
    assert [*verdicts, value == bound].count(True) == 1


def test_terms_are_alternatives_and_requirements_of_a_term_must_all_hold() -> None:
    a, b = (LabelRequirement(key, Operator.EXISTS) for key in "ab")
    assert admits(NodeConstraint(((a,), (b,))), {"b": ""}, ())
    assert not admits(NodeConstraint(((a, b),)), {"b": ""}, ())
    assert admits(NodeConstraint(), {}, ())


def test_an_empty_term_matches_nothing_but_another_term_may() -> None:
    assert not admits(NodeConstraint(((),)), {}, ())
    assert admits(NodeConstraint(((), (LabelRequirement("a", Operator.EXISTS),))), {"a": ""}, ())


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        (Toleration("gpu", "Equal", "yes", "NoSchedule"), True),
        (Toleration("gpu", "Equal", "yes"), True),
        (Toleration("gpu", "", "yes"), True),
        (Toleration("gpu", "Equal", "no"), False),
        (Toleration("gpu", "Exists"), True),
        (Toleration("gpu", "Exists", effect="NoExecute"), False),
        (Toleration("", "Exists"), True),
        (Toleration("other", "Exists"), False),
        (Toleration("gpu", "Gt", "0"), False),
    ],
)
def test_what_tolerates_a_taint(toleration: Toleration, expected: bool) -> None:
    assert tolerates(toleration, TAINT) is expected
    assert admits(NodeConstraint(tolerations=(toleration,)), {}, [TAINT]) is expected


def test_a_preference_not_to_schedule_keeps_nobody_away_but_no_execute_does() -> None:
    assert admits(NodeConstraint(), {}, [Taint("a", "", "PreferNoSchedule")])
    assert not admits(NodeConstraint(), {}, [Taint("a", "", "NoExecute")])


def test_every_taint_must_be_tolerated() -> None:
    constraint = NodeConstraint(tolerations=(Toleration("gpu", "Exists"),))
    assert (
        obstacle(constraint, {}, [TAINT, Taint("b", "1", "NoSchedule")]) == "its taint b=1:NoSchedule is not tolerated"
    )


@pytest.mark.parametrize("operator", [Operator.IN, Operator.NOT_IN, Operator.EXISTS, Operator.DOES_NOT_EXIST])
def test_a_hidden_label_proves_nothing_whatever_the_operator(operator: Operator) -> None:
    values = ("r1",) if operator in (Operator.IN, Operator.NOT_IN) else ()
    constraint = selecting("rack", *values, operator=operator)
    hidden = frozenset({"rack"})
    assert not admits(constraint, {}, (), hidden)
    assert "the hub is not told label rack" in str(obstacle(constraint, {}, (), hidden))


def test_a_term_without_hidden_labels_still_admits() -> None:
    terms = ((LabelRequirement("rack", Operator.EXISTS),), (LabelRequirement("pool", Operator.IN, ("a",)),))
    assert admits(NodeConstraint(terms), {"pool": "a"}, (), frozenset({"rack"}))
