"""What every test of this tree relies on."""

from __future__ import annotations

import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests import postgresql

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure() -> None:
    # A runner without a terminal may have started us with Ctrl-C ignored, and our children would inherit that; some
    # tests end a child as a person would.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgresql_server() -> Generator[postgresql.Server, None, None]:
    try:
        with postgresql.a_server() as server:
            yield server
    except postgresql.Unavailable as error:
        pytest.skip(f"no PostgreSQL: {error}")


@pytest.fixture
def postgresql_url(postgresql_server: postgresql.Server) -> str:
    """A database with the hub's tables, and nothing in them."""
    return postgresql_server.emptied()


@pytest.fixture
def new_postgresql_url(postgresql_server: postgresql.Server) -> Generator[str, None, None]:
    """A database without tables."""
    url = postgresql_server.new_database()
    yield url
    postgresql_server.drop(url)
