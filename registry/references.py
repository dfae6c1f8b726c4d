"""What people call a model: `llama`, `org/llama@champion`, `llama:3`; and how its parts may be named.

The names are what Hugging Face's clients take for a repository, so that the same name works with both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NEWEST = "main"  # what Hugging Face's clients ask for where nothing else is said
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
MODEL_PATTERN = rf"{_PART}(?:/{_PART})?"
_MODEL = re.compile(MODEL_PATTERN)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class NameRefused(Exception):
    """The message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Revision:
    """Which version of a model: one of the three, or the newest; and which variant, "" for the first."""

    alias: str = ""
    version: int = 0
    commit: str = ""  # the first 40 digits of a manifest's digest
    variant: str = ""


def check_model(name: str) -> None:
    """Raises NameRefused."""
    if not _MODEL.fullmatch(name) or "--" in name or ".." in name:
        raise NameRefused(
            f"{name[:120]!r} is no model's name: letters, digits, '.', '_' and '-', with one '/' at most; "
            "no '--', no '..', each part of at most 96"
        )


def check_label(text: str, what: str) -> None:
    """Of a variant or an alias. Raises NameRefused."""
    if not _LABEL.fullmatch(text) or ".." in text:
        raise NameRefused(f"the {what} {text[:80]!r} is not one: 1 to 63 of a-z, 0-9, '.', '_' and '-'")


def check_alias(text: str) -> None:
    """Raises NameRefused."""
    check_label(text, "alias")
    if text == NEWEST or _NUMBER.fullmatch(text) or _COMMIT.fullmatch(text):
        raise NameRefused(f"the alias {text!r} already means something: the newest version, a number or a digest")


def parse(text: str) -> tuple[str, Revision]:
    """`NAME[@alias|:version]`. Raises NameRefused."""
    name, at, alias = text.partition("@")
    if at:
        check_model(name)
        check_alias(alias)
        return name, Revision(alias=alias)
    name, colon, number = text.partition(":")
    check_model(name)
    if colon and not _NUMBER.fullmatch(number):
        raise NameRefused(f"the version {number!r} is no number: write {name}:3, or {name}@alias")
    return name, Revision(version=int(number or 0))


def revision_of(text: str) -> Revision:
    """As Hugging Face's clients and URLs have it: `main`, an alias, a number or a commit, and `+variant` where one is
    meant. Raises NameRefused."""
    text, plus, variant = text.partition("+")
    if plus:
        check_label(variant, "variant")
    if text == NEWEST:
        return Revision(variant=variant)
    if _NUMBER.fullmatch(text):
        return Revision(version=int(text), variant=variant)
    if _COMMIT.fullmatch(text):
        return Revision(commit=text, variant=variant)
    check_alias(text)
    return Revision(alias=text, variant=variant)


def text_of(revision: Revision) -> str:
    """`revision_of` reads it again."""
    base = revision.alias or revision.commit or (str(revision.version) if revision.version else NEWEST)
    return f"{base}+{revision.variant}" if revision.variant else base
