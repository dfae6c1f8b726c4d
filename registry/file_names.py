"""What a file of a model may be called. A name comes from whoever pushed it, and becomes a path at every site."""

from __future__ import annotations

import unicodedata

MAX_LENGTH = 512  # of the whole name, in bytes of UTF-8
_MAX_PART = 255  # what file systems take


def problem_of(name: str) -> str:
    """Why it cannot be a file's name in a model; "" where it can."""
    if not name:
        return "is empty"
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "is no valid Unicode"
    if len(encoded) > MAX_LENGTH:
        return f"has {len(encoded)} bytes, at most {MAX_LENGTH} are allowed"
    if name.startswith("/"):
        return "is absolute"
    if "\\" in name or ":" in name:
        return "has a backslash or a colon, which some systems read as a path of their own"
    if any(unicodedata.category(each) in ("Cc", "Cf", "Cs") for each in name):
        return "has a character that does not show"
    if unicodedata.normalize("NFC", name) != name:
        return "is not in Unicode's composed form (NFC)"
    for part in name.split("/"):
        if part in ("", ".", ".."):
            return f"has {part!r} as a part"
        if len(part.encode()) > _MAX_PART:
            return f"has a part of more than {_MAX_PART} bytes"
        if part != part.strip() or part.endswith("."):
            return f"has a part {part!r} that begins or ends with a space, or ends with a dot"
    return ""


def clash_of(names: list[str]) -> str:
    """Two names that one file system could not hold both: a file that is a folder too, or equal but for case."""
    seen: dict[str, str] = {}
    for name in names:
        folded = name.casefold()
        if folded in seen:
            return f"{seen[folded]} and {name}"
        seen[folded] = name
    for name in names:
        parts = name.casefold().split("/")
        for length in range(1, len(parts)):
            if (folder := "/".join(parts[:length])) in seen:
                return f"{seen[folder]} and {name}"
    return ""
