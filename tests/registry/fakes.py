from __future__ import annotations

from collections.abc import Sequence

from registry.blobs import BlobMissing


class MemoryBlobs:
    """As `registry.blobs.Blobs`; `names` are all that were ever put."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.names: list[str] = []

    async def put(self, name: str, data: bytes) -> None:
        self.names.append(name)
        self.objects[name] = bytes(data)

    async def get(self, name: str) -> bytes:
        if name not in self.objects:
            raise BlobMissing(name)
        return self.objects[name]

    async def delete(self, names: Sequence[str]) -> None:
        for name in names:
            self.objects.pop(name, None)
