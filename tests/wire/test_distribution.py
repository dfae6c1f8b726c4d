from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.distribution.states import ObjectState, State
from placement.objects import ObjectKey
from wire import distribution
from wire import link_pb2 as pb
from wire.checks import ProtocolError
from wire.distribution import (
    INVALID,
    MAX_OBJECTS,
    Distribute,
    DistributionAck,
    DistributionOrder,
    DistributionRef,
    DistributionReport,
    Withdraw,
)

words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
refs = st.builds(DistributionRef, words, st.integers(1, 2**63))
keys = st.builds(ObjectKey, words, words, st.just("") | words, words)
objects = st.builds(
    lambda api, kind, name, data: {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "data": data},
    words,
    words,
    words,
    st.dictionaries(words, words | st.integers(0, 9), max_size=3),
)
orders = st.builds(
    DistributionOrder,
    refs,
    st.builds(Distribute, st.lists(objects, min_size=1, max_size=3).map(tuple), st.booleans())
    | st.builds(Withdraw, st.lists(keys, max_size=3).map(tuple)),
)
states = st.builds(ObjectState, keys, st.sampled_from([one for one in State if one is not State.OFFLINE]), words)


@given(st.lists(orders, max_size=3), st.lists(refs, max_size=3))
def test_orders_arrive_as_they_were_sent(sent: list[DistributionOrder], standing: list[DistributionRef]) -> None:
    message = pb.DistributionOrders(
        orders=[distribution.order_to_wire(one) for one in sent],
        first=True,
        standing=[distribution.ref_to_wire(ref) for ref in standing],
    )
    read = pb.DistributionOrders.FromString(message.SerializeToString())
    assert distribution.orders_from_wire(read) == (sent, [])
    assert distribution.standing_from_wire(read) == frozenset(standing)


@given(
    st.lists(st.builds(DistributionAck, refs, st.just("") | words, words, st.integers(0, 2**63)), max_size=3),
    st.lists(st.builds(DistributionReport, refs, st.lists(states, max_size=3).map(tuple), st.booleans()), max_size=3),
)
def test_news_arrive_as_they_were_sent(acks: list[DistributionAck], reports: list[DistributionReport]) -> None:
    message = pb.DistributionNews(
        acks=distribution.acks_to_wire(acks), reports=[distribution.report_to_wire(one) for one in reports]
    )
    assert distribution.news_from_wire(pb.DistributionNews.FromString(message.SerializeToString())) == (
        acks,
        reports,
        [],
    )


def order(text: bytes) -> pb.DistributionOrder:
    return pb.DistributionOrder(
        ref=pb.DistributionRef(name="a", generation=1), distribute=pb.Distribute(objects_json=text)
    )


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"[1]", b'[{"kind": "A"}]', b'[{"metadata": {"name": 1}}]'])
def test_an_order_that_cannot_be_read_is_refused_by_name_and_spoils_no_other(text: bytes) -> None:
    good = distribution.order_to_wire(DistributionOrder(DistributionRef("b", 2), Withdraw()))
    read, bad = distribution.orders_from_wire(pb.DistributionOrders(orders=[order(text), good]))
    assert [one.ref.name for one in read] == ["b"]
    (refused,) = distribution.refusals(bad)
    assert (refused.ref, refused.refused_code) == (DistributionRef("a", 1), INVALID)
    assert "objects_json" in refused.refused_message


def test_what_is_about_nothing_is_told_to_nobody() -> None:
    _, bad = distribution.orders_from_wire(pb.DistributionOrders(orders=[pb.DistributionOrder()]))
    assert len(bad) == 1
    assert distribution.refusals(bad) == []
    with pytest.raises(ProtocolError):
        distribution.standing_from_wire(pb.DistributionOrders(standing=[pb.DistributionRef(name="a")]))


def test_what_a_spoke_may_not_say_is_dropped() -> None:
    ref = pb.DistributionRef(name="a", generation=1)
    offline = pb.DistributionReport(ref=ref, objects=[pb.DistributedObject(kind="A", state="Offline")])
    many = pb.DistributionReport(ref=ref, objects=[pb.DistributedObject(state="Applied")] * (MAX_OBJECTS + 1))
    unknown = pb.DistributionReport(ref=ref, objects=[pb.DistributedObject(state="Fine")])
    _, reports, bad = distribution.news_from_wire(pb.DistributionNews(reports=[offline, many, unknown]))
    assert (reports, len(bad)) == ([], 3)
