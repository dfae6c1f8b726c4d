"""The catalogue that comes with Muster, and short ways to read one document."""

from collections.abc import Callable

import pytest

from placement.kinds import reader
from placement.kinds.catalogue import Catalogue
from placement.kinds.documents import ManifestError, Problem
from placement.kinds.reader import Submission


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.builtin()


@pytest.fixture(scope="session")
def read_one(catalogue: Catalogue) -> Callable[[str], Submission]:
    def read(text: str) -> Submission:
        (submission,) = reader.read(text.encode(), catalogue)
        return submission

    return read


@pytest.fixture(scope="session")
def problems_of(catalogue: Catalogue) -> Callable[[str], tuple[Problem, ...]]:
    def problems(text: str) -> tuple[Problem, ...]:
        with pytest.raises(ManifestError) as caught:
            reader.read(text.encode(), catalogue)
        return caught.value.problems

    return problems
