from placement.inventory import DEFAULT_LEVELS
from placement.ladder import Ladder

LADDER = Ladder.of(DEFAULT_LEVELS)


def test_ranks_count_from_the_node_upwards() -> None:
    assert [LADDER.rank(level) for level in ("host", "rack", "block", "zone")] == [0, 1, 2, 3]
    assert (LADDER.top, LADDER.name(1), LADDER.name(4)) == (4, "rack", "cluster")
    assert LADDER.names() == ("zone", "block", "rack", "host")


def test_a_level_may_be_named_by_its_label() -> None:
    assert LADDER.rank("topology.muster.dev/rack") == 1
    assert LADDER.rank("kubernetes.io/hostname") == 0
    assert LADDER.rank("row") is None


def test_host_is_there_even_where_it_is_not_stated() -> None:
    assert Ladder.of([("row", "dc/row")]).names() == ("row", "host")
    assert Ladder.of([]).top == 1


def test_the_path_of_a_node_leaves_out_what_it_does_not_say() -> None:
    assert LADDER.path({"rack": "r1", "zone": "z", "block": "", "host": "n"}) == ((3, "z"), (1, "r1"))
