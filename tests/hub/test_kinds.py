from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from hub.errors import ConflictError, Forbidden, Invalid, NotFound
from hub.kinds import MAX_BYTES, KindBook
from hub.store import rows
from hub.store.store import Store
from placement.kinds import reader
from placement.kinds.catalogue import Catalogue
from placement.kinds.problems import ManifestError
from tests.hub.loops.rig import ADMIN, ANN, Hub, a_hub

SWEEP = """
kind: Sweep
group: example.com
versions: [v1]
roles: {form: one, name: trial, at: spec, template: template, replicas: {path: trials}}
gang: {minimum: all}
status:
  - {event: succeed, when: {cel: 'status.done == spec.trials'}}
  - {event: running, when: {exists: status.done}}
"""
MANIFEST = b"""
apiVersion: example.com/v1
kind: Sweep
metadata: {name: s}
spec: {trials: 3, template: {spec: {containers: [{name: c}]}}}
"""


class Spokes:
    def __init__(self) -> None:
        self.told: list[Mapping[str, str]] = []

    async def kinds_changed(self, files: Mapping[str, str]) -> None:
        self.told.append(files)


@pytest.fixture
def spokes() -> Spokes:
    return Spokes()


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue.builtin()


@pytest.fixture
def book(hub: Hub, catalogue: Catalogue, spokes: Spokes) -> KindBook:
    return KindBook(hub.store, catalogue, spokes, clock=lambda: datetime(2026, 3, 1, tzinfo=UTC))


async def test_a_kind_is_read_from_the_moment_it_was_added(
    book: KindBook, catalogue: Catalogue, spokes: Spokes
) -> None:
    with pytest.raises(ManifestError, match="Sweep"):
        reader.read(MANIFEST, catalogue)
    added = await book.add(ADMIN, "sweep", SWEEP)
    assert (added.kinds, added.record.added_by) == (("example.com/v1/Sweep",), ADMIN.user)
    (submission,) = reader.read(MANIFEST, catalogue)
    assert submission.workload.min_pods == 3
    assert spokes.told == [{"sweep": SWEEP}]
    assert [one.record.name for one in await book.list(ANN)] == ["sweep"]


async def test_one_of_the_same_name_takes_its_place_and_removing_it_ends_it(
    book: KindBook, catalogue: Catalogue, spokes: Spokes
) -> None:
    await book.add(ADMIN, "sweep", SWEEP)
    await book.add(ADMIN, "sweep", SWEEP.replace("v1", "v2"))
    assert catalogue.find("example.com/v1", "Sweep") is None
    assert catalogue.find("example.com/v2", "Sweep") is not None
    await book.remove(ADMIN, "sweep")
    assert catalogue.find("example.com/v2", "Sweep") is None
    assert spokes.told[-1] == {}
    with pytest.raises(NotFound):
        await book.remove(ADMIN, "sweep")


async def test_it_is_known_after_a_restart_and_one_that_is_not_understood_stops_nobody(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        await KindBook(hub.store, Catalogue.builtin(), Spokes(), clock=hub.clock).add(ADMIN, "sweep", SWEEP)
        await spoil(hub.store)
    async with a_hub(tmp_path / "hub.sqlite", seed=1) as hub:
        catalogue = Catalogue.builtin()
        book = KindBook(hub.store, catalogue, Spokes(), clock=hub.clock)
        await book.load()
        assert book.files == {"sweep": SWEEP}
        assert catalogue.find("example.com/v1", "Sweep") is not None
        assert [(one.record.name, one.kinds) for one in await book.list(ADMIN)] == [
            ("broken", ()),
            ("sweep", ("example.com/v1/Sweep",)),
        ]


async def spoil(store: Store) -> None:
    """As an earlier release may have left it."""
    values = {"name": "broken", "text": "kind: X", "added_by": "a", "added_at": datetime(2026, 1, 1, tzinfo=UTC)}
    await store.write(lambda session: session.connection().execute(rows.kind_files.insert(), [values]))


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("Sweep!", SWEEP, "is no name"),
        ("sweep", "kind: [", "not valid YAML"),
        ("sweep", "a: &a [x]\nb: *a\n" * 2, "there twice"),
        ("sweep", SWEEP + "---\n" + SWEEP, "one kind is one document"),
        ("sweep", SWEEP.replace("versions: [v1]", "versions: []"), "name at least one"),
        ("sweep", SWEEP.replace("status.done ==", "stat.done =="), "stat in .* is no name"),
        ("sweep", SWEEP + "colour: red\n", "colour"),
        ("sweep", SWEEP.replace("kind: Sweep", "kind: Job").replace("example.com", "batch"), "comes with"),
        ("sweep", SWEEP.replace("kind: Sweep", "kind: Secret").replace("example.com", '""'), "goes along"),
        ("sweep", SWEEP + "#" * MAX_BYTES, "at most"),
    ],
)
async def test_what_is_no_kind_is_refused_and_changes_nothing(
    book: KindBook, spokes: Spokes, name: str, file: str, said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        await book.add(ADMIN, name, file)
    assert not await book.list(ADMIN)
    assert not spokes.told


async def test_two_files_for_one_kind_are_refused(book: KindBook) -> None:
    await book.add(ADMIN, "sweep", SWEEP)
    with pytest.raises(Invalid, match=r"two kind files for example\.com/v1/Sweep"):
        await book.add(ADMIN, "other", SWEEP)


async def test_only_admins_change_them(book: KindBook) -> None:
    await book.add(ADMIN, "sweep", SWEEP)
    with pytest.raises(Forbidden):
        await book.add(ANN, "sweep", SWEEP)
    with pytest.raises(Forbidden):
        await book.remove(ANN, "sweep")
    assert (await book.show(ANN, "sweep")).record.text == SWEEP


async def test_one_that_live_jobs_are_of_stays(book: KindBook, hub: Hub, catalogue: Catalogue) -> None:
    await book.add(ADMIN, "sweep", SWEEP)
    (submission,) = reader.read(MANIFEST, catalogue)
    hub.jobs._read = lambda text, *, namespace: [submission]  # type: ignore[assignment, method-assign]
    (job,) = await hub.jobs.submit_many(ADMIN, [MANIFEST])
    with pytest.raises(ConflictError, match=job.job.id):
        await book.remove(ADMIN, "sweep")
    with pytest.raises(ConflictError, match="not ended"):
        await book.add(ADMIN, "sweep", SWEEP.replace("v1", "v2"))
    await book.add(ADMIN, "sweep", SWEEP + "suspended: {exists: spec.paused}\n")  # the same kind, said better
    await hub.store.write(
        lambda session: session.connection().execute(text("UPDATE jobs SET finished_at = submitted_at"))
    )
    await book.remove(ADMIN, "sweep")


async def test_of_two_that_come_at_once_for_one_kind_the_second_is_refused(
    book: KindBook, catalogue: Catalogue, spokes: Spokes
) -> None:
    first, second = await asyncio.gather(
        book.add(ADMIN, "sweep", SWEEP), book.add(ADMIN, "other", SWEEP), return_exceptions=True
    )
    assert not isinstance(first, BaseException)
    assert isinstance(second, Invalid)
    assert spokes.told == [{"sweep": SWEEP}]
    assert [one.record.name for one in await book.list(ANN)] == ["sweep"]
    assert len(catalogue.kinds) == len(catalogue.own) + 1


async def test_two_that_come_at_once_for_two_kinds_are_both_known(book: KindBook, spokes: Spokes) -> None:
    other = SWEEP.replace("Sweep", "Brush")
    await asyncio.gather(book.add(ADMIN, "sweep", SWEEP), book.add(ADMIN, "brush", other))
    assert spokes.told[-1] == {"sweep": SWEEP, "brush": other} == book.files
