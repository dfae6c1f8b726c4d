"""Names of jobs: short enough to be typed, and long enough that nobody's is guessed."""

from __future__ import annotations

from random import Random

ID_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
ID_LENGTH = 10


def new_id(rng: Random) -> str:
    return "j-" + "".join(rng.choices(ID_ALPHABET, k=ID_LENGTH))
