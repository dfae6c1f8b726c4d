"""Logs as key=value lines on stderr: `at=… level=info from=hub.app msg="hub started" …`. Secrets are never logged."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

# Their requests and reconnects are noise; what goes wrong is still told.
_QUIET = ("uvicorn", "uvicorn.error", "asyncio", "httpx", "httpcore", "alembic", "sqlalchemy")


def configure(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValues())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class KeyValues(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = f"at={at} level={record.levelname.lower()} from={record.name} msg={_quoted(record.getMessage())}"
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return line


def _quoted(text: str) -> str:
    """One line, whatever is in it: a message must not be able to look like another entry."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'
