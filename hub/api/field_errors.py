"""What pydantic finds wrong with a declared document, worded for the person who wrote it: field, value, mend."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

from pydantic import ValidationError

from placement.kinds.fields import join
from placement.kinds.problems import Problem, did_you_mean


def problems(error: ValidationError, document: int, root: str, known: Iterable[str]) -> list[Problem]:
    """`root` is the path of what was validated; `known` its fields."""
    return [
        Problem(document, reduce(join, found["loc"], root), *_sentence(found, known))
        for found in error.errors(include_url=False)
    ]


def _sentence(found: Any, known: Iterable[str]) -> tuple[str, str]:
    kind, given, limits = found["type"], found["input"], found.get("ctx", {})
    shown = "" if isinstance(given, dict | list) else f"{_shown(given)} "
    match kind:
        case "extra_forbidden":
            close = did_you_mean(str(found["loc"][-1]), known)
            return "this field is not known", f"did you mean {close}?" if close else f"known: {', '.join(known)}"
        case "missing":
            return "is missing", "give it"
        case "greater_than_equal":
            return f"{shown}is too small", f"give {limits['ge']:g} or more"
        case "greater_than":
            return f"{shown}is too small", f"give more than {limits['gt']:g}"
        case "less_than_equal":
            return f"{shown}is too large", f"give {limits['le']:,g} or less"
        case "finite_number":
            return f"{shown}is no amount", "give a number"
        case "float_type" | "float_parsing":
            return f"{shown}is no number", "give a number, without quotes"
        case "string_type":
            return f"{shown}is no text", "write it in quotes"
        case "value_error":  # ours, and says the value itself
            return found["msg"].removeprefix("Value error, "), "mend the value"
        case _:
            return f"{shown}{found['msg'][0].lower()}{found['msg'][1:]}".strip(), "mend the value"


def _shown(given: object) -> str:
    if given is None:
        return "null"
    text = repr(given) if isinstance(given, str) else f"{given}"
    return text if len(text) <= 60 else text[:59] + "…"
