"""The real hub on free ports, over TLS: what only shows when everything is put together."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from hub.app import CannotStart, Hub
from hub.cli.context import resolve
from hub.client import ApiError, HubUnreachable, MusterClient
from hub.settings import HubSettings
from placement.lifecycle import Phase
from spoke import identity

T = TypeVar("T")

JOB = b"""
apiVersion: batch/v1
kind: Job
metadata: {name: train}
spec:
  parallelism: 2
  completions: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: torch, resources: {limits: {nvidia.com/gpu: 4}}}]
"""


def settings(directory: Path, **more: object) -> HubSettings:
    return HubSettings(data_dir=directory, rest_port=0, grpc_port=0, **more)  # type: ignore[arg-type]  # its fields


def client(hub: Hub, token: str | None = None) -> MusterClient:
    return MusterClient(hub.rest_url, hub.admin_token if token is None else token, ca=hub.ca_file, patience_s=0)


async def using(hub: Hub, use: Callable[[MusterClient], T], token: str | None = None) -> T:
    def run() -> T:
        with client(hub, token) as muster:
            return use(muster)

    return await asyncio.to_thread(run)


async def test_a_job_is_submitted_explained_and_cancelled(tmp_path: Path) -> None:
    async with Hub(settings(tmp_path)) as hub:

        def use(muster: MusterClient) -> None:
            job = muster.submit(JOB, key="k").jobs[0].job
            assert (job.phase, job.total_gpus, job.min_pods) == (Phase.QUEUED, 8, 2)
            assert not muster.submit(JOB, key="k").jobs[0].created
            assert muster.plan(JOB.replace(b"train", b"other"))[0].reasons[0].code == "no-clusters"
            assert muster.jobs().jobs[0].id == job.id
            assert muster.cancel("train").phase is Phase.CANCELLED
            events = muster.events(job=job.id, after=0)
            assert [next(events).phase, next(events).phase] == [Phase.QUEUED, Phase.CANCELLED]
            with pytest.raises(ApiError) as refused:
                next(muster.logs(job.id))
            assert refused.value.status == 409

        await using(hub, use)


async def test_what_is_wrong_with_a_file_is_told_and_nothing_changes(tmp_path: Path) -> None:
    async with Hub(settings(tmp_path)) as hub:

        def use(muster: MusterClient) -> None:
            for text in (
                b"",
                b"[" * 5000,
                b"a: &a [x]\nb: [*a]",
                b"kind: Nothing\napiVersion: v9\nmetadata: {name: x}",
            ):
                with pytest.raises(ApiError) as refused:
                    muster.submit(text)
                assert refused.value.status == 422
                assert refused.value.error.problems[0].mend
            assert muster.jobs().total == 0

        await using(hub, use)


async def test_users_see_their_tenant_and_viewers_only_look(tmp_path: Path) -> None:
    async with Hub(settings(tmp_path)) as hub:
        alice = (await using(hub, lambda muster: muster.add_user("alice", tenant="red"))).token
        vic = (await using(hub, lambda muster: muster.add_user("vic", tenant="blue", role="viewer"))).token
        job = (await using(hub, lambda muster: muster.submit(JOB), alice)).jobs[0].job
        for call in (lambda muster: muster.submit(JOB), lambda muster: muster.cluster_token("x")):
            with pytest.raises(ApiError) as refused:
                await using(hub, call, vic)
            assert refused.value.status == 403
        with pytest.raises(ApiError) as hidden:
            await using(hub, lambda muster: muster.job(job.id), vic)
        assert hidden.value.status == 404


async def test_a_spoke_joins_through_the_open_doors(tmp_path: Path) -> None:
    async with Hub(settings(tmp_path)) as hub:
        token = await using(hub, lambda muster: muster.cluster_token("edge-c", region="sh"))
        _, csr_pem = identity.new_request()
        joined = await using(hub, lambda muster: muster.join(token, csr_pem.decode()), "")
        assert (joined.cluster, joined.grpc_address) == ("edge-c", hub.grpc_address)
        assert joined.ca_pem == hub.ca_file.read_text() == await using(hub, lambda muster: muster.ca_pem(), "")
        with pytest.raises(ApiError, match="used"):
            await using(hub, lambda muster: muster.join(token, csr_pem.decode()), "")
        (found,) = await using(hub, lambda muster: muster.clusters())
        assert (found.region, found.health) == ("sh", "joining")


async def test_nobody_is_trusted_without_the_hubs_own_certificate(tmp_path: Path) -> None:
    async with Hub(settings(tmp_path)) as hub:
        with pytest.raises(HubUnreachable) as stranger:
            await asyncio.to_thread(MusterClient(hub.rest_url, patience_s=0).health)
        assert "ca.crt" in stranger.value.mend
        assert "PRIVATE KEY" not in hub.ca_file.read_text()


async def test_secrets_on_disk_are_their_owners_alone(tmp_path: Path) -> None:
    async with Hub(settings(tmp_path / "data")):
        for name in ("admin.token", "context.json", "pki/ca.pem", "pki/server.pem"):
            assert (tmp_path / "data" / name).stat().st_mode & 0o077 == 0, name
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0
        assert resolve({"MUSTER_CONTEXT": str(tmp_path / "data" / "context.json")}).token


async def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    async with Hub(settings(tmp_path)) as hub:
        token = hub.admin_token
        await using(hub, lambda muster: muster.submit(JOB))
        await using(hub, lambda muster: muster.set_prices(b"prices: [{cluster: a, on_demand: 3}]"))
    async with Hub(settings(tmp_path)) as hub:
        assert hub.admin_token == token
        assert (await using(hub, lambda muster: muster.jobs())).total == 1
        assert (await using(hub, lambda muster: muster.prices())).prices[0].on_demand == 3


async def test_a_token_file_that_was_lost_is_not_made_up(tmp_path: Path) -> None:
    async with Hub(settings(tmp_path)):
        pass
    (tmp_path / "admin.token").unlink()
    async with Hub(settings(tmp_path)) as hub:
        assert hub.admin_token == ""
        assert not (tmp_path / "admin.token").exists()


async def test_the_price_book_file_counts_at_start(tmp_path: Path) -> None:
    book = tmp_path / "prices.yaml"
    book.write_text("prices: [{cluster: a, product: H100, on_demand: 4, spot: 2}]\nusd_per_cpu_hour: 0.1\n")
    async with Hub(settings(tmp_path / "data", price_book=book)) as hub:
        shown = await using(hub, lambda muster: muster.prices())
        assert (shown.prices[0].spot, shown.usd_per_cpu_hour) == (2, 0.1)


async def test_what_is_in_the_way_of_a_start_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    book = tmp_path / "prices.yaml"
    book.write_text("prices: [{cluster: a, on_demand: -4}]")
    file = tmp_path / "file"
    file.write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for wrong, says in (
            ({"price_book": book}, r"prices\[0\].on_demand"),
            ({"data_dir": file / "x"}, "data directory"),
            ({"rest_port": port}, f"cannot listen on 127.0.0.1:{port}"),
            ({"database_url": f"sqlite:///{file}/hub.sqlite"}, "database"),
            ({"database_url": "nonsense"}, "database"),
        ):
            asked = settings(tmp_path / "data").model_copy(update=wrong)
            with pytest.raises(CannotStart, match=says):
                await Hub(asked).start()
    damaged = tmp_path / "data" / "pki" / "ca.pem"
    kept = damaged.read_bytes()
    damaged.write_text("x")
    with pytest.raises(CannotStart, match=r"ca\.pem"):
        await Hub(settings(tmp_path / "data")).start()
    damaged.write_bytes(kept)
    async with Hub(settings(tmp_path / "data")) as hub:
        with pytest.raises(CannotStart, match="another hub"):
            await Hub(settings(tmp_path / "data")).start()
        assert (await using(hub, lambda muster: muster.health())).status == "ok"
    left = set(threading.enumerate()) - before
    assert {one.name for one in left if one.name.startswith("store")} == set()


async def test_stopping_ends_open_streams_at_once(tmp_path: Path) -> None:
    hub = Hub(settings(tmp_path))
    await hub.start()
    trust = ssl.create_default_context(cafile=str(hub.ca_file))
    headers = {"Authorization": f"Bearer {hub.admin_token}"}
    async with (
        httpx.AsyncClient(base_url=hub.rest_url, headers=headers, verify=trust) as http,
        http.stream("GET", "/v1/events") as answer,
    ):
        assert answer.status_code == 200
        began = asyncio.get_running_loop().time()
        await asyncio.gather(hub.stop(), answer.aread())
        assert asyncio.get_running_loop().time() - began < 4


async def test_a_small_answer_takes_no_delayed_acknowledgement(tmp_path: Path) -> None:
    async with Hub(settings(tmp_path)) as hub:

        def fastest(muster: MusterClient) -> float:
            muster.health()
            return min(_timed(muster.health) for _ in range(20))

        assert await using(hub, fastest) < 0.03


async def test_a_loop_that_dies_is_noticed(tmp_path: Path) -> None:
    async with Hub(settings(tmp_path)) as hub:
        (placing,) = [task for task in asyncio.all_tasks() if task.get_name() == "placing"]
        placing.cancel()
        await asyncio.wait_for(hub.failed.wait(), 5)


async def test_a_rest_server_that_dies_is_noticed(tmp_path: Path) -> None:
    async with Hub(settings(tmp_path)) as hub:
        (rest,) = [task for task in asyncio.all_tasks() if task.get_name() == "rest"]
        rest.cancel()
        await asyncio.wait_for(hub.failed.wait(), 5)


async def test_probes_need_no_token_and_say_when_a_part_has_failed(tmp_path: Path) -> None:
    async with Hub(settings(tmp_path)) as hub:
        trust = ssl.create_default_context(cafile=str(hub.ca_file))
        async with httpx.AsyncClient(base_url=hub.rest_url, verify=trust) as http:
            for path in ("/livez", "/readyz", "/v1/healthz", "/v1/readyz"):
                assert (await http.get(path)).status_code == 200
            hub.failed.set()
            answer = await http.get("/readyz")
            assert (answer.status_code, (await http.get("/livez")).status_code) == (503, 200)
            assert "a part of the hub has failed" in answer.json()["error"]["message"]


def test_the_process_starts_serves_and_stops_by_a_signal(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "hub.cli.main",
        "hub",
        "--data-dir",
        str(tmp_path),
        "--rest-port=0",
        "--grpc-port=0",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        while "hub started" not in (line := process.stderr.readline()):
            lines.append(line)
            assert process.poll() is None, lines
        token = (tmp_path / "admin.token").read_text().strip()
        assert token not in line + "".join(lines)
        open_to_others = {file.name for file in tmp_path.rglob("*") if file.is_file() and file.stat().st_mode & 0o077}
        assert open_to_others == {"ca.crt"}
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(20) == 0, rest
    assert "Traceback" not in rest


def test_a_hub_that_cannot_start_says_so(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    command = [sys.executable, "-m", "hub.cli.main", "hub", "--data-dir", str(tmp_path / "x" / "y")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot start: the data directory" in done.stderr
    assert "→" in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = ["--data-dir", str(tmp_path / "data"), "--rest-port=0", f"--grpc-port={port}"]
        done = subprocess.run([*command[:4], *ports], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port} for spokes" in done.stderr
    wrong = subprocess.run([*command, "--log-level", "loud"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, "log_level" in wrong.stderr) == (2, True)


def _timed(call: Callable[[], object]) -> float:
    import time

    began = time.perf_counter()
    call()
    return time.perf_counter() - began


SECRET = b"""
apiVersion: v1
kind: Secret
metadata: {name: token}
stringData: {password: hunter2}
---
"""
MIRROR = b"""
apiVersion: muster.dev/v1
kind: Override
metadata: {name: mirror}
spec: {clusters: {names: [east]}, images: [{from: docker.io, to: mirror.east/hub}]}
"""


async def test_what_would_be_applied_is_shown_without_secrets_unless_asked(tmp_path: Path) -> None:
    async with Hub(settings(tmp_path)) as hub:

        def use(muster: MusterClient) -> None:
            muster.cluster_token("east")
            muster.cluster_token("west")
            muster.apply(MIRROR)
            (east,), (west,) = (muster.manifests(SECRET + JOB, name) for name in ("east", "west"))
            assert (east.overrides, west.overrides) == (["mirror"], [])
            secret, job = east.objects
            assert secret["stringData"] == {"password": "hidden"}
            pod = job["spec"]["template"]["spec"]
            assert pod["containers"][0]["image"] == "mirror.east/hub/library/torch"
            assert (pod["schedulerName"], job["metadata"]["labels"]["muster.dev/job"]) == ("muster", "j-planned")
            assert west.objects[1]["spec"]["template"]["spec"]["containers"][0]["image"] == "torch"
            (open_,) = muster.manifests(SECRET + JOB, "west", show_secrets=True)
            assert open_.objects[0]["stringData"] == {"password": "hunter2"}
            with pytest.raises(ApiError, match="there is no cluster 'eats'") as unknown:
                muster.manifests(JOB, "eats")
            assert unknown.value.error.mend == "did you mean 'east'?"

        await using(hub, use)
