"""The commands as a script sees them: what is on stdout, what on stderr, and the exit code."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from hub.api.schemas import JobOut, PlanOut, PriceBookDoc
from hub.cli import exits
from hub.errors import ConflictError
from hub.happenings import Happening
from placement.lifecycle import Phase
from placement.safety.policy import Exemption
from tests.hub.api.fakes import FakeHub, Lines, event
from tests.hub.cli.conftest import Muster


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "train.yaml"
    path.write_bytes(b"train\n")
    return str(path)


def test_submit_prints_id_and_phase(muster: Muster, file: str) -> None:
    result = muster("submit", file, "--namespace", "ml", "--if-too-large", "reject")
    assert result.exit_code == exits.OK
    assert result.stdout.splitlines()[1].split() == ["j-0000000005", "train", "PyTorchJob", "32", "QUEUED"]
    assert muster.hub.jobs.calls[-1][:3] == ("submit", b"train\n", "ml")
    assert muster.hub.jobs.calls[-1][-1] == "reject"


def test_submit_from_standard_input_as_json(muster: Muster) -> None:
    result = muster("submit", "-", "-o", "json", stdin=b"warned")
    assert json.loads(result.stdout)["jobs"][0]["job"]["name"] == "warned"
    assert "did you mean queue?" in result.stderr


def test_a_key_makes_a_submit_repeatable(muster: Muster, file: str) -> None:
    first = muster("submit", file, "--key", "nightly")
    again = muster("submit", file, "--key", "nightly")
    assert "submitted before" in again.stdout
    assert first.stdout.split()[5] == again.stdout.split()[5]


def test_several_files_are_taken_all_or_none(muster: Muster, file: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("bad")
    before = len(muster.hub.jobs.jobs)
    result = muster("submit", file, str(bad))
    assert result.exit_code == exits.FAILED
    assert len(muster.hub.jobs.jobs) == before
    assert "  document 1, spec.replicas: -1 is negative" in result.stderr
    assert "→ give 0 or more" in result.stderr
    assert muster("submit", file, file).exit_code == exits.OK
    assert len(muster.hub.jobs.jobs) == before + 2


def test_wrong_usage_changes_nothing_and_exits_with_2(muster: Muster, file: str, tmp_path: Path) -> None:
    binary = tmp_path / "x.bin"
    binary.write_bytes(b"\xff\xfe")
    for args in (
        ("submit",),
        ("submit", str(tmp_path / "missing.yaml")),
        ("submit", str(tmp_path)),
        ("submit", file, "--if-too-large", "maybe"),
        ("submit", file, str(binary)),
        ("jobs", "--phase", "asleep"),
        ("jobs", "--limit", "0"),
        ("plan", "-o", "xml", file),
        ("nonsense",),
        ("cluster", "token", "x", "--label", "gold"),
        ("user", "add", "eve", "--role", "king"),
    ):
        result = muster(*args)
        assert result.exit_code == exits.USAGE, args
        assert "Traceback" not in result.stderr
        assert result.stderr
    assert muster.hub.jobs.calls == []


def test_a_file_over_a_mebibyte_is_not_sent(muster: Muster, tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b" " * ((1 << 20) + 1))
    result = muster("submit", str(large))
    assert (result.exit_code, "over 1 MiB" in result.stderr) == (exits.FAILED, True)


@pytest.mark.parametrize(("verdict", "code"), [("placed", 0), ("rejected", 1), ("waiting", 6)])
def test_plan_says_its_verdict_by_its_exit_code(muster: Muster, file: str, verdict: str, code: int) -> None:
    muster.hub.jobs.verdict = verdict
    assert muster("plan", file).exit_code == code
    as_json = muster("plan", file, "-o", "json")
    assert as_json.exit_code == code
    assert PlanOut.model_validate_json(as_json.stdout).verdict == verdict


def test_the_plan_of_many_is_a_list(muster: Muster) -> None:
    assert [one["workload"]["name"] for one in json.loads(muster("plan", "-", "-o", "json", stdin=b"many").stdout)] == [
        "one",
        "two",
    ]
    assert [
        one["workload"]["gang"] for one in yaml.safe_load(muster("plan", "-", "-o", "yaml", stdin=b"many").stdout)
    ] == [
        {"min_pods": 4, "groups": 1, "awaited": None, "topology": None},
        {"min_pods": 4, "groups": 1, "awaited": None, "topology": None},
    ]
    assert muster("plan", "-", stdin=b"many").stdout.count("✔ placed") == 2


def test_jobs_are_the_unfinished_ones_unless_asked(muster: Muster) -> None:
    assert "warm-up" not in muster("jobs").stdout
    assert "warm-up" in muster("jobs", "--all").stdout
    assert muster("jobs", "--phase", "succeeded").stdout.count("j-") == 1
    found = json.loads(muster("jobs", "-o", "json", "--name", "mis").stdout)
    assert [JobOut.model_validate_json(json.dumps(one)).phase for one in found] == [Phase.QUEUED]
    assert "2 jobs; --limit shows more" in muster("jobs", "--limit", "1").stderr


def test_no_jobs_is_said_on_stderr(muster: Muster) -> None:
    muster.hub.jobs.jobs = {}
    result = muster("jobs")
    assert (result.exit_code, result.stdout) == (exits.OK, "")
    assert "--all" in result.stderr
    assert muster("jobs", "-o", "json").stdout == "[]\n"


def test_jobs_reads_as_many_pages_as_the_limit_needs(muster: Muster) -> None:
    one = muster.hub.jobs.jobs["j-0000000001"]
    muster.hub.jobs.jobs = {f"j-{n}": replace(one, id=f"j-{n}") for n in range(1, 2502)}
    assert len(json.loads(muster("jobs", "--limit", "2500", "-o", "json").stdout)) == 2500


def test_show_explain_cancel(muster: Muster) -> None:
    assert "0-7" in muster("show", "llama-70b").stdout
    assert json.loads(muster("show", "llama-70b", "-o", "json").stdout)["pods"][0]["node"] == "gpu-01"
    assert "edge-c has no nvidia.com/gpu" in muster("explain", "llama-70b", columns=160).stdout
    assert yaml.safe_load(muster("explain", "llama-70b", "-o", "yaml").stdout)["decision"]["chosen"] == "onprem-a"
    result = muster("cancel", "llama-70b", "nothing")
    assert result.exit_code == exits.NOT_FOUND
    assert result.stdout == "j-0000000001 CANCELLED\n"
    assert "nothing: there is no job nothing" in result.stderr


@pytest.mark.parametrize(
    ("as_", "args", "code"),
    [
        ("alice", ("show", "nothing"), exits.NOT_FOUND),
        ("bob", ("show", "llama-70b"), exits.NOT_FOUND),
        ("alice", ("events", "--job", "nothing"), exits.NOT_FOUND),
        ("alice", ("logs", "nothing"), exits.NOT_FOUND),
        ("vic", ("cancel", "llama-70b"), exits.NOT_ALLOWED),
        ("thief", ("whoami",), exits.NOT_ALLOWED),
        ("alice", ("user", "list"), exits.NOT_ALLOWED),
        ("admin", ("cluster", "remove", "onprem-a"), exits.FAILED),
        ("admin", ("cluster", "show", "moon"), exits.NOT_FOUND),
    ],
)
def test_refusals_have_exit_codes(muster: Muster, as_: str, args: tuple[str, ...], code: int) -> None:
    muster.as_ = as_
    result = muster(*args)
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("muster: ")
    assert "→" in result.stderr


def test_an_internal_error_shows_its_id_and_no_traceback(muster: Muster) -> None:
    result = muster("submit", "-", stdin=b"bug")
    assert result.exit_code == exits.FAILED
    assert "hub's log" in result.stderr
    assert "hunter2" not in result.output


def test_logs_name_the_pod_on_every_line(muster: Muster) -> None:
    muster.hub.jobs.lines = [Lines("m-0", b"step 1\nstep 2\n"), Lines("w-1", b"step 1\n")]
    result = muster("logs", "llama-70b", "--role", "Master", "--tail", "5")
    assert result.stdout == "m-0 | step 1\nm-0 | step 2\nw-1 | step 1\n"
    assert muster.hub.jobs.calls[-1] == ("logs", "llama-70b", "Master", False, 5)


def test_logs_that_break_exit_with_1(muster: Muster) -> None:
    broken = ConflictError("the log ended early", code="log-broken", mend="ask for it again")
    muster.hub.jobs.lines = [Lines("m-0", b"step 1\n"), broken]
    result = muster("logs", "llama-70b")
    assert (result.exit_code, result.stdout) == (exits.FAILED, "m-0 | step 1\n")
    assert "ended early" in result.stderr


def test_events(muster: Muster) -> None:
    lines = muster("events", "--job", "llama-70b", "--after", "1").stdout.splitlines()
    assert [line.split()[3] for line in lines] == ["PLACED", "STARTING", "RUNNING"]
    as_json = [json.loads(line) for line in muster("events", "-o", "json").stdout.splitlines()]
    assert [one["seq"] for one in as_json] == [1, 2, 3, 4]


def test_waiting_for_a_job_says_how_it_went(muster: Muster, file: str) -> None:
    muster("submit", file, "--key", "k")
    submitted = muster.hub.jobs.jobs["j-0000000005"]
    for phase, code in ((Phase.SUCCEEDED, exits.OK), (Phase.FAILED, exits.FAILED), (Phase.CANCELLED, exits.FAILED)):
        muster.hub.jobs.happened = [
            event(11, submitted, Phase.QUEUED, "submit"),
            event(12, submitted, Phase.RUNNING, "running", "all 4 pods run"),
            event(13, submitted, phase, "end", "by itself"),
        ]
        result = muster("submit", file, "--key", "k", "--wait")
        assert result.exit_code == code
        assert f"j-0000000005 train {phase}: by itself" in result.stderr


def test_waiting_ends_when_time_is_up(muster: Muster, file: str) -> None:
    result = muster("submit", file, "--wait", "--timeout", "0.05")
    assert result.exit_code == exits.WAITING
    assert "has not ended in 0.05 s" in result.stderr


def test_following_shows_the_logs_too(muster: Muster, file: str) -> None:
    muster("submit", file, "--key", "k")
    submitted = muster.hub.jobs.jobs["j-0000000005"]
    muster.hub.jobs.happened = [
        event(12, submitted, Phase.RUNNING, "running"),
        event(13, submitted, Phase.SUCCEEDED, "succeed"),
    ]
    muster.hub.jobs.lines = [Lines("m-0", b"loss 0.1\n")]
    muster.hub.jobs.logs_end = True
    result = muster("submit", file, "--key", "k", "--follow")
    assert result.exit_code == exits.OK
    assert "m-0 | loss 0.1\n" in result.stdout
    assert muster("submit", file, file, "--follow").exit_code == exits.USAGE


def test_clusters(muster: Muster) -> None:
    muster.as_ = "admin"
    assert "lost, cordoned" in muster("cluster", "list").stdout
    assert json.loads(muster("cluster", "list", "-o", "json").stdout)[0]["gpus_free"] == 24
    assert "24 free of 64" in muster("cluster", "show", "onprem-a").stdout
    token = muster("cluster", "token", "edge-d", "--region", "sh", "--label", "tier=gold")
    assert token.stdout.strip() in muster.hub.clusters.tokens
    for args, cordoned in (
        (("cordon",), True),
        (("uncordon",), False),
        (("cordon",), True),
        (("cordon", "--off"), False),
    ):
        muster("cluster", *args, "onprem-a")
        assert muster.hub.clusters.clusters["onprem-a"].cordoned is cordoned
    assert "2 jobs sent back" in muster("cluster", "drain", "onprem-a").stdout
    assert muster("cluster", "remove", "onprem-a", "--force").exit_code == exits.OK
    assert "onprem-a" not in muster.hub.clusters.clusters


def test_no_clusters_yet(muster: Muster) -> None:
    muster.hub.clusters.clusters = {}
    assert "muster cluster token" in muster("cluster", "list").stderr


def test_tenants_are_described_bit_by_bit(muster: Muster) -> None:
    muster.as_ = "admin"
    assert muster("tenant", "set", "red", "--namespace", "red", "--namespace", "red-*").stdout == (
        "red: red, red-*, level baseline\n"
    )
    assert muster("tenant", "set", "red", "--level", "restricted", "--allow", "hostIPC").exit_code == exits.OK
    assert muster("tenant", "set", "red", "--kind", "kubeflow.org/*", "--host-path", "/data").exit_code == exits.OK
    known = muster.hub.tenants.known["red"]
    assert (known.namespaces, known.level, known.kinds) == (("red", "red-*"), "restricted", ("kubeflow.org/*",))
    assert known.exemptions == (Exemption(("*",), ("hostIPC",), ("IPC_LOCK",), ("/data",)),)
    assert "red, red-*" in muster("tenant", "list").stdout
    shown = muster("tenant", "show", "red").stdout
    assert "capabilities IPC_LOCK" in shown
    assert "to read /data of nodes" in shown
    for wrong, said in (
        (("--level", "tight"), "one of privileged, baseline, restricted"),
        (("--namespace", "Red"), "'Red' is no namespace"),
        (("--kind", "Job"), "write batch/v1/Job"),
        (("--allow", "hostNetwrk"), "did you mean hostNetwork?"),
        (("--capability", "CAP_SYS_ADMIN"), "without CAP_"),
        (("--host-path", "data"), "no folder of a node"),
    ):
        refused = muster("tenant", "set", "red", *wrong)
        assert (refused.exit_code, said in refused.stderr) == (exits.USAGE, True), refused.stderr
    assert muster("tenant", "delete", "red").exit_code == exits.OK
    assert muster.hub.tenants.known == {}


def test_tenants_can_be_applied_from_a_file(muster: Muster, tmp_path: Path) -> None:
    muster.as_ = "admin"
    file = tmp_path / "red.yaml"
    said = "apiVersion: muster.dev/v1\nkind: Tenant\nmetadata: {name: red}\nspec: {level: restricted}\n"
    file.write_text(said)
    assert muster("apply", "-f", str(file)).exit_code == exits.OK
    assert muster.hub.tenants.known["red"].namespaces == ("red",)
    file.write_text(said.replace("level: restricted", "exemptions: [{controls: [hostNet]}]"))
    refused = muster("apply", "-f", str(file))
    assert "spec.exemptions[0].controls[0]" in refused.stderr
    assert "there is no control 'hostNet'" in refused.stderr


def test_users_and_prices(muster: Muster, tmp_path: Path) -> None:
    muster.as_ = "admin"
    assert muster("user", "add", "eve", "--tenant", "blue", "--role", "viewer").stdout == "eve-token\n"
    assert "eve" in muster("user", "list").stdout
    assert muster("user", "remove", "eve").exit_code == exits.OK
    shown = muster("price", "show", "-o", "yaml").stdout
    assert PriceBookDoc.model_validate(yaml.safe_load(shown)).prices[0].on_demand == 4.1
    book = tmp_path / "book.yaml"
    book.write_text(shown.replace("4.1", "5"))
    assert muster("price", "set", str(book)).exit_code == exits.OK
    assert muster.hub.prices.kept.prices["cloud-b", "H100"].on_demand_usd_per_gpu_hour == 5
    book.write_text("prices: [{cluster: a, on_demand: -1}]")
    refused = muster("price", "set", str(book))
    assert (refused.exit_code, "prices[0].on_demand" in refused.stderr) == (exits.FAILED, True)


def test_version_and_help(muster: Muster, hub: FakeHub) -> None:
    assert muster("version").stdout.startswith("muster ")
    assert "Exit codes: 0 ok" in muster("--help").stdout
    for command in ("submit", "plan", "jobs", "logs", "hub", "cluster", "user", "price"):
        assert muster(command, "--help").exit_code == exits.OK
    assert hub.jobs.calls == []


def test_events_of_one_job_with_its_clusters(muster: Muster) -> None:
    first, last = datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 1, 12, 5, 9, tzinfo=UTC)
    muster.hub.happenings.found = [
        Happening(first, first, 1, "muster", False, "place", "placed on onprem-a", "PLACED", "muster-2"),
        Happening(last, first, 7, "kubelet", True, "BackOff", "again\nand", "Pod m-0", "e-1"),
    ]
    said = muster("events", "llama-70b", columns=140)
    assert said.exit_code == 0, said.output
    assert said.stdout.splitlines() == [
        "2026-03-01 12:00:00  muster              place             PLACED  placed on onprem-a",
        "2026-03-01 12:05:09  kubelet             BackOff           Pod m-0  again and  (7 times since 12:00:00)",
    ]
    assert json.loads(muster("events", "llama-70b", "-o", "json").stdout.splitlines()[1])["count"] == 7
    assert muster("events", "llama-70b", "--after", "3").exit_code == exits.USAGE
    assert muster("events", "nowhere").exit_code == exits.NOT_FOUND
