from __future__ import annotations

from e2e.fixtures import bare_plane

__all__ = ["bare_plane"]
