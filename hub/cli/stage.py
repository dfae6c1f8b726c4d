"""What the demo and `up` show: steps with progress, and real commands of the CLI with what they print."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from hub.cli import exits, screen


class CommandFailed(Exception):
    """A command ended with another exit code than the one expected."""


class Stage:
    def __init__(self) -> None:
        self._console = screen.console()

    def title(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/bold]")

    def line(self, text: str = "") -> None:
        self._console.print(text)

    def plain(self, text: str) -> None:
        """Never wrapped nor styled: to be copied."""
        self._console.out(text, highlight=False)

    def done(self, text: str) -> None:
        self._console.print(f"[green]✔[/green] {text}")

    @contextlib.contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """A spinner where somebody watches, a line where nobody does."""
        if self._console.is_terminal:
            with self._console.status(f"{doing} …"):
                yield
        else:
            self._console.print(f"  {doing} …")
            sys.stdout.flush()
            yield

    def command(self, *arguments: str, expect: tuple[int, ...] = (0,)) -> str:
        """Shows and runs `muster ARGUMENTS`; what it printed. Raises CommandFailed."""
        shown = " ".join(shlex.quote(short(argument)) for argument in arguments)
        self._console.print(f"\n[bold cyan]$ muster {shown}[/bold cyan]")
        sys.stdout.flush()
        with _Tee.of_stdout() as tee:
            code = _run(arguments)
        if code == exits.INTERRUPTED:
            raise KeyboardInterrupt
        if code not in expect:
            raise CommandFailed(f"muster {shown}: exit code {code}, expected {' or '.join(map(str, expect))}")
        return tee.text


def short(argument: str) -> str:
    """A path below the working directory without it: as one would type it."""
    path = Path(argument)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else argument


def program() -> str:
    """How this program is called from the present directory."""
    own = Path(sys.executable).with_name("muster")
    found = shutil.which("muster")
    if found is not None and Path(found).resolve() == own.resolve():
        return "muster"
    return short(str(own)) if own.exists() else "python -m hub.cli.main"


@contextlib.contextmanager
def patience(what: str, limit_s: float) -> Iterator[Any]:
    """`while waiting(): …`: sleeps a moment between the questions. Raises CommandFailed when time is up."""
    deadline = time.monotonic() + limit_s

    def waiting() -> bool:
        if time.monotonic() > deadline:
            raise CommandFailed(f"{what}: not within {limit_s:g} s")
        time.sleep(0.1)
        return True

    yield waiting


def _run(arguments: tuple[str, ...]) -> int:
    """In this process: the same code as the installed command, without a second's imports each time."""
    import click

    from hub.cli.main import app

    try:
        answer = app(list(arguments), prog_name="muster", standalone_mode=False)
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return answer if isinstance(answer, int) else 0


class _Tee:
    """Standard output, and a copy of it. Log lines arrive on another thread: a write is one append."""

    def __init__(self, real: IO[str]) -> None:
        self._real = real
        self._parts: list[str] = []

    @classmethod
    @contextlib.contextmanager
    def of_stdout(cls) -> Iterator[_Tee]:
        tee = cls(sys.stdout)
        with contextlib.redirect_stdout(tee):
            yield tee

    @property
    def text(self) -> str:
        """Without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", "".join(self._parts))

    def write(self, text: str) -> int:
        self._parts.append(text)
        return self._real.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def stop_on_signals() -> None:
    """As Ctrl-C, also where a shell started us in the background (it ignores SIGINT then); not under nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def use_context(file: Path) -> None:
    """For the commands run here: this federation, whatever the environment said."""
    for name in ("MUSTER_URL", "MUSTER_TOKEN", "MUSTER_CA"):
        os.environ.pop(name, None)
    os.environ["MUSTER_CONTEXT"] = str(file)
