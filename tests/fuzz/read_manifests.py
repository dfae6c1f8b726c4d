"""Fuzzes the reader of manifests, led by what of it has been run: `python -m tests.fuzz.read_manifests --seconds 60`.

Begins with a right manifest of every kind and changes bytes of the text and parts of the objects. Whatever comes: the
reader answers with problems, or with a gang that can be (`tests/placement/kinds/test_fuzz.py` says what must be so of
one). A text that breaks this is left in --failures and ends the run with another status than 0; named on the command
line it is tried again alone.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["placement"]):
    from placement.kinds import documents, reader, samples
    from placement.kinds.problems import ManifestError
    from tests.placement.kinds.test_fuzz import CATALOGUE, EVERY, check

MAX_BYTES = 16 << 10
WORDS = (None, True, False, 0, 1, -1, 2**31, 2**63, 0.5, "", "4", "many", "a/b", "Always", [], {}, [[]], [None])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=-1, help="so many texts, whatever the time; -1: any number")
    parser.add_argument("--seed", type=int, default=0, help="of the changes; 0: another each time")
    parser.add_argument("--failures", type=Path, default=Path("build/fuzz"), help="where texts that break it are left")
    parser.add_argument("again", nargs="*", type=Path, help="texts to try again, and nothing else")
    asked = parser.parse_args()
    asked.failures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, text in enumerate(seeds()):
            (Path(corpus) / str(number)).write_bytes(text)
        words = Path(corpus).with_suffix(".words")
        words.write_text("".join(f'"{word}"\n' for word in sorted(field_names())))
        options = [f"-max_total_time={asked.seconds}", f"-runs={asked.runs}", f"-seed={asked.seed}"]
        options += [f"-max_len={MAX_BYTES}", f"-dict={words}", f"-artifact_prefix={asked.failures}/"]
        options += ["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]
        inputs = [str(path) for path in asked.again] or [corpus]
        atheris.Setup([sys.argv[0], *options, *inputs], try_text, custom_mutator=mutate)
        atheris.Fuzz()  # ends the process
    return 0


def seeds() -> list[bytes]:
    """The manifests of the scenarios and those that people write, and the samples in the kinds' own files."""
    objects: list[Any] = [*EVERY]
    objects += [samples.manifest_of(kind, kind.rules.sample) for kind in CATALOGUE.kinds if kind.rules.sample]
    return [json.dumps(obj).encode() for obj in objects]


def field_names() -> set[str]:
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            found.update(key for key in value if isinstance(key, str) and key.isascii() and key.isalnum())
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)

    for obj in EVERY:
        walk(obj)
    return found


def try_text(text: bytes) -> None:
    try:
        submissions = reader.read(text, CATALOGUE)
    except ManifestError as error:
        if not error.problems or not all(problem.message for problem in error.problems):
            raise AssertionError("refused without a word") from error
        return
    for submission in submissions:
        check(submission)


def mutate(text: bytes, max_size: int, seed: int) -> bytes:
    """Half of the time one part of the object, else bytes of the text."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        try:
            obj = documents.load(text)[0].body
        except (ManifestError, IndexError):
            obj = None
        if obj is not None and (changed := json.dumps(_changed(obj, rng)).encode()) and len(changed) <= max_size:
            return changed
    mutated: bytes = atheris.Mutate(text, max_size)
    return mutated


def _changed(obj: Any, rng: random.Random) -> Any:
    """A copy with one field changed, removed, doubled, or taken from another manifest."""
    copy = json.loads(json.dumps(obj))
    holders = list(_holders(copy))
    if not holders:
        return copy
    holder = rng.choice(holders)
    key: Any = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    match rng.choice(["change", "remove", "double", "take"]):
        case "change":
            holder[key] = rng.choice([*WORDS, rng.randint(-5, 300)])
        case "remove":
            del holder[key]
        case "double" if isinstance(holder, list):
            holder.append(holder[key])
        case _:
            other = rng.choice(list(_holders(rng.choice(EVERY))))
            holder[key] = rng.choice(list(other.values()) if isinstance(other, dict) else other)
    return copy


def _holders(value: Any) -> list[Any]:
    """Every mapping and list that has something in it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    here = [value] if isinstance(value, dict | list) and value else []
    return here + [found for each in inner for found in _holders(each)]


if __name__ == "__main__":
    sys.exit(main())
