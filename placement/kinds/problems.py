"""What is wrong with a manifest, said so that the user can mend it: where, what, and how.

A file's problems are gathered and raised together, so that a file with five mistakes is mended in one round and not
in five. Warnings do not stop a workload; they travel with it and are shown by plan and submit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

MAX_WARNINGS = 20
_LONGEST_WORD = 100


@dataclass(frozen=True, slots=True)
class Problem:
    document: int  # the first document of the file is 1; 0 means the file as a whole
    path: str  # "spec.template.spec.containers[0].resources.limits["nvidia.com/gpu"]"; "" where none applies
    message: str
    mend: str


class ManifestError(Exception):
    """The file cannot be submitted. Nothing was changed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(_sentence(problem) for problem in problems))
        self.problems = tuple(problems)


class TooManyProblems(Exception):
    """Reading on would only find more; what was found is in the Findings."""


class Findings:
    """Gathers the problems and warnings of one document while it is read.

    With a `limit`, that many problems raise TooManyProblems: a hostile file could have a hundred thousand, each with a
    search for what was meant.
    """

    __slots__ = ("_limit", "document", "problems", "warnings")

    def __init__(self, document: int = 0, limit: int = 0) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self._limit = limit

    def error(self, path: str, message: str, mend: str) -> None:
        self.problems.append(Problem(self.document, path, message, mend))
        if len(self.problems) == self._limit:
            raise TooManyProblems

    def warn(self, message: str) -> None:
        if message not in self.warnings and len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(message)

    @property
    def warned_enough(self) -> bool:
        return len(self.warnings) >= MAX_WARNINGS


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The closest of the known words, compared without case; "" where none is close."""
    if len(word) > _LONGEST_WORD:
        return ""
    by_folded: dict[str, str] = {}
    for candidate in known:
        by_folded.setdefault(candidate.casefold(), candidate)
    close = get_close_matches(word.casefold(), by_folded, n=1, cutoff=cutoff)
    return by_folded[close[0]] if close else ""


def _sentence(problem: Problem) -> str:
    where = f"document {problem.document}: " if problem.document else ""
    path = f"{problem.path}: " if problem.path else ""
    mend = f" ({problem.mend})" if problem.mend else ""
    return f"{where}{path}{problem.message}{mend}"
