"""A terminal lent to a command elsewhere: raw while it runs, and as it was before whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import threading
import tty as raw
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.tunnel_client import Remote

_PIECE = 32 * 1024
_STDERR = 2
INTERRUPTED = 130


def is_one() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def size() -> tuple[int, int]:
    """Columns and rows."""
    try:
        found = os.get_terminal_size(sys.stdout.fileno())  # and not what COLUMNS says for tables
    except OSError:
        return 80, 24
    return found.columns, found.lines


def attend(remote: Remote, *, tty: bool, stdin: bool) -> int:
    """Carries both ways until the command ends; its exit code. Raises ApiError, HubUnreachable."""
    with _raw() if tty else contextlib.nullcontext(), _following_size(remote) if tty else contextlib.nullcontext():
        if stdin:
            # A daemon: it sits in a read that nothing but the end of the process interrupts.
            threading.Thread(target=_pass_on, args=(remote,), daemon=True, name="stdin").start()
        try:
            for channel, data in remote:
                _write(sys.stderr.fileno() if channel == _STDERR else sys.stdout.fileno(), data)
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:  # whoever reads our output has enough
            return 128 + signal.SIGPIPE
    return remote.exit_code if remote.exit_code is not None else 1


def _pass_on(remote: Remote) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(sys.stdin.fileno(), _PIECE):
            remote.write(data)
    remote.write_end()


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    before = termios.tcgetattr(sys.stdin.fileno())
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        for number in handlers:
            signal.signal(number, _leave)  # else the terminal would stay raw
        raw.setraw(sys.stdin.fileno())
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _following_size(remote: Remote) -> Iterator[None]:
    """The new size is sent by a thread: a handler may run in the middle of anything."""
    changed, ended = threading.Event(), threading.Event()

    def follow() -> None:
        while changed.wait() and not ended.is_set():
            changed.clear()
            remote.resize(*size())

    before = signal.signal(signal.SIGWINCH, lambda *_: changed.set())
    threading.Thread(target=follow, daemon=True, name="terminal size").start()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
        ended.set()
        changed.set()
