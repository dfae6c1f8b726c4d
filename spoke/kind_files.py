"""The kinds that the hub's admins added, kept for the next start: jobs of them may run while the hub is away.

A file that this spoke does not understand (a newer hub's) is left out, and said; jobs of it are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import orjson

from placement.kinds.catalogue import Catalogue, CatalogueError
from wire import private_file

log = logging.getLogger(__name__)


class KindFiles:
    def __init__(self, catalogue: Catalogue, path: Path | None = None) -> None:
        """`path`: where they are kept; None where they need not outlive the process."""
        self._catalogue = catalogue
        self._path = path
        self._files: Mapping[str, str] = {}

    def load(self) -> None:
        """What was told before the last end."""
        if self._path is None or not self._path.exists():
            return
        try:
            kept = orjson.loads(self._path.read_bytes())
            self._take({str(name): str(text) for name, text in kept.items()})
        except (OSError, orjson.JSONDecodeError, AttributeError) as error:
            log.warning("the kinds kept in %s cannot be read; the hub tells them again: %s", self._path, error)

    def told(self, files: Mapping[str, str]) -> bool:
        """Whether they are others than before."""
        if files == self._files:
            return False
        self._take(files)
        if self._path is not None:
            try:
                private_file.write(self._path, orjson.dumps(dict(files)))
            except OSError as error:
                log.warning("the kinds that the hub told cannot be kept in %s: %s", self._path, error)
        return True

    def _take(self, files: Mapping[str, str]) -> None:
        taken: dict[str, str] = {}
        for name, text in sorted(files.items()):
            try:
                self._catalogue.replace_added({**taken, name: text})
                taken[name] = text
            except CatalogueError as error:
                log.error("the kind file %s is not understood, and jobs of it are refused: %s", name, error)
        self._catalogue.replace_added(taken)
        self._files = dict(files)
