"""Exit codes that scripts can build on, and how an error is told: what, which field, how to mend it; on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from hub.api.schemas import ErrorOut, ProblemOut
    from hub.client import ApiError

OK = 0
FAILED = 1  # a job failed or was cancelled, or the hub refused what was asked
USAGE = 2
NOT_FOUND = 3
NOT_ALLOWED = 4
UNREACHABLE = 5
WAITING = 6  # not placed (yet): plan's verdict is waiting, or submit --wait ran out of time
BUG = 70
INTERRUPTED = 130

HELP = """
Exit codes: 0 ok · 1 a job failed, or the hub refused · 2 wrong usage · 3 not found · 4 not allowed (token, role) ·
5 hub unreachable · 6 waiting (plan: nothing fits now; submit --wait: time is up) · 130 interrupted
"""


@contextmanager
def told(where: str = "") -> Iterator[None]:
    """Turns what the client raises into a message and an exit code. `where`: the file that it is about."""
    from hub.client import ApiError, HubUnreachable

    try:
        yield
    except ApiError as error:
        tell(error.error, where)
        raise typer.Exit(code_of(error)) from None
    except HubUnreachable as error:
        stop(str(error), error.mend, UNREACHABLE)


def code_of(error: ApiError) -> int:
    return {404: NOT_FOUND, 401: NOT_ALLOWED, 403: NOT_ALLOWED}.get(error.status, FAILED)


def tell(error: ErrorOut, where: str = "") -> None:
    """`where`: the file or the job that it is about. Several problems stand below, each with its own mend: the hub's
    message, which strings them together for those who read nothing else, is not said again."""
    if len(error.problems) == 1:
        (problem,) = error.problems
        _line(": ".join(part for part in (where, _place(problem), problem.message) if part), problem.mend)
        return
    several = any(problem.document > 1 for problem in error.problems)
    message = f"{len(error.problems)} things are wrong" if error.problems else error.message
    _line(f"{where + ': ' if where else ''}{message}", "")
    for problem in error.problems:
        place = _place(problem, counted=several)
        sys.stderr.write(f"  {place + ': ' if place else ''}{problem.message}\n")
        if problem.mend:
            sys.stderr.write(f"    → {problem.mend}\n")
    if error.mend and error.mend not in {problem.mend for problem in error.problems}:
        sys.stderr.write(f"  → {error.mend}\n")


def _place(problem: ProblemOut, *, counted: bool = False) -> str:
    """`document 2, spec.replicas`; the only document of a file is not counted."""
    parts = [f"document {problem.document}"] if problem.document > 1 or (counted and problem.document) else []
    return ", ".join(parts + ([problem.path] if problem.path else []))


def stop(message: str, mend: str, code: int) -> NoReturn:
    _line(message, mend)
    raise typer.Exit(code)


def _line(message: str, mend: str) -> None:
    sys.stderr.write(f"muster: {message}\n")
    if mend:
        sys.stderr.write(f"  → {mend}\n")
