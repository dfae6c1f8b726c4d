"""Becomes a command in a session of its own, with its standard input as its terminal where that is one.

`python -I -S exec_shim.py PARENT WORD…`. It dies with PARENT, the process id of the spoke (Linux). A command that is
not there is said on standard error, with the exit code that a shell has for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import termios

PR_SET_PDEATHSIG = 1
NOT_FOUND, NOT_EXECUTABLE = 127, 126


def main(arguments: list[str]) -> int:
    parent, words = int(arguments[0]), arguments[1:]
    os.umask(0o022)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before that was asked for
            return 1
    if os.isatty(0):
        with contextlib.suppress(OSError):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(words[0], words, os.environ)  # noqa: S606 - what somebody asked for is run
    except FileNotFoundError:
        sys.stderr.write(f'exec: "{words[0]}": executable file not found in $PATH of this machine\n')
        return NOT_FOUND
    except OSError as error:
        sys.stderr.write(f'exec: "{words[0]}": {error.strerror}\n')
        return NOT_EXECUTABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
