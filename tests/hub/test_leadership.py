from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from hub.app import CannotStart, Hub
from hub.client import ApiError, HubNotReady, HubUnreachable, MusterClient
from hub.leadership import AnotherAuthority, Campaign, StandBy, Take, decide, keep
from hub.pki import Authority
from hub.settings import HubSettings
from hub.store import leadership
from hub.store.dialect import open_unpooled
from hub.store.leadership import Candidate, Tenure
from hub.store.store import Store, StoreUnavailable
from tests.hub.test_app import JOB

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TENURE = Tenure(3, "hub-0", "ca", NOW - timedelta(hours=1), NOW, 10.0)
TOKEN = "muster-0123456789ab.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_abcde"
T = TypeVar("T")


@pytest.mark.parametrize(
    ("holder", "later_s", "verdict"),
    [
        ("hub-0", 9.9, StandBy("hub-0", TENURE.since, same_authority=True)),
        ("hub-0", 10.0, Take()),
        ("", 0.0, Take()),
    ],
)
def test_the_row_is_taken_when_nobody_holds_it_or_its_lease_is_over(
    holder: str, later_s: float, verdict: object
) -> None:
    tenure = Tenure(3, holder, "ca", TENURE.since, NOW, 10.0)
    assert decide(tenure, NOW + timedelta(seconds=later_s), "ca") == verdict


def test_a_standby_names_the_leader() -> None:
    verdict = decide(TENURE, NOW, "another ca")
    assert str(verdict) == "standby; hub-0 leads since 2025-12-31 23:00:00 UTC"
    assert isinstance(verdict, StandBy)
    assert not verdict.same_authority


class Away:
    """A store whose database does not answer."""

    async def write(self, function: Callable[..., object]) -> None:
        raise StoreUnavailable("away")


async def test_a_leader_that_cannot_renew_ends_with_its_lease() -> None:
    now = 100.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    store: Any = Away()
    why = await asyncio.wait_for(keep(store, 10.0, clock=lambda: now, sleep=sleep), 5)
    assert "not renewed for 10 s" in why
    assert 110.0 <= now <= 111.0


async def test_leadership_goes_from_one_to_the_next(postgresql_url: str) -> None:
    first, second = (Campaign(postgresql_url, Candidate(f"hub-{n}", "ca", 30.0), look_s=0.02) for n in range(2))
    heard: list[str] = []
    term = await first.lead(heard.append)
    store = Store(postgresql_url, term=term)
    await store.open()
    waiting = asyncio.ensure_future(second.lead(heard.append))
    async with asyncio.timeout(10):
        while not heard:  # noqa: ASYNC110 - nothing to be told by
            await asyncio.sleep(0.01)
    assert heard[0].startswith("standby; hub-0 leads since")
    await store.close()
    await first.give_back(term)
    assert (await asyncio.wait_for(waiting, 10)).number == term.number + 1


async def test_a_leader_that_is_replaced_stops_renewing(postgresql_url: str) -> None:
    campaigns = [Campaign(postgresql_url, Candidate(f"hub-{n}", "ca", 0.05), look_s=0.02) for n in range(2)]
    store = Store(postgresql_url, term=await campaigns[0].lead(lambda words: None))
    await store.open()
    await campaigns[1].lead(lambda words: None)  # the first has not renewed within its lease
    why = await asyncio.wait_for(keep(store, 5.0, clock=time.monotonic, sleep=asyncio.sleep), 10)
    assert "another replica has taken over" in why
    await store.close()


async def test_a_replica_with_another_ca_does_not_even_stand_by(postgresql_url: str) -> None:
    await Campaign(postgresql_url, Candidate("hub-0", "ca", 30.0)).lead(lambda words: None)
    with pytest.raises(AnotherAuthority, match="another CA"):
        await Campaign(postgresql_url, Candidate("hub-1", "its own", 30.0)).lead(lambda words: None)


async def test_a_database_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    campaign = Campaign(f"postgresql://x@/x?host={tmp_path}", Candidate("hub-0", "ca", 30.0), look_s=0.02)
    heard: list[str] = []
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(campaign.lead(heard.append), 1.0)
    assert heard[0].startswith("the database does not answer")


# ---- whole hubs ----


def given_ca(directory: Path) -> Path:
    """As a mounted Secret has it."""
    Authority.open(directory / "made", datetime.now(UTC))
    pem = (directory / "made" / "ca.pem").read_text()
    key, certificate = pem[: pem.index("-----BEGIN CERT")], pem[pem.index("-----BEGIN CERT") :]
    (directory / "ca.key").write_text(key)
    (directory / "ca.crt").write_text(certificate)
    return directory


def replica(directory: Path, url: str, name: str, **more: object) -> HubSettings:
    token = directory / "token"
    token.write_text(TOKEN + "\n")
    if not (directory / "ca.crt").exists():
        given_ca(directory)
    return HubSettings(
        data_dir=directory / name,
        rest_port=0,
        grpc_port=0,
        database_url=url,
        replica_name=name,
        leader_lease_s=2,
        ca_dir=directory,
        admin_token_file=token,
        **more,  # type: ignore[arg-type]
    )


async def using(url: str, ca: Path, use: Callable[[MusterClient], T]) -> T:
    def run() -> T:
        with MusterClient(url, TOKEN, ca=ca, patience_s=0) as muster:
            return use(muster)

    return await asyncio.to_thread(run)


async def test_a_standby_says_that_it_stands_by_and_leads_when_the_leader_ends(
    tmp_path: Path, postgresql_url: str
) -> None:
    first, second = (Hub(replica(tmp_path, postgresql_url, name)) for name in ("hub-0", "hub-1"))
    await first.start()
    starting = asyncio.ensure_future(second.start())
    while "standby" not in second._door.waits_for:
        await asyncio.sleep(0.05)
        assert not starting.done()
    async with httpx.AsyncClient(base_url=second.rest_url, verify=False) as http:
        assert (await http.get("/livez")).status_code == 200
        ready = await http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["error"]["message"].startswith("standby; hub-0 leads since")
        refused = await http.get("/v1/jobs")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert second.grpc_address == ""
    with pytest.raises(HubNotReady, match="standby; hub-0 leads"):
        await using(second.rest_url, second.ca_file, lambda muster: muster.jobs())
    job = (await using(first.rest_url, first.ca_file, lambda muster: muster.submit(JOB))).jobs[0].job
    async with httpx.AsyncClient(base_url=first.rest_url, verify=False) as http:
        assert [(await http.get(path)).status_code for path in ("/livez", "/readyz")] == [200, 200]
    await first.stop()
    await asyncio.wait_for(starting, 30)
    assert (await using(second.rest_url, second.ca_file, lambda muster: muster.job(job.id))).name == "train"
    assert second.grpc_address
    await second.stop()


async def test_a_stalled_leader_ends_when_it_finds_that_it_was_replaced(tmp_path: Path, postgresql_url: str) -> None:
    async with Hub(replica(tmp_path, postgresql_url, "hub-0")) as hub:
        await asyncio.to_thread(_take_by_force, postgresql_url)
        await asyncio.wait_for(hub.failed.wait(), 20)
        with pytest.raises((ApiError, HubUnreachable)):
            await using(hub.rest_url, hub.ca_file, lambda muster: muster.submit(JOB))


def _take_by_force(url: str) -> None:
    engine, taken = open_unpooled(url), None
    while taken is None:
        seen, _ = leadership.look(engine)  # which the leader may renew before it is taken
        taken = leadership.take(engine, seen, Candidate("hub-1", "", 30.0))


async def test_what_a_database_url_cannot_be_is_said(tmp_path: Path) -> None:
    for wrong in ("mysql://x/y", "nonsense"):
        with pytest.raises(CannotStart, match="database"):
            await Hub(HubSettings(data_dir=tmp_path, rest_port=0, grpc_port=0, database_url=wrong)).start()


@contextmanager
def a_process(directory: Path, url: str, name: str) -> Generator[tuple[subprocess.Popen[str], Path], None, None]:
    settings = replica(directory, url, name)
    command = [sys.executable, "-m", "hub.cli.main", "hub", "--rest-port=0", "--grpc-port=0"]
    for field in ("data_dir", "database_url", "replica_name", "leader_lease_s", "ca_dir", "admin_token_file"):
        command += [f"--{field.replace('_', '-')}", str(getattr(settings, field))]
    log = directory / f"{name}.log"
    with log.open("w") as file, subprocess.Popen(command, stderr=file, text=True, env=dict(os.environ)) as process:
        try:
            yield process, log
        finally:
            if process.poll() is None:
                process.kill()


def said(process: subprocess.Popen[str], log: Path, text: str, patience_s: float = 60) -> str:
    """The line of the log, once it is there."""
    deadline = time.monotonic() + patience_s
    while True:
        found = [line for line in log.read_text().splitlines() if text in line]
        if found:
            return found[0]
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def rest_of(line: str) -> str:
    return next(part.removeprefix("rest=") for part in line.split() if part.startswith("rest="))


def test_kill_9_of_the_leader_and_the_other_process_leads(tmp_path: Path, postgresql_url: str) -> None:
    with a_process(tmp_path, postgresql_url, "hub-0") as (first, first_log):
        leading = rest_of(said(first, first_log, "hub started"))
        with a_process(tmp_path, postgresql_url, "hub-1") as (second, second_log):
            said(second, second_log, "standby; hub-0 leads since")
            with MusterClient(leading, TOKEN, ca=tmp_path / "ca.crt") as muster:
                job = muster.submit(JOB).jobs[0].job
            first.send_signal(signal.SIGKILL)
            began = time.monotonic()
            next_one = rest_of(said(second, second_log, "hub started"))
            assert time.monotonic() - began < 2 + 20  # the lease and a start, on a machine that has other things to do
            with MusterClient(next_one, TOKEN, ca=tmp_path / "ca.crt") as muster:
                assert muster.job(job.id).name == "train"
            second.send_signal(signal.SIGTERM)
            assert second.wait(30) == 0
    assert TOKEN not in first_log.read_text() + second_log.read_text()


def test_a_leader_that_stood_still_too_long_ends_with_an_error(tmp_path: Path, postgresql_url: str) -> None:
    with a_process(tmp_path, postgresql_url, "hub-0") as (first, first_log):
        said(first, first_log, "hub started")
        with a_process(tmp_path, postgresql_url, "hub-1") as (second, second_log):
            said(second, second_log, "standby; hub-0 leads since")
            first.send_signal(signal.SIGSTOP)
            said(second, second_log, "hub started")
            first.send_signal(signal.SIGCONT)
            assert first.wait(60) == 1
            assert "this replica no longer leads (term 1)" in first_log.read_text()
            assert second.poll() is None


def test_a_standby_stops_when_it_is_told_to(tmp_path: Path, postgresql_url: str) -> None:
    with a_process(tmp_path, f"postgresql://nobody@/none?host={tmp_path}", "hub-0") as (process, log):
        said(process, log, "the database does not answer")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
