"""What is in Secrets of jobs that have ended: nowhere in the database, and in none of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.store import commands, jobs, secrets
from hub.store.jobs import new_job
from placement.lifecycle import Event, Phase
from placement.safety.secrets import is_secret
from tests.hub.loops.rig import ANN, Clock, FakeSpoke, Hub, a_hub, workload
from wire.orders import JobRef

KEY = "aHVudGVyMi1hbmQtbW9yZS1vZi1pdA=="
TEXT = "hunter2-in-plain-words"
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "name": "s",
    "metadata": {"name": "s", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": KEY, "a": "b"}},
    "data": {"large": "x" * 50_000, "password": KEY},  # so that it lies on pages of its own
    "stringData": {"token": TEXT},
}
WORKLOAD = {"kind": "Job", "name": "train"}


async def submitted(hub: Hub, id_: str = "j-0000000001") -> str:
    new = new_job(id_, workload(), (SECRET, WORKLOAD), hub.clock())
    await hub.store.write(lambda session: jobs.insert_many(session, [(ANN, None, new)]))
    return id_


async def secret_of(hub: Hub, id_: str) -> dict[str, Any]:
    found = (await hub.store.read(lambda session: jobs.objects_of(session, [id_])))[id_]
    (secret,) = [dict(one) for one in found if is_secret(one)]
    assert [one.get("kind") for one in found] == ["Secret", "Job"]
    return secret


def leaked(directory: Path) -> set[str]:
    """The files of the database that hold it."""
    files = [path for path in directory.iterdir() if path.is_file()]
    return {path.name for path in files for word in (KEY, TEXT) if word.encode() in path.read_bytes()}


async def test_a_job_that_ended_keeps_the_keys_of_its_secrets_and_not_what_is_in_them(hub: Hub) -> None:
    id_ = await submitted(hub)
    other = await hub.jobs.cancel(ANN, (await hub.jobs.submit(ANN, b'{"name": "other"}'))[0].job.id)
    assert other.phase is Phase.CANCELLED
    assert (await secret_of(hub, id_))["data"]["password"] == KEY
    await hub.jobs.cancel(ANN, id_)
    assert await secret_of(hub, id_) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "name": "s",
        "metadata": {"name": "s", "annotations": {"a": "b"}},
        "data": {"large": "", "password": ""},
        "stringData": {"token": ""},
    }


async def test_one_that_is_put_back_into_the_queue_keeps_them(hub: Hub) -> None:
    id_ = await submitted(hub)
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.placing.settle()
    await spoke.obey(hub)
    spoke.advance(JobRef(id_, 1), Event.INTERRUPTED)
    await spoke.send_reports(hub)
    job = await hub.jobs.show(ANN, id_)
    assert (job.phase, job.epoch) == (Phase.QUEUED, 2)
    assert (await secret_of(hub, id_))["data"]["password"] == KEY


async def test_orders_that_nobody_has_acknowledged_lose_them_too(hub: Hub) -> None:
    id_ = await submitted(hub)
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.placing.settle()
    await hub.store.write(lambda session: secrets.blank(session, [id_]))
    ((_, command),) = await hub.store.read(commands.open_commands)
    secret, job = command.order.objects  # type: ignore[union-attr]
    assert secret["stringData"] == {"token": ""}
    assert job["labels"]["muster.dev/job"] == id_


@pytest.mark.parametrize("scrubbed", [True, False])
async def test_no_byte_of_them_is_left_in_the_files(tmp_path: Path, clock: Clock, scrubbed: bool) -> None:
    """While the hub runs, once its log is emptied; and after it has ended."""
    async with a_hub(tmp_path / "hub.sqlite", clock) as hub:
        id_ = await submitted(hub)
        assert leaked(tmp_path)
        await hub.jobs.cancel(ANN, id_)
        if scrubbed:
            clock.advance(700)
            await hub.health.tick()
            assert leaked(tmp_path) == set()
    assert leaked(tmp_path) == set()
