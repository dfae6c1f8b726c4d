from typing import Any

import pytest

from placement.kinds import constraints, products
from placement.kinds.problems import Findings
from placement.workload import LabelRequirement, NodeConstraint, Operator, Toleration

PRODUCT = "nvidia.com/gpu.product"


def affinity(*terms: list[dict[str, Any]]) -> dict[str, Any]:
    required = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def expression(key: str, operator: str, *values: Any) -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def read(spec: dict[str, Any]) -> tuple[NodeConstraint, tuple[str, ...], Findings]:
    found = Findings()
    return (*constraints.of_pod(found, spec, "spec"), found)


def test_nothing_asked_is_any_node() -> None:
    assert read({})[:2] == (NodeConstraint(), ())


def test_selector_is_part_of_every_term() -> None:
    spec = {"nodeSelector": {"pool": "a"}, **affinity([expression("x", "Exists")], [expression("n", "Gt", "7")])}
    constraint, _, found = read(spec)
    selected = LabelRequirement("pool", Operator.IN, ("a",))
    assert constraint.terms == (
        (selected, LabelRequirement("x", Operator.EXISTS)),
        (selected, LabelRequirement("n", Operator.GT, ("7",))),
    )
    assert not found.problems


def test_tolerations() -> None:
    constraint, _, found = read(
        {"tolerations": [{"operator": "Exists"}, {"key": "k", "value": "v", "effect": "NoSchedule"}]}
    )
    assert constraint.tolerations == (Toleration("", "Exists"), Toleration("k", "Equal", "v", "NoSchedule"))
    assert not found.problems


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"nodeSelector": {PRODUCT: "Tesla-T4"}}, ("Tesla-T4",)),
        (affinity([expression(PRODUCT, "In", "NVIDIA-L4", "Tesla-T4")]), ("NVIDIA-L4", "Tesla-T4")),
        (
            affinity([expression(PRODUCT, "In", "NVIDIA-L4")], [expression(PRODUCT, "In", "Tesla-T4")]),
            ("NVIDIA-L4", "Tesla-T4"),
        ),
        (affinity([expression(PRODUCT, "In", "NVIDIA-L4")], [expression("zone", "Exists")]), ()),
        (
            affinity([expression(PRODUCT, "In", "NVIDIA-L4", "Tesla-T4"), expression(PRODUCT, "NotIn", "NVIDIA-L4")]),
            ("Tesla-T4",),
        ),
        (affinity([expression(PRODUCT, "NotIn", "NVIDIA-L4")]), ()),
    ],
)
def test_products(spec: dict[str, Any], expected: tuple[str, ...]) -> None:
    _, narrowed, found = read(spec)
    assert narrowed == expected
    assert not found.warnings


@pytest.mark.parametrize(
    ("spec", "path", "said"),
    [
        ({"nodeSelector": {"n": 8}}, "spec.nodeSelector.n", "must be a string"),
        ({"nodeSelector": []}, "spec.nodeSelector", "must be a mapping"),
        (affinity([expression("a", "Inn", "x")]), ".operator", 'no operator is called "Inn"'),
        (affinity([expression("a", "In")]), ".values", "at least one value"),
        (affinity([expression("a", "Exists", "x")]), ".values", "takes no values"),
        (affinity([expression("a", "Gt", "1", "2")]), ".values", "one whole number"),
        (affinity([expression("a", "Lt", "many")]), ".values", "one whole number"),
        (affinity([expression("a", "Gt", 7)]), ".values[0]", "must be a string"),
        (affinity([{"operator": "Exists"}]), ".key", "names no label"),
        (affinity([]), "nodeSelectorTerms", "no node matches"),
        ({"tolerations": [{"key": "k", "effect": "NoShedule"}]}, "spec.tolerations[0].effect", "NoShedule"),
        ({"tolerations": [{"key": "k", "operator": "Exists", "value": "v"}]}, "spec.tolerations[0].value", "no value"),
        ({"tolerations": [{"value": "v"}]}, "spec.tolerations[0].key", "needs a key"),
        (
            {"nodeSelector": {PRODUCT: "Tesla-T4"}, **affinity([expression(PRODUCT, "In", "NVIDIA-L4")])},
            "spec",
            "different",
        ),
    ],
)
def test_wrong_constraints(spec: dict[str, Any], path: str, said: str) -> None:
    _, _, found = read(spec)
    assert any(each.path.endswith(path) and said in each.message and each.mend for each in found.problems)


def test_nodes_by_name_are_refused() -> None:
    spec = affinity([expression("a", "Exists")])
    term = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]
    term["matchFields"] = [expression("metadata.name", "In", "n1")]
    assert "by name" in read(spec)[2].problems[0].message


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("A100-SXM4-80GB", "NVIDIA-A100-SXM4-80GB"),
        ("nvidia-a100-sxm4-80gb", "NVIDIA-A100-SXM4-80GB"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA-A100-SXM4-80GB"),
        ("T4", "Tesla-T4"),
        ("A100-SXM-80GB", "NVIDIA-A100-SXM4-80GB"),
        ("L40S-SHARED", "NVIDIA-L40S-SHARED"),
    ],
)
def test_products_that_discovery_does_not_write(written: str, meant: str) -> None:
    constraint, narrowed, found = read({"nodeSelector": {PRODUCT: written}})
    assert narrowed == (written,)  # kept as it is: a cluster may label its nodes by hand
    assert constraint.terms[0][0].values == (written,)
    assert f'did you mean "{meant}"' in found.warnings[0]


@pytest.mark.parametrize("product", [*products.KNOWN_PRODUCTS, "NVIDIA-X900-FUTURE", "Tesla-T4-SHARED"])
def test_products_in_the_right_form_are_not_doubted(product: str) -> None:
    assert not read({"nodeSelector": {PRODUCT: product}})[2].warnings


def test_label_selectors() -> None:
    matches = constraints.label_selector_matches
    labels = {"app": "a", "tier": "x"}
    assert matches({}, labels)
    assert matches({"matchLabels": {"app": "a"}}, labels)
    assert not matches({"matchLabels": {"app": "b"}}, labels)
    assert matches({"matchExpressions": [expression("tier", "In", "x", "y")]}, labels)
    assert not matches({"matchExpressions": [expression("tier", "NotIn", "x")]}, labels)
    assert matches({"matchExpressions": [expression("gone", "DoesNotExist")]}, labels)
    assert not matches({"matchExpressions": [expression("gone", "Exists")]}, labels)
    assert not matches({"matchExpressions": ["odd"]}, labels)
