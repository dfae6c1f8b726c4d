"""Member clusters once per session, one federation on them for as long as its scenarios leave it whole.

What a failed scenario leaves to be read is in its report and, where that is too long, under build/e2e/PROVIDER/SCENARIO
until the next session.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from e2e import bed, evidence
from e2e.bed import KEPT, Bed
from e2e.federation import Federation, wipe
from e2e.provider import MemberCluster
from e2e.volcano import VolcanoController

HERE = Path(__file__).resolve().parent
BED = bed.chosen()


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in bed.MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    # However a session is ended, it tidies up: a runner may stop it with SIGTERM, or have begun it with Ctrl-C ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what this bed cannot show; pytest prints how many that were."""
    out = []
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        item.add_marker("planes")
        if item.path.is_relative_to(HERE / "kind"):
            item.add_marker("pods")
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(BED.timeout_s))
        if any(item.get_closest_marker(name) for name in BED.lacks):
            out.append(item)
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


@pytest.fixture(scope="session")
def session_directory() -> Iterator[Path]:
    """Removed at the end, unless E2E_KEEP is set: then its place is printed, with every log in it."""
    directory = Path(tempfile.mkdtemp(prefix="muster-e2e-"))
    shutil.rmtree(KEPT, ignore_errors=True)
    yield directory
    if os.environ.get("E2E_KEEP"):
        print(f"\nlogs of this session: {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def clusters(request: pytest.FixtureRequest, session_directory: Path) -> Iterator[Mapping[str, MemberCluster]]:
    """Making them may take minutes: what the provider says of it is shown as it comes."""
    made = BED.provider(session_directory / "clusters")
    shown = request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled
    try:
        with shown():
            ready = made.make(BED.shapes)
        yield ready
    finally:
        with shown():
            made.close()


class Standing:
    """The federation that scenarios share. One that a failed scenario leaves behind is replaced, not repaired."""

    def __init__(self, bed: Bed, directory: Path, clusters: Mapping[str, MemberCluster]) -> None:
        self._bed = bed
        self._directory = directory
        self._clusters = clusters
        self._number = 0
        self._federation: Federation | None = None

    def get(self) -> Federation:
        if self._federation is None:
            self._number += 1
            federation = self._bed.new_federation(self._directory / f"federation-{self._number}", self._clusters)
            self._federation = federation
            try:
                federation.start()
            except BaseException as error:
                error.add_note(evidence.text(federation))
                federation.keep_evidence(KEPT / f"start-{self._number}")
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
    standing = Standing(BED, session_directory, clusters)
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
            live.keep_evidence(KEPT / _file_name(item))
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
        live.keep_evidence(KEPT / f"{_file_name(request.node)}-after")
        standing.drop()
        raise


@pytest.fixture
def volcano(clusters: Mapping[str, MemberCluster]) -> Iterator[None]:
    """Volcano's controller, played in every cluster that serves its Job."""
    controllers = [VolcanoController(cluster) for cluster in clusters.values() if cluster.shape.volcano]
    yield
    for controller in controllers:
        controller.stop()


def _file_name(item: pytest.Item) -> str:
    return re.sub(r"[^\w.-]+", "-", item.name).strip("-")
