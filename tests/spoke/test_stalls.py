"""Jobs that stand still for the time that they name: decided from their surest sign, flagged or restarted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.kinds import durations
from placement.kinds.problems import ManifestError
from placement.kinds.reader import read
from placement.lifecycle import Event
from spoke import stalls
from spoke.stalls import Progress, Wish
from tests.spoke.stage import CATALOGUE, NOW, Stage, eventually, job_yaml, node, stage

T0 = datetime(2026, 1, 1, tzinfo=UTC)
WISH = Wish(1800.0, restart=False)


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("progress", "now", "since"),
    [
        (Progress(T0), 29, None),
        (Progress(T0), 30, 0),
        (Progress(T0, reported=at(20)), 49, None),
        (Progress(T0, reported=at(20)), 50, 20),
        # A collective that hangs keeps GPUs busy, and a program may write that it waits: its own word is surer.
        (Progress(T0, reported=at(20), logged=at(49), busy=at(50)), 50, 20),
        (Progress(T0, logged=at(20), busy=at(50)), 50, 20),
        (Progress(T0, busy=at(20)), 49, None),
        # Of an earlier attempt.
        (Progress(T0, reported=at(-500)), 29, None),
        (Progress(T0, reported=at(-500)), 30, 0),
    ],
)
def test_stalled(progress: Progress, now: float, since: float | None) -> None:
    found = stalls.stalled(WISH, progress, at(now))
    assert (found.since if found else None) == (at(since) if since is not None else None)


moments = st.none() | st.floats(0, 500).map(at)


@given(moments, moments, moments, st.floats(0, 1000))
def test_never_before_its_time_and_always_after_all_signs(
    reported: datetime | None, logged: datetime | None, busy: datetime | None, now: float
) -> None:
    found = stalls.stalled(WISH, Progress(T0, reported, logged, busy), at(now))
    if found is not None:
        assert at(now) - found.since >= timedelta(minutes=30)
        assert f"{found.since:%F %T}" in found.words
    elif all(sign is None or at(now) - sign >= timedelta(minutes=30) for sign in (reported, logged, busy)):
        assert now < 30


@given(st.integers(60, 31 * 86_400))
def test_durations_are_read_as_they_are_shown(seconds: int) -> None:
    assert durations.seconds(durations.shown(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "30 m", "59s", "32d", "1.5h", "-1h", "1h30"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="such as 30m"):
        durations.seconds(text)


def annotated(after: str, more: str = "") -> str:
    return job_yaml("train", gpus=8, extra=f', annotations: {{muster.dev/stalled-after: "{after}"{more}}}')


def test_hints_are_checked() -> None:
    [submission] = read(annotated("1h30m", ", muster.dev/if-stalled: restart").encode(), CATALOGUE)
    hints = submission.workload.hints
    assert (hints.stalled_after_s, hints.if_stalled) == (5400.0, "restart")
    assert stalls.wish_of(submission.manifest["metadata"]) == Wish(5400.0, restart=True)
    with pytest.raises(ManifestError, match="such as 30m"):
        read(annotated("soon").encode(), CATALOGUE)
    with pytest.raises(ManifestError, match='"flag" or "restart"'):
        read(annotated("1h", ", muster.dev/if-stalled: kill").encode(), CATALOGUE)
    with pytest.raises(ManifestError, match="says what to do and not when"):
        read(job_yaml("t", extra=", annotations: {muster.dev/if-stalled: flag}").encode(), CATALOGUE)


async def runs(on: Stage, manifest: str) -> None:
    ack = await on.run("j-1", manifest)
    assert not ack.refused_code, ack.refused_message
    await on.make_pods("train", [0])
    await eventually("it is bound", lambda: len(on.bound("j-1")) == 1)
    on.set_phase(on.pods("j-1")[0], "Running")
    await on.set_status("train", active=1, ready=1, startTime="now")
    await on.told("j-1", Event.RUNNING)
    await on.agent._stall_watch.round()


def say(on: Stage, moment: datetime) -> None:
    [pod] = on.pods("j-1")
    metadata = {**pod["metadata"], "annotations": {"muster.dev/checkpointed-at": moment.isoformat()}}
    on.cluster.put({**pod, "metadata": metadata})


async def test_a_job_is_flagged_and_goes_on_again(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await runs(on, annotated("30m"))
        say(on, NOW + timedelta(minutes=10))
        await eventually("that is told", lambda: on.last("j-1").checkpoint_at is not None, within_s=15)
        on.later(minutes=39)
        await on.agent._stall_watch.round()
        assert on.last("j-1").stalled_since is None
        on.later(minutes=2)
        await on.agent._stall_watch.round()
        await eventually("it is flagged", lambda: on.last("j-1").stalled_since == NOW + timedelta(minutes=10))
        assert on.last("j-1").event is Event.RUNNING
        assert on.last("j-1").reason == (
            "stalled: no progress for 30m since 2026-01-01 00:10:00 UTC (its last word of progress)"
        )
        say(on, on.now)
        await eventually("it is seen", lambda: on.agent._jobs.get("j-1").checkpoint_at == on.now)  # type: ignore[union-attr]
        await on.agent._stall_watch.round()
        await eventually("it goes on", lambda: on.last("j-1").stalled_since is None)


async def test_a_job_that_asks_for_it_is_restarted(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await runs(on, annotated("30m", ", muster.dev/if-stalled: restart"))
        on.later(minutes=31)
        await on.agent._stall_watch.round()
        told = await on.told("j-1", Event.INTERRUPTED)
        assert told.reason.startswith("stalled: no progress for 30m since 2026-01-01 00:00:00 UTC (its beginning")
        assert told.reason.endswith("; the job is restarted whole")


async def test_a_line_in_its_logs_is_progress(tmp_path: Path) -> None:
    """The cluster in memory stamps every line with the first moment of 2000."""
    written_at = datetime(2000, 1, 1, tzinfo=UTC)
    async with stage(tmp_path, node("n1"), now=written_at - timedelta(minutes=15)) as on:
        await runs(on, annotated("30m"))
        on.later(minutes=20)
        on.cluster.log("team", "train-0", b"step 7\n")
        await on.agent._stall_watch.round()
        on.later(minutes=24)
        await on.agent._stall_watch.round()
        assert on.agent._jobs.get("j-1").stall is None  # type: ignore[union-attr]
        on.later(minutes=1)
        await on.agent._stall_watch.round()
        await eventually("it is flagged", lambda: on.last("j-1").stalled_since == written_at)
        assert on.last("j-1").reason.endswith("(the last line in its logs)")
