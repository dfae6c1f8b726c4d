"""Images from another registry: wherever in an object an image is named.

`nginx` is `docker.io/library/nginx`, as container runtimes read it; a rewrite that fits none of an image's beginnings
leaves it as it is written. Tags and digests stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from placement.overrides.override import ImageRewrite

_HUB = "docker.io"
_OCI = "oci://"
# What is no image whatever it is called: free text, and what a program is told.
_PASSED = frozenset({"metadata", "labels", "annotations", "env", "args", "command", "data", "stringData", "binaryData"})


def rewrite(obj: dict[str, Any], rewrites: Sequence[ImageRewrite]) -> None:
    """Changes the object, which is the caller's own copy."""
    for holder, key, prefix in list(_named(obj)):
        holder[key] = prefix + rewritten(holder[key].removeprefix(prefix), rewrites)


def rewritten(image: str, rewrites: Sequence[ImageRewrite]) -> str:
    registry, path = _whole(image)
    whole = f"{registry}/{path}"
    for one in rewrites:
        if one.from_ == "*":
            return f"{one.to}/{path}"
        if whole.startswith(one.from_) and whole[len(one.from_) : len(one.from_) + 1] in ("/", ":", "@", ""):
            return one.to + whole[len(one.from_) :]
    return image


def _whole(image: str) -> tuple[str, str]:
    """Registry and path, as container runtimes complete them."""
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest if first != _HUB or "/" in rest else f"library/{rest}"
    return _HUB, image if slash else f"library/{image}"


def _named(value: Any) -> Iterator[tuple[dict[str, Any], str, str]]:
    """(mapping, key, what stands before the image) of every image that is named."""
    waiting: list[Any] = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
            continue
        if not isinstance(found, dict):
            continue
        for key, each in found.items():
            if key in _PASSED:
                continue
            if isinstance(each, str) and each:
                if key == "image" or key.endswith("Image"):
                    yield found, key, ""
                elif key == "storageUri" and each.startswith(_OCI):
                    yield found, key, _OCI
            elif key == "image" and isinstance(each, dict) and isinstance(each.get("reference"), str):
                yield each, "reference", ""  # a volume that is an image
            else:
                waiting.append(each)
