"""What jobs use, as messages and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.link.usage_flow import UsageBroken, UsageFlow
from wire import link_pb2 as pb
from wire import usage
from wire.orders import JobRef
from wire.usage import JobUse, Usage

amount = st.none() | st.floats(0, 1e9)
uses = st.builds(
    JobUse,
    st.builds(JobRef, st.from_regex(r"j-[0-9a-v]{10}", fullmatch=True), st.integers(1, 2**31)),
    st.integers(0, 2**31),
    st.integers(0, 2**31),
    amount,
    amount,
    amount,
    amount,
    amount,
    st.integers(0, 2**31),
    amount,
    amount,
)


@given(st.lists(uses, max_size=5), st.lists(st.text(max_size=50), max_size=3))
async def test_there_and_back(jobs: list[JobUse], notes: list[str]) -> None:
    flow = UsageFlow()
    for message in usage.to_wire(7, Usage(tuple(jobs), tuple(notes))):
        assert message.id == 7
        flow.feed(pb.Usage.FromString(message.SerializeToString()))
    assert await flow.answer() == Usage(tuple(jobs), tuple(notes))


async def test_many_jobs_come_in_parts() -> None:
    given_ = tuple(JobUse(JobRef(f"j-{n}", 1), 8) for n in range(1234))
    parts = usage.to_wire(1, Usage(given_))
    assert [(len(part.jobs), part.end) for part in parts] == [(500, False), (500, False), (234, True)]
    flow = UsageFlow()
    for part in parts:
        flow.feed(part)
    flow.broken("too late")
    assert (await flow.answer()).jobs == given_


async def test_a_connection_that_breaks_ends_the_waiting() -> None:
    flow = UsageFlow()
    flow.broken("the connection was lost")
    with pytest.raises(UsageBroken, match="the connection was lost"):
        await flow.answer()


def test_what_cannot_be_read_is_left_out() -> None:
    bad, good = pb.JobUse(gpus=1), pb.JobUse(ref=pb.JobEpoch(job="j-a", epoch=1), gpus=2)
    assert usage.jobs_from_wire([bad, good]) == [JobUse(JobRef("j-a", 1), 2)]
