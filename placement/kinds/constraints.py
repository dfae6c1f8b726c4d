"""nodeSelector, required node affinity and tolerations to a NodeConstraint, and the products it narrows to.

Preferences (preferred node affinity) are not weighed, and said so in a warning. A product name that GPU feature
discovery cannot have written would match no node for ever: warned about, with the name probably meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from placement.kinds import fields, shared
from placement.kinds.fields import Object, join
from placement.kinds.problems import Findings, did_you_mean
from placement.kinds.products import KNOWN_PRODUCTS, is_discovery_form, probably_meant
from placement.workload import LabelRequirement, NodeConstraint, Operator, Toleration

PRODUCT_LABELS = frozenset({"nvidia.com/gpu.product", "amd.com/gpu.product-name", "gpu.intel.com/product"})

_Term = tuple[LabelRequirement, ...]
_OPERATORS = {operator.value: operator for operator in Operator}
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_ANYWHERE = NodeConstraint()


def of_pod(found: Findings, spec: Object, path: str) -> tuple[NodeConstraint, tuple[str, ...]]:
    """Which nodes the pod may run on, and the GPU products that leaves (() means any)."""
    selected = _node_selector(found, spec, path)
    terms = _affinity_terms(found, spec, path)
    given = fields.items(found, spec, path, "tolerations") if "tolerations" in spec else ()
    tolerations = tuple([_toleration(found, each, at) for at, each in given])
    if not selected and not terms and not tolerations:
        return _ANYWHERE, ()
    joined = tuple(selected + term for term in terms) if terms else (selected,) if selected else ()
    products = _products(found, joined, path)
    return NodeConstraint(joined, tolerations), products


def _node_selector(found: Findings, spec: Object, path: str) -> _Term:
    if "nodeSelector" not in spec:
        return ()
    labels = fields.string_map(found, spec, path, "nodeSelector")
    for key, value in labels.items():
        _check_product(found, key, value)
    return tuple([shared.label_in(key, value) for key, value in labels.items()])


def _affinity_terms(found: Findings, spec: Object, path: str) -> tuple[_Term, ...]:
    if "affinity" not in spec:
        return ()
    affinity = fields.mapping(found, spec, path, "affinity")
    node = fields.mapping(found, affinity, join(path, "affinity"), "nodeAffinity")
    if node.get(_PREFERRED):
        found.warn("preferred node affinity is not weighed; only required node affinity is")
    at = f"{join(path, 'affinity')}.nodeAffinity"
    required = fields.mapping(found, node, at, _REQUIRED)
    if not required:
        return ()
    at = join(at, _REQUIRED)
    given = fields.items(found, required, at, "nodeSelectorTerms")
    terms = tuple(term for each_at, each in given if (term := _term(found, each, each_at)))
    if not terms:
        found.error(join(at, "nodeSelectorTerms"), "no term has an expression: no node matches", "add matchExpressions")
    return terms


def _term(found: Findings, term: Object, path: str) -> _Term:
    if term.get("matchFields"):
        at = join(path, "matchFields")
        found.error(at, "nodes cannot be chosen by name here", "match the label kubernetes.io/hostname instead")
    given = fields.items(found, term, path, "matchExpressions")
    return tuple(need for at, each in given if (need := _requirement(found, each, at)) is not None)


def _requirement(found: Findings, expression: Object, path: str) -> LabelRequirement | None:
    key = fields.text(found, expression, path, "key")
    name = fields.text(found, expression, path, "operator")
    values = fields.strings(found, expression, path, "values")
    operator = _OPERATORS.get(name)
    if not key:
        found.error(join(path, "key"), "names no label", "give the label's key")
        return None
    if operator is None:
        near = did_you_mean(name, _OPERATORS)
        mend = f"did you mean {near}?" if near else f"one of {', '.join(_OPERATORS)}"
        found.error(join(path, "operator"), f'no operator is called "{name}"', mend)
        return None
    if problem := _wrong_values(operator, values):
        found.error(join(path, "values"), f"{operator.value} {problem[0]}", problem[1])
        return None
    if operator is Operator.IN:
        for value in values:
            _check_product(found, key, value)
    return LabelRequirement(key, operator, values)


def _wrong_values(operator: Operator, values: Sequence[str]) -> tuple[str, str] | None:
    if operator in (Operator.EXISTS, Operator.DOES_NOT_EXIST):
        return ("takes no values", "leave values out") if values else None
    if operator in (Operator.GT, Operator.LT):
        whole = len(values) == 1 and values[0].removeprefix("-").isascii() and values[0].removeprefix("-").isdigit()
        return None if whole else ("takes one whole number", 'give one, quoted: ["8"]')
    return None if values else ("takes at least one value", "give the values")


def _toleration(found: Findings, toleration: Object, path: str) -> Toleration:
    key = fields.text(found, toleration, path, "key")
    operator = fields.text(found, toleration, path, "operator", "Equal") or "Equal"
    value = fields.text(found, toleration, path, "value")
    effect = fields.text(found, toleration, path, "effect")
    if operator not in ("Equal", "Exists"):
        found.error(join(path, "operator"), f'no operator is called "{operator}"', "one of Equal, Exists")
    elif operator == "Exists" and value:
        found.error(join(path, "value"), "Exists takes no value", "leave value out, or use Equal")
    elif operator == "Equal" and not key:
        found.error(join(path, "key"), "Equal needs a key", "give the taint's key, or use operator: Exists")
    if effect and effect not in _EFFECTS:
        near = did_you_mean(effect, _EFFECTS)
        mend = f"did you mean {near}?" if near else f"one of {', '.join(_EFFECTS)}"
        found.error(join(path, "effect"), f'no effect is called "{effect}"', mend)
    return shared.toleration(key, operator, value, effect)


def _products(found: Findings, terms: Sequence[_Term], path: str) -> tuple[str, ...]:
    """Every product that some term allows; () where one of them allows any."""
    allowed: dict[str, None] = {}
    for term in terms:
        narrowed = _products_of(term)
        if narrowed is None:
            return ()
        if not narrowed:
            found.error(path, "nodeSelector and affinity ask for different GPU products at once", "keep one of them")
        allowed.update(dict.fromkeys(narrowed))
    return tuple(allowed)


def _products_of(term: _Term) -> list[str] | None:
    narrowed: list[str] | None = None
    for need in term:
        if need.key not in PRODUCT_LABELS:
            continue
        if need.operator is Operator.IN:
            narrowed = [value for value in need.values if narrowed is None or value in narrowed]
        elif need.operator is Operator.NOT_IN and narrowed is not None:
            narrowed = [value for value in narrowed if value not in need.values]
    return narrowed


def _check_product(found: Findings, key: str, value: str) -> None:
    if key != "nvidia.com/gpu.product" or is_discovery_form(value) or found.warned_enough:
        return
    meant = probably_meant(value)
    hint = f'; did you mean "{meant}"?' if meant else f" (such as {KNOWN_PRODUCTS[0]})"
    found.warn(f'{key} "{value}" is not a name that GPU feature discovery gives{hint}')


def label_selector_matches(selector: Mapping[str, object], labels: Mapping[str, str]) -> bool:
    """Kubernetes' label selector (matchLabels and matchExpressions); an empty one matches everything."""
    wanted = selector.get("matchLabels")
    if isinstance(wanted, dict) and any(labels.get(key) != value for key, value in wanted.items()):
        return False
    expressions = selector.get("matchExpressions")
    return not isinstance(expressions, list) or all(_expression_matches(each, labels) for each in expressions)


def _expression_matches(expression: object, labels: Mapping[str, str]) -> bool:
    if not isinstance(expression, dict):
        return False
    key, operator, values = expression.get("key"), expression.get("operator"), expression.get("values") or []
    if not isinstance(key, str) or not isinstance(values, list):
        return False
    matches = {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    return isinstance(operator, str) and matches.get(operator, False)
