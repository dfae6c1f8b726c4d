"""The main screens, letter by letter, at the widths that terminals have."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta
from textwrap import dedent

import pytest
from rich.console import Console, RenderableType

from hub.api import present
from hub.api.schemas import PriceBookDoc, PriceEntry
from hub.cli import money_tables, screen, tables
from hub.records import Explanation, Planned
from placement.lifecycle import Phase
from placement.outlook.outlook import Eta, Outlook
from placement.outlook.usable import GpuUse, NotForIt
from placement.tally import Tally
from placement.verdict import Candidate, Decision, RoomMade, Score, Waiting
from placement.workload import SliceRequest, TopologyMode, TopologyRequest
from tests.hub.api.fakes import NOW, cluster, decision, event, job, workload

WAITING = job(
    2,
    phase=Phase.QUEUED,
    name="mistral-7b-continued-pretraining-run-12",
    cluster=None,
    roles=(),
    reason="largest rack of cloud-b fits 3 of 4 pods (40 GPUs free in all, 32 needed)",
)

JOBS_AT_120 = """\
ID            NAME                            PHASE    CLUSTER   GPUS  PODS  AGE  WHY
j-0000000001  llama-70b                       RUNNING  onprem-a    32   4/4   9m  all 4 pods run
j-0000000002  mistral-7b-continued-pretrain…  QUEUED   –           32     –   9m  largest rack of cloud-b fits 3 of 4 p…
"""


def drawn(table: RenderableType, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, highlight=False).print(table)
    lines = out.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def golden(text: str) -> str:
    return dedent(text).removeprefix("\n")


def test_jobs_at_80() -> None:
    found = [present.job(one) for one in (job(1), WAITING)]
    assert drawn(tables.jobs(found, NOW, 80), 80) == golden(
        """
        ID            NAME                            PHASE    CLUSTER   GPUS  PODS  AGE
        j-0000000001  llama-70b                       RUNNING  onprem-a    32   4/4   9m
        j-0000000002  mistral-7b-continued-pretrain…  QUEUED   –           32     –   9m
        """
    )


def test_jobs_at_120_say_why() -> None:
    found = [present.job(one) for one in (job(1), WAITING)]
    assert drawn(tables.jobs(found, NOW, 120), 120) == JOBS_AT_120


def test_a_long_cluster_name_takes_nothing_from_the_columns_that_must_be_whole() -> None:
    long = present.job(job(1, phase=Phase.CANCELLING, cluster="a-very-long-cluster-name-of-someone-in-a-hurry-" * 2))
    line = drawn(tables.jobs([long], NOW, 80), 80).splitlines()[1]
    assert "j-0000000001" in line
    assert "CANCELLING" in line
    assert line.endswith("9m")


def test_a_job_that_stands_still_is_marked() -> None:
    still = replace(job(1), stalled_since=NOW - timedelta(minutes=45))
    assert "RUNNING STALLED 45m" in drawn(tables.jobs([present.job(still)], NOW, 120), 120)
    assert "without progress since 45m ago" in drawn(tables.job(present.job_detail(still), NOW, 120), 120)


def test_progress_and_retries_are_shown_where_a_kind_tells_them() -> None:
    told = replace(job(1), progress=Tally(3, 9), retries=Tally(2))
    lines = [line.split() for line in drawn(tables.job(present.job_detail(told), NOW, 120), 120).splitlines()]
    assert ["Progress", "3", "of", "9", "(33", "%)"] in lines
    assert ["Retries", "2"] in lines
    assert not any(
        "Retries" in line for line in drawn(tables.job(present.job_detail(job(1)), NOW, 120), 120).splitlines()
    )


def test_a_plan_that_is_placed() -> None:
    planned = Planned(workload(warnings=("product A100-SXM4-80GB: did you mean NVIDIA-A100-SXM4-80GB?",)), decision())
    assert drawn(tables.plan(present.plan(planned)), 80) == golden(
        """
        llama-70b  PyTorchJob in namespace ml
          Master  1 × 8 GPUs  NVIDIA-A100-SXM4-80GB
          Worker  3 × 8 GPUs  NVIDIA-A100-SXM4-80GB
          32 GPUs; gang of 4 pods: all start together, or none; 1 h expected
          ! product A100-SXM4-80GB: did you mean NVIDIA-A100-SXM4-80GB?

        ✔ placed on onprem-a, rack r1

        CLUSTER   VERDICT  AN HOUR     COST  WHY
        onprem-a  chosen    $36.00   $38.40  gpu (spot) $36.00 + spot-risk $2.40, 1.07 h
                                             with the interruptions expected, in rack r1
        cloud-b   fits     $131.20  $131.20  gpu $131.20, in rack b7
        edge-c    no             –        –  edge-c has no nvidia.com/gpu
                                             NVIDIA-A100-SXM4-80GB; it has Tesla-T4
        """
    )


def test_a_plan_tells_which_pods_want_to_be_near_each_other() -> None:
    asked = workload()
    master, worker = asked.roles
    near = replace(worker, topology=TopologyRequest("rack", TopologyMode.PREFERRED), slices=SliceRequest(3, "nvlink"))
    asked = replace(asked, topology=TopologyRequest("block", TopologyMode.REQUIRED), roles=(master, near))
    lines = drawn(tables.plan(present.plan(Planned(asked, decision()))), 120).splitlines()
    assert lines[4] == ("  all in one block; Worker in one rack if it can be; Worker in slices of 3 in one nvlink each")


def test_a_plan_that_waits_gives_the_numbers() -> None:
    assert drawn(tables.plan(present.plan(Planned(workload(), decision("waiting")))), 80) == golden(
        """
        llama-70b  PyTorchJob in namespace ml
          Master  1 × 8 GPUs  NVIDIA-A100-SXM4-80GB
          Worker  3 × 8 GPUs  NVIDIA-A100-SXM4-80GB
          32 GPUs; gang of 4 pods: all start together, or none; 1 h expected

        … waiting: no cluster can take it now

        CLUSTER  VERDICT  COST  WHY
        cloud-b  no          –  largest rack of cloud-b fits 3 of 4 pods (40 GPUs free
                                in all, 32 needed)
        edge-c   no          –  edge-c has no nvidia.com/gpu NVIDIA-A100-SXM4-80GB; it
                                has Tesla-T4
        """
    )


def test_a_job() -> None:
    shown = present.job_detail(job(1, spot=True, client_key="nightly"))
    assert drawn(tables.job(shown, NOW, 80), 80) == golden(
        """
        Job      llama-70b  PyTorchJob in namespace ml
        Id       j-0000000001  (key nightly)
        Phase    RUNNING
        Why      all 4 pods run
        Cluster  onprem-a
        Gang     4 pods at least, 32 GPUs in all
        Price    $38.40/h spot
        Queue    default, priority 0
        Owner    alice of tenant red
        Attempt  1
        Times    submitted 9m ago, placed 9m ago, started 8m ago

        ROLE    PODS  READY  DONE  FAILED  GPUS EACH  DEVICE
        Master     1      1     0       0          8  NVIDIA-A100-SXM4-80GB
        Worker     3      3     0       0          8  NVIDIA-A100-SXM4-80GB

        POD                 ROLE    NODE    GPUS
        llama-70b-master-0  Master  gpu-01  0-7
        """
    )


def test_a_key_that_the_client_made_up_is_not_shown() -> None:
    shown = present.job_detail(job(1, client_key="auto-0123"))
    assert "auto-" not in drawn(tables.job(shown, NOW, 80), 80)


def test_terms_that_are_worth_nothing_are_left_out_but_not_a_missing_price() -> None:
    score = Score({"gpu": 4.0, "fragmentation": 0.0, "unpriced": 0.0})
    shown = present.explanation(Explanation(job(1), Decision("j", 1, Waiting(()), (Candidate("a", score=score),)), ()))
    assert "gpu $4.00, at the default price: nobody set one" in drawn(tables.explanation(shown, NOW, 120), 120)


def test_the_price_of_own_cards_and_a_service_are_told_in_words() -> None:
    score = Score({"gpu": 8.0, "amortised": 0.0})
    one = Planned(workload(long_running=True), Decision("j", 1, Waiting(()), (Candidate("a", score=score),)))
    shown = drawn(tables.plan(present.plan(one)), 120)
    assert "gpu (own, amortised) $8.00" in shown
    assert "a service, priced for 1 h" in shown


def test_an_explanation_of_a_job_that_waits() -> None:
    history = (event(1, WAITING, Phase.QUEUED, "submit", "by alice"),)
    shown = present.explanation(Explanation(WAITING, decision("waiting"), history))
    assert drawn(tables.explanation(shown, NOW, 120), 120) == golden(
        """
        mistral-7b-continued-pretraining-run-12  j-0000000002  QUEUED

        … waiting: no cluster can take it now

        CLUSTER  VERDICT  COST  WHY
        cloud-b  no          –  largest rack of cloud-b fits 3 of 4 pods (40 GPUs free in all, 32 needed)
        edge-c   no          –  edge-c has no nvidia.com/gpu NVIDIA-A100-SXM4-80GB; it has Tesla-T4

        AGO  ATTEMPT  PHASE   EVENT   WHAT HAPPENED
         4m        1  QUEUED  submit  by alice
        """
    )


def test_clusters_at_80_and_120() -> None:
    lost = cluster("edge-c", region="", health="lost", cordoned=True, jobs=0, products={"Tesla-T4": 4}, gpus_free=0)
    found = [present.cluster(one) for one in (cluster(), lost)]
    assert drawn(tables.clusters(found, NOW, 80), 80) == golden(
        """
        CLUSTER   REGION  HEALTH          GPUS FREE  NODES  JOBS  SEEN
        onprem-a  bj      ready               24/64      8     2    4s
        edge-c    –       lost, cordoned       0/64      8     0    4s
        """
    )
    assert drawn(tables.clusters(found, NOW, 120), 120) == golden(
        """
        CLUSTER   REGION  HEALTH          GPUS FREE  NODES  JOBS  SEEN  PRODUCTS
        onprem-a  bj      ready               24/64      8     2    4s  NVIDIA-A100-SXM4-80GB ×64
        edge-c    –       lost, cordoned       0/64      8     0    4s  Tesla-T4 ×4
        """
    )


def test_prices() -> None:
    book = PriceBookDoc(
        prices=[
            PriceEntry(
                cluster="cloud-b", product="NVIDIA-H100", on_demand=4.1, spot=1.9, spot_interruptions_per_hour=0.05
            ),
            PriceEntry(cluster="onprem-a", on_demand=1.2),
        ]
    )
    assert drawn(money_tables.prices(book), 80) == golden(
        """
        CLUSTER   PRODUCT        ON DEMAND   SPOT  INTERRUPTIONS
        cloud-b   NVIDIA-H100        $4.10  $1.90         0.05/h
        onprem-a  (every other)      $1.20      –              –
        USD per GPU-hour. A CPU-hour costs $0.04.
        """
    )


@pytest.mark.parametrize(
    ("seconds", "word"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (172_799, "47h"),
        (172_800, "2d"),
    ],
)
def test_ages(seconds: int, word: str) -> None:
    assert screen.age(NOW - timedelta(seconds=seconds), NOW) == word


@pytest.mark.parametrize(
    ("amount", "text"),
    [(None, "–"), (0, "$0.00"), (0.0042, "$0.0042"), (12.5, "$12.50"), (1234567.891, "$1,234,567.89")],
)
def test_money(amount: float | None, text: str) -> None:
    assert screen.usd(amount) == text


def test_markup_in_names_is_text() -> None:
    sly = present.job(job(1, name="[red]x[/]", reason="[bold]"))
    assert "[red]x[/]" in drawn(tables.jobs([sly], NOW, 120), 120)


def test_every_phase_has_a_colour() -> None:
    assert set(screen.PHASE_STYLE) == {phase.value for phase in Phase}


def test_what_a_waiting_job_could_use_and_what_would_help() -> None:
    seen = Outlook(
        gpus=(
            GpuUse("cloud-b", 24, 24, 0, (NotForIt(24, "of another product (Tesla-T4)"),)),
            GpuUse("onprem-a", 32, 14, 8, (NotForIt(4, "in pieces too small for a pod of 8"), NotForIt(2, "cordoned"))),
        ),
        eta=Eta(NOW + timedelta(hours=2), "onprem-a", "when j-1 has ended as it said; not before the 2 ahead of it"),
        mends=("topology-preferred: rack instead of topology-required: it would start on onprem-a",),
        preemption="nobody is evicted for it: 1 job runs where it could go; 1 not preemptible, as it says",
        place=3,
        ahead=("j-2", "j-3"),
    )
    shown = present.explanation(Explanation(WAITING, Decision("j", 1, Waiting(()), ()), (), seen))
    assert drawn(tables.explanation(shown, NOW, 100), 100).split("\n", 1)[1] == golden(
        """

        … waiting: no cluster can take it now
          may start on onprem-a at 2026-03-01 14:00 UTC, when j-1 has ended as it said; not before the 2
        ahead of it
          number 3 in its queue, after j-2, j-3

        GPUS OF   ALL  FREE  FOR IT  THE OTHER FREE ONES
        cloud-b    24    24       0  24 of another product (Tesla-T4)
        onprem-a   32    14       8  4 in pieces too small for a pod of 8
                                     2 cordoned

        It would help to have
          • topology-preferred: rack instead of topology-required: it would start on onprem-a

        Preemption: nobody is evicted for it: 1 job runs where it could go; 1 not preemptible, as it says
        """
    )


def test_room_that_is_being_made() -> None:
    room = RoomMade("onprem-a", NOW, ("j-1", "j-2"), 2.5, 6.25)
    decided = Decision("j", 1, Waiting((), room=room), ())
    text = drawn(tables.explanation(present.explanation(Explanation(WAITING, decided, ())), NOW, 100), 100)
    assert "  waits for 2 jobs to be evicted from onprem-a (j-1, j-2), which loses 2.50 GPU-hours, $6.25\n" in text
    text = drawn(tables.plan(present.plan(Planned(workload(), decided))), 100)
    assert "  would wait for 2 jobs to be evicted from onprem-a (j-1, j-2)" in text
