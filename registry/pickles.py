"""Which files of a model run code when they are loaded. Told by what is in them, and by their names where compression
hides it: a site refuses such files unless its owner allows them."""

from __future__ import annotations

LOOKED_AT = 64 << 10  # bytes of each end of the file

_SUFFIXES = (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle")
# Protocols 2 to 5 begin so; a frame, a tuple, a dictionary, a class or a string's length comes next.
_PROTOCOLS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_ZIP = b"PK\x03\x04"
_NUMPY = b"\x93NUMPY"


def runs_code(path: str, head: bytes, tail: bytes) -> bool:
    """`head`, `tail`: the file's first and last LOOKED_AT bytes; they overlap where it is small."""
    if path.lower().endswith(_SUFFIXES) or head.startswith(_PROTOCOLS):
        return True
    if head.startswith(_ZIP):  # PyTorch's files; the list of what is in a zip stands at its end
        return b".pkl" in head or b".pkl" in tail
    return head.startswith(_NUMPY) and b"'descr': '|O'" in head[:512]
