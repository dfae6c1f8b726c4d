"""What every test of this tree relies on."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    # A runner without a terminal may have started us with Ctrl-C ignored, and our children would inherit that; some
    # tests end a child as a person would.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
