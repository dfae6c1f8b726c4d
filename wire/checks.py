"""What reading an untrusted message comes down to: each check names the field at fault and what is wrong with it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import ParamSpec, TypeVar

from placement.resources import Resources

P = ParamSpec("P")
R = TypeVar("R")
Message = TypeVar("Message")
E = TypeVar("E", bound=StrEnum)


class ProtocolError(Exception):
    """A message that cannot be understood, or a value that no message can carry. `field` says where."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def fits(message: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """protobuf's own complaints about a value (out of range, wrong type, no UTF-8) as ProtocolError."""

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except (ValueError, TypeError, OverflowError) as error:
                raise ProtocolError(message, str(error)) from error

        return wrapped

    return wrap


def each(
    messages: Iterable[Message], read: Callable[[Message], R]
) -> tuple[list[R], list[tuple[Message, ProtocolError]]]:
    """What could be read, and beside it what could not."""
    good: list[R] = []
    bad: list[tuple[Message, ProtocolError]] = []
    for message in messages:
        try:
            good.append(read(message))
        except ProtocolError as error:
            bad.append((message, error))
    return good, bad


def enum_value(kind: type[E], value: str, where: str) -> E:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise ProtocolError(
            where, f"{value!r} is none of {known}" if value else f"is missing; one of {known}"
        ) from None


def amounts_of(amounts: Mapping[str, int], where: str) -> Resources:
    if "" in amounts:
        raise ProtocolError(where, "has an amount of a resource without a name")
    return Resources(amounts)


def time_of(seconds: float, where: str) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise ProtocolError(where, f"{seconds} is no time") from None
