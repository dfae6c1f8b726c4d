"""Reads the metrics that are wanted out of Prometheus' text format, line by line and bounded.

An own reader of one page: a scrape of a node is some hundred kilobytes of which a dozen names matter, so lines of other
names are passed over before anything of them is parsed, which a library's parser cannot do; and what is no sample of
the format is left out instead of ending the scrape. Not read: histograms, timestamps, exemplars, HELP and TYPE.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

MOST_SAMPLES = 20_000
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?')
_ESCAPED = re.compile(r"\\(.)")

Sample = tuple[str, Mapping[str, str], float]  # name, labels, value


def samples(text: str, wanted: Collection[str]) -> Iterator[Sample]:
    """At most MOST_SAMPLES of them."""
    found = 0
    for line in text.splitlines():
        name = _NAME.match(line)
        if name is None or name[0] not in wanted:
            continue
        sample = _sample(name[0], line[name.end() :])
        if sample is not None:
            yield sample
            found += 1
            if found == MOST_SAMPLES:
                return


def _sample(name: str, rest: str) -> Sample | None:
    labels: dict[str, str] = {}
    rest = rest.lstrip()
    if rest.startswith("{"):
        at = 1
        while match := _LABEL.match(rest, at):
            labels[match[1]] = _ESCAPED.sub(lambda one: "\n" if one[1] == "n" else one[1], match[2])
            at = match.end()
        rest = rest[at:].lstrip()
        if not rest.startswith("}"):
            return None
        rest = rest[1:]
    value = rest.split(maxsplit=1)
    try:
        return name, labels, float(value[0])
    except (IndexError, ValueError):
        return None
