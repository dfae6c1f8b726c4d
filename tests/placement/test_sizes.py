from __future__ import annotations

import pytest

from placement import sizes


@pytest.mark.parametrize(
    ("given", "size"),
    [(0, 0), (12, 12), ("12", 12), ("1.2TB", 1_200_000_000_000), ("1 kB", 1000), ("2GiB", 2 << 30), ("1.5Mi", 3 << 19)],
)
def test_sizes_are_read_as_people_write_them(given: object, size: int) -> None:
    assert sizes.parse(given) == size


@pytest.mark.parametrize("given", ["", "TB", "1.2XB", "-1", -1, True, None, 1.5, "1e9", "9999PB"])
def test_what_is_no_size_says_so(given: object) -> None:
    with pytest.raises(ValueError, match="is no size"):
        sizes.parse(given)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (40e9, "40 GB"),
        (1.2e12, "1.2 TB"),
        (999.6e9, "1 TB"),
        (123456, "123 kB"),
    ],
)
def test_sizes_are_said_in_three_digits(size: float, said: str) -> None:
    assert sizes.words(size) == said
