"""Names of objects, as messages and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.presence import ObjectName
from wire import link_pb2 as pb
from wire import presence
from wire.checks import ProtocolError

names = st.lists(st.builds(ObjectName, *[st.text(max_size=20)] * 3), max_size=20, unique=True)


@given(names, st.data())
def test_there_and_back(asked: list[ObjectName], data: st.DataObject) -> None:
    request = pb.PresenceRequest.FromString(presence.request_to_wire(7, asked).SerializeToString())
    assert list(presence.names_from_wire(request)) == asked
    gone = frozenset(data.draw(st.lists(st.sampled_from(asked), max_size=5))) if asked else frozenset()
    answer = presence.answer_to_wire(7, asked, gone)
    assert answer.id == 7
    assert presence.missing_from_wire(asked, answer.missing) == gone


def test_a_spoke_takes_no_more_than_it_should_and_the_hub_no_places_that_are_none() -> None:
    many = [ObjectName("Secret", "n", str(number)) for number in range(presence.MOST_NAMES + 1)]
    with pytest.raises(ProtocolError, match="501 names"):
        presence.names_from_wire(presence.request_to_wire(1, many))
    assert presence.missing_from_wire(many[:2], [1, 2, 99]) == {many[1]}
