"""Which hub a command talks to, and as whom: the environment first, then the context file that `muster login` wrote.

The context file holds a token, so it is its owner's alone (0600) and is refused, with a word, where it is not readable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hub.cli import exits

if TYPE_CHECKING:
    from hub.client import MusterClient


_PATIENCE_S = 3.0  # with a hub that does not answer: somebody sits in front of it


@dataclass(frozen=True, slots=True)
class Connection:
    url: str
    token: str = ""
    ca: str = ""  # path of a PEM file; "" means the system's authorities


@dataclass(frozen=True, slots=True)
class Dialer:
    """How a connection becomes a client; another one is passed as the CLI's `obj` in tests."""

    dial: Callable[[Connection], MusterClient]


@contextmanager
def connect(ctx: typer.Context) -> Iterator[MusterClient]:
    """A client for the length of a command; what it raises ends the command with a message and an exit code."""
    dialer = ctx.find_object(Dialer)
    client = dialer.dial(Connection("http://test")) if dialer else dial(resolve(os.environ))
    with exits.told(), client:
        yield client


def dial(connection: Connection) -> MusterClient:
    from hub.client import MusterClient

    try:
        return MusterClient(connection.url, connection.token, ca=connection.ca or None, patience_s=_PATIENCE_S)
    except OSError as error:
        exits.stop(
            f"the CA file {connection.ca} cannot be read: {error}", "mend MUSTER_CA or log in again", exits.USAGE
        )


def resolve(environ: os._Environ[str] | dict[str, str]) -> Connection:
    """Environment over file, each value for itself."""
    path = context_path(environ)
    saved = _read(path)
    url = environ.get("MUSTER_URL") or (saved.url if saved else "")
    if not url:
        exits.stop(
            f"no hub is known: there is no {path} and MUSTER_URL is not set",
            "muster login URL --token TOKEN --ca ca.crt, or set MUSTER_URL, MUSTER_TOKEN and MUSTER_CA",
            exits.USAGE,
        )
    # A saved token is for the saved hub only.
    fallback = saved if saved is not None and url.rstrip("/") == saved.url.rstrip("/") else Connection(url)
    return Connection(url, environ.get("MUSTER_TOKEN") or fallback.token, environ.get("MUSTER_CA") or fallback.ca)


def context_path(environ: os._Environ[str] | dict[str, str]) -> Path:
    if given := environ.get("MUSTER_CONTEXT"):
        return Path(given)
    base = environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "muster" / "context.json"


def save(path: Path, connection: Connection) -> None:
    """Whole or not at all, readable by its owner only."""
    import json

    from wire import private_file

    private_file.write(path, json.dumps(asdict(connection), indent=2).encode() + b"\n")


def _read(path: Path) -> Connection | None:
    import json

    try:
        return Connection(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        exits.stop(f"the context file {path} cannot be read: {error}", "muster login writes a new one", exits.USAGE)
