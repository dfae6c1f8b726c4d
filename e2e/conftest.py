"""Member clusters once per session, one federation on them for as long as its scenarios leave it whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from e2e import evidence, provider, shapes
from e2e.federation import Federation, wipe
from e2e.provider import MemberCluster
from e2e.volcano import VolcanoController


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first scenario of a session also waits for three control planes, on whatever machine this is."""
    for item in items:
        if not item.path.is_relative_to(Path(__file__).parent):
            continue
        item.add_marker("planes")
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def session_directory() -> Iterator[Path]:
    """Removed at the end, unless E2E_KEEP is set: then its place is printed, with every log in it."""
    directory = Path(tempfile.mkdtemp(prefix="muster-e2e-"))
    yield directory
    if os.environ.get("E2E_KEEP"):
        print(f"\nlogs of this session: {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def clusters(session_directory: Path) -> Iterator[Mapping[str, MemberCluster]]:
    made = provider.from_environment(session_directory / "clusters")
    try:
        yield made.make(shapes.STANDARD)
    finally:
        made.close()


class Standing:
    """The federation that scenarios share. One that a failed scenario leaves behind is replaced, not repaired."""

    def __init__(self, directory: Path, clusters: Mapping[str, MemberCluster]) -> None:
        self._directory = directory
        self._clusters = clusters
        self._number = 0
        self._federation: Federation | None = None

    def get(self) -> Federation:
        if self._federation is None:
            self._number += 1
            federation = Federation(self._directory / f"federation-{self._number}", self._clusters)
            self._federation = federation
            try:
                federation.start()
            except BaseException as error:
                error.add_note(evidence.text(federation))
                self.drop()
                raise
        return self._federation

    def drop(self) -> None:
        if self._federation is not None:
            self._federation.stop()
            self._federation = None
            for cluster in self._clusters.values():
                wipe(cluster)


@pytest.fixture(scope="session")
def standing(session_directory: Path, clusters: Mapping[str, MemberCluster]) -> Iterator[Standing]:
    standing = Standing(session_directory, clusters)
    yield standing
    standing.drop()


_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
        live = getattr(item, "funcargs", {}).get("federation")
        if isinstance(live, Federation) and report.when == "call":
            report.sections.extend(evidence.of(live).items())
    return report


@pytest.fixture
def federation(request: pytest.FixtureRequest, standing: Standing) -> Iterator[Federation]:
    """Three empty clusters under one hub. After the scenario everything of it must be gone again, by itself."""
    live = standing.get()
    yield live
    if request.node.stash.get(_failed, False):
        standing.drop()
        return
    try:
        live.clear()
    except BaseException as error:
        error.add_note(evidence.text(live))
        standing.drop()
        raise


@pytest.fixture
def volcano(clusters: Mapping[str, MemberCluster]) -> Iterator[None]:
    """Volcano's controller, played in every cluster that serves its Job."""
    controllers = [VolcanoController(cluster) for cluster in clusters.values() if cluster.shape.volcano]
    yield
    for controller in controllers:
        controller.stop()
