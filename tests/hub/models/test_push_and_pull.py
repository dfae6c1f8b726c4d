"""A directory pushed to the real hub and read again: by `muster`, by plain HTTP, by Hugging Face's own client."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from e2e.programs import MUSTER, ROOT, HubProgram, HubSettings
from hub import model_pull, model_push
from hub.cli.main import app
from hub.client import ApiError, MusterClient
from hub.model_push import Did, Label
from registry.references import Revision
from tests.hub.models import samples


def muster(program: HubProgram, *args: str) -> Result:
    return CliRunner().invoke(app, list(args), env=_environment(program) | {"COLUMNS": "160"})


def pushed(program: HubProgram, directory: Path, label: Label) -> dict[Did, int]:
    counted = dict.fromkeys(Did, 0)

    def tell(did: Did, count: int) -> None:
        counted[did] += count

    with program.client(program.admin_token) as client:
        model_push.push(client, model_push.look(directory), label, tell)
    return counted


def test_what_is_pushed_is_pulled(program: HubProgram, sample: Path, tmp_path: Path) -> None:
    (sample / ".hidden").write_text("no")
    flags = ["--alias", "champion", "--require", "accelerator=nvidia", "--require", "vram=16GiB"]
    done = muster(program, "model", "push", str(sample), "--name", "org/llama", *flags, "--measured", "quality=0.71")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("org/llama:1 (default) pushed: 5 files, ")
    assert "left out: .hidden" in done.stderr
    again = muster(program, "model", "push", str(sample), "--name", "org/llama", *flags, "--measured", "quality=0.71")
    assert again.stdout.startswith("org/llama:1 (default) is this already: ")
    assert "0 B sent" in again.stdout

    there = tmp_path / "pulled"
    done = muster(program, "model", "pull", "org/llama@champion", str(there))
    assert done.exit_code == 0, done.stderr
    assert samples.files(there) == samples.files(sample)
    assert not (there / model_pull.PARTS).exists()
    (there / "README.md").write_text("changed")
    done = muster(program, "model", "pull", "org/llama:1", str(there))
    assert "7 B fetched" in done.stdout
    assert samples.files(there) == samples.files(sample)

    listed = muster(program, "model", "list").stdout
    assert "org/llama" in listed
    assert "champion=1" in listed
    shown = muster(program, "model", "show", "org/llama").stdout
    assert "nvidia, 17.2 GB of VRAM; quality 0.71" in shown
    assert "Stored" in muster(program, "model", "status").stdout


def test_a_second_version_sends_what_changed(program: HubProgram, sample: Path) -> None:
    weights = samples.tensors(2)
    samples.write(sample, weights)
    first = pushed(program, sample, Label("tuned"))
    weights["layers.3.weight"] = samples.tensors(3)["layers.3.weight"]
    samples.write(sample, weights)
    second = pushed(program, sample, Label("tuned"))
    assert first[Did.SENT] > 9_000_000
    one = weights["layers.3.weight"].nbytes
    assert one <= second[Did.SENT] <= one + 600_000  # the tensor, the header with what was gathered around it
    with program.client(program.admin_token) as client:
        assert [version.number for version in client.models.show("tuned").versions] == [1, 2]


def test_a_push_that_is_killed_goes_on(program: HubProgram, tmp_path: Path) -> None:
    directory = samples.write(tmp_path / "large", samples.tensors(9, count=24, rows=1024))
    env = os.environ | _environment(program)
    before = _stored(program)
    killed = subprocess.Popen(
        [*MUSTER, "model", "push", str(directory), "--name", "large"], env=env, cwd=ROOT, stderr=subprocess.DEVNULL
    )
    with program.client(program.admin_token) as client:
        while client.models.storage().stored < before + 12 * 4 * 1024 * 1024:
            assert killed.poll() is None, "it was too quick to be killed"
            time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    kept = _stored(program) - before
    total = sum(len(data) for data in samples.files(directory).values())
    again = pushed(program, directory, Label("large"))
    assert 0 < kept < total
    # What was on its way when it was killed may have arrived after the count.
    assert again[Did.SENT] <= total - kept
    assert again[Did.SENT] + kept >= total - 4 * 4 * 1024 * 1024
    with program.client(program.admin_token) as client:
        wanted = model_pull.look(client, "large", Revision())
        model_pull.pull(client, wanted, tmp_path / "there", lambda count, came: None)
    assert samples.files(tmp_path / "there") == samples.files(directory)


def test_a_pull_goes_on_where_it_stopped(program: HubProgram, sample: Path, tmp_path: Path) -> None:
    pushed(program, sample, Label("pulled"))
    there = tmp_path / "there"

    class Stop(Exception): ...

    def stop(count: int, came: bool) -> None:
        seen.append(count if came else 0)
        if sum(seen) > 4_000_000:
            raise Stop

    seen: list[int] = []
    with program.client(program.admin_token) as client:
        wanted = model_pull.look(client, "pulled", Revision())
        with pytest.raises(Stop):
            model_pull.pull(client, wanted, there, stop)
        assert not (there / "model.safetensors").exists()
        came: list[int] = []
        model_pull.pull(client, wanted, there, lambda count, fetched: came.append(count if fetched else 0))
    assert samples.files(there) == samples.files(sample)
    assert sum(came) <= wanted.manifest.size - 4_000_000


def test_plain_http_with_ranges(program: HubProgram, sample: Path) -> None:
    pushed(program, sample, Label("plain", aliases=("champion",)))
    data = (sample / "model.safetensors").read_bytes()
    url = f"{program.url}/v1/models/plain/-/files/champion/model.safetensors"
    headers = {"Authorization": f"Bearer {program.admin_token}"}
    with httpx.Client(headers=headers, verify=_tls(program)) as http:
        whole = http.get(url)
        assert whole.content == data
        etag = whole.headers["etag"]
        assert etag == f'"{hashlib.sha256(data).hexdigest()}"'
        for asked, part in (
            ("bytes=0-0", data[:1]),
            ("bytes=1000000-5000000", data[1_000_000:5_000_001]),
            ("bytes=-7", data[-7:]),
            (f"bytes={len(data) - 3}-", data[-3:]),
        ):
            answer = http.get(url, headers={"Range": asked})
            assert (answer.status_code, answer.content) == (206, part)
            assert answer.headers["content-range"].endswith(f"/{len(data)}")
        assert http.get(url, headers={"Range": f"bytes={len(data)}-"}).status_code == 416
        assert http.get(url, headers={"Range": "bytes=0-4", "If-Range": '"other"'}).content == data
        assert http.get(url, headers={"If-None-Match": etag}).status_code == 304
        head = http.head(url)
        assert (head.headers["content-length"], head.content) == (str(len(data)), b"")
        assert http.get(url.replace("model.safetensors", "empty.txt")).content == b""
        assert http.get(url.replace("model.safetensors", "../../../secrets")).status_code in (404, 422)
        assert http.get(url, headers={"Authorization": "Bearer no"}).status_code == 401


def test_hugging_face_reads_it(
    program: HubProgram, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(program, sample, Label("org/hugging", aliases=("champion",)))
    script = """
import sys, json
from huggingface_hub import HfApi, snapshot_download, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
endpoint, token, cache, local = sys.argv[1:]
told = {"newest": snapshot_download("org/hugging", endpoint=endpoint, token=token, cache_dir=cache)}
told["again"] = snapshot_download("org/hugging", revision="champion", endpoint=endpoint, token=token, cache_dir=cache)
told["local"] = snapshot_download("org/hugging", revision="1+default", endpoint=endpoint, token=token, local_dir=local)
told["one"] = hf_hub_download("org/hugging", "tokenizer/vocab.json", endpoint=endpoint, token=token, cache_dir=cache)
told["sha"] = HfApi(endpoint, token=token).model_info("org/hugging").sha
told["files"] = HfApi(endpoint, token=token).list_repo_files("org/hugging")
told["refused"] = []
for what in (dict(repo_id="org/none"), dict(repo_id="org/hugging", revision="none")):
    try:
        snapshot_download(endpoint=endpoint, token=token, cache_dir=cache, **what)
    except Exception as error:
        told["refused"].append(type(error).__name__)
try:
    hf_hub_download("org/hugging", "none.bin", endpoint=endpoint, token=token, cache_dir=cache)
except Exception as error:
    told["refused"].append(type(error).__name__)
print(json.dumps(told))
"""
    arguments = [program.url, program.admin_token, str(tmp_path / "cache"), str(tmp_path / "local")]
    env = os.environ | {"SSL_CERT_FILE": str(program.ca), "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run([MUSTER[0], "-c", script, *arguments], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert samples.files(Path(told["newest"])) == samples.files(sample)
    assert told["newest"] == told["again"]
    assert Path(told["newest"]).name == told["sha"]
    assert samples.files(tmp_path / "local") == samples.files(sample)
    assert Path(told["one"]).read_bytes() == (sample / "tokenizer/vocab.json").read_bytes()
    assert set(told["files"]) == set(samples.files(sample))
    assert told["refused"] == ["RepositoryNotFoundError", "RevisionNotFoundError", "RemoteEntryNotFoundError"]


def test_tenants_see_their_own_and_everybodys(program: HubProgram, sample: Path) -> None:
    with program.client(program.admin_token) as admin:
        red, blue, viewer = (
            admin.add_user(name, tenant=tenant, role=role).token
            for name, tenant, role in (
                ("rita", "red", "submitter"),
                ("bob", "blue", "submitter"),
                ("vera", "red", "viewer"),
            )
        )
    found = model_push.look(sample)
    with program.client(red) as client:
        model_push.push(client, found, Label("secret"), lambda did, count: None)
        with pytest.raises(ApiError, match="pushes no models of everybody"):
            model_push.push(client, found, Label("common", tenant=""), lambda did, count: None)
    with program.client(program.admin_token) as admin:
        model_push.push(admin, found, Label("common", tenant=""), lambda did, count: None)
    with program.client(blue) as client:
        assert [one.name for one in client.models.list()] == ["common"]
        for attempt in (
            lambda: client.models.show("secret"),
            lambda: client.models.show("secret", tenant="red"),
            lambda: client.models.manifest("secret", Revision()),
            lambda: client.models.set_alias("secret", "mine", 1),
            lambda: client.models.delete("secret", tenant="red"),
        ):
            with pytest.raises(ApiError, match="there is no model 'secret'"):
                attempt()
        with pytest.raises(ApiError, match="is everybody's"):
            client.models.delete("common")
        # The same bytes of another tenant are not there for this one.
        counted = dict.fromkeys(Did, 0)

        def tell(did: Did, count: int) -> None:
            counted[did] += count

        model_push.push(client, found, Label("mine"), tell)
        assert counted[Did.SENT] == found.size
    with program.client(viewer) as client:
        assert client.models.show("secret").tenant == "red"
        with pytest.raises(ApiError, match="is a viewer"):
            client.models.set_alias("secret", "x", 1)
        with pytest.raises(ApiError, match="is a viewer"):
            client.models.put_chunk("0" * 64, b"x")


def test_aliases_move_and_versions_go(program: HubProgram, sample: Path) -> None:
    pushed(program, sample, Label("moving", aliases=("champion",)))
    (sample / "README.md").write_text("another")
    pushed(program, sample, Label("moving"))
    refused = muster(program, "model", "delete", "moving:1")
    assert refused.exit_code == 1
    assert "version 1 of moving is champion" in refused.stderr
    assert muster(program, "model", "alias", "moving", "champion", "2").stdout == "moving@champion is version 2\n"
    assert muster(program, "model", "delete", "moving:1").exit_code == 0
    assert muster(program, "model", "pull", "moving:1", str(sample / "no")).exit_code == 3
    pushed(program, sample, Label("moving"))  # the newest is this already
    (sample / "README.md").write_text("a third")
    pushed(program, sample, Label("moving", variant="int8"))
    with program.client(program.admin_token) as client:
        assert [version.number for version in client.models.show("moving").versions] == [2, 3]
    assert muster(program, "model", "delete", "moving").exit_code == 0
    assert muster(program, "model", "show", "moving").exit_code == 3


def test_a_model_in_an_object_store(program: HubProgram, sample: Path, tmp_path: Path) -> None:
    done = muster(program, "model", "push", f"file://{sample}", "--name", "fetched", "-o", "json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["version"] == 1
    assert muster(program, "model", "pull", "fetched", str(tmp_path / "there")).exit_code == 0
    assert samples.files(tmp_path / "there") == samples.files(sample)
    empty = tmp_path / "empty"
    empty.mkdir()
    refused = muster(program, "model", "push", f"file://{empty}", "--name", "fetched")
    assert (refused.exit_code, "there is nothing below" in refused.stderr) == (1, True)
    assert "ftp:// is nothing" in muster(program, "model", "push", "ftp://host/a", "--name", "fetched").stderr
    assert "is no model's name" in muster(program, "model", "push", str(sample), "--name", "a/b/c").stderr


def test_a_hub_that_is_killed_under_a_push_and_a_pull(tmp_path: Path) -> None:
    model = samples.write(tmp_path / "model", samples.tensors(21, count=16, rows=1024))
    program = HubProgram(tmp_path / "hub", HubSettings())
    program.start()

    class Killing:
        """After so many bytes the hub is killed, and started again."""

        def __init__(self, after: int) -> None:
            self.left, self.lock = after, threading.Lock()
            self.thread: threading.Thread | None = None

        def __call__(self, count: int) -> None:
            with self.lock:
                self.left -= count
                if self.left < 0 and self.thread is None:
                    self.thread = threading.Thread(target=self.again)
                    self.thread.start()

        def again(self) -> None:
            program.kill()
            program.start()

    try:
        with MusterClient(program.url, program.admin_token, ca=program.ca, patience_s=60) as client:
            pushing = Killing(20_000_000)
            model_push.push(
                client,
                model_push.look(model),
                Label("survivor"),
                lambda did, count: pushing(count if did is Did.SENT else 0),
            )
            assert pushing.thread is not None
            pushing.thread.join()
            pulling = Killing(20_000_000)
            wanted = model_pull.look(client, "survivor", Revision())
            model_pull.pull(client, wanted, tmp_path / "there", lambda count, came: pulling(count))
            assert pulling.thread is not None
            pulling.thread.join()
            assert [version.number for version in client.models.show("survivor").versions] == [1]
    finally:
        program.stop()
    assert samples.files(tmp_path / "there") == samples.files(model)


def _stored(program: HubProgram) -> int:
    with program.client(program.admin_token) as client:
        return client.models.storage().stored


def _environment(program: HubProgram) -> dict[str, str]:
    return {"MUSTER_URL": program.url, "MUSTER_TOKEN": program.admin_token, "MUSTER_CA": str(program.ca)}


def _tls(program: HubProgram) -> ssl.SSLContext:
    return MusterClient(program.url, ca=program.ca).tls
