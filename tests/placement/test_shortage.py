from placement.bins import Unit
from placement.demand import Demands
from placement.shortage import shortage
from placement.survey import survey
from placement.verdict import ResourcesShort, TopologyShort
from tests.placement.worlds import GPU, gpu_node, role

RACKS = [gpu_node("a0", "a"), gpu_node("a1", "a", free=4), gpu_node("b0", "b"), gpu_node("b1", "b")]
SURVEY = survey(RACKS)
RACK, CLUSTER = 1, SURVEY.ladder.top


def answer(pods: int, gpus: int, ceiling: int, only: list[Unit] | None = None) -> ResourcesShort | TopologyShort:
    (slots,) = Demands(SURVEY.classes, SURVEY.hidden).of((role(replicas=pods, gpus=gpus),))
    found = shortage("c", SURVEY.ladder, SURVEY.top.domain, slots, ceiling, ever=True, only=only)
    assert isinstance(found, ResourcesShort | TopologyShort)
    return found


def test_the_sum_is_what_is_short_first() -> None:
    assert answer(4, 8, RACK) == ResourcesShort("c", GPU, 32, 28, 3, 4, ever=True)
    assert answer(4, 8, CLUSTER) == answer(4, 8, RACK)


def test_then_the_largest_domain_of_the_level() -> None:
    assert answer(3, 8, RACK) == TopologyShort("c", "rack", 3, 2, 28, 24, ever=True)
    assert answer(2, 8, 0) == TopologyShort("c", "host", 2, 1, 28, 16, ever=True)


def test_a_gang_bound_to_one_domain_is_told_of_that_one() -> None:
    first = SURVEY.top.places[RACK, "a"].domain
    assert answer(2, 8, RACK, [first]) == TopologyShort("c", "rack", 2, 1, 28, 16, ever=True)
    assert answer(2, 8, RACK, []) == TopologyShort("c", "rack", 2, 0, 28, 16, ever=True)
