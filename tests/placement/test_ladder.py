from placement.inventory import DEFAULT_LEVELS
from placement.ladder import Ladder

LADDER = Ladder.of(DEFAULT_LEVELS)


def test_ranks_count_from_the_node_upwards() -> None:
    assert [LADDER.rank(level) for level in ("host", "nvlink", "rack", "block", "zone")] == [0, 1, 2, 3, 4]
    assert (LADDER.top, LADDER.name(2), LADDER.name(5)) == (5, "rack", "cluster")
    assert LADDER.names() == ("zone", "block", "rack", "nvlink", "host")


def test_a_level_may_be_named_by_its_label() -> None:
    assert LADDER.rank("topology.muster.dev/rack") == 2
    assert LADDER.rank("kubernetes.io/hostname") == 0
    assert LADDER.rank("row") is None


def test_host_is_there_even_where_it_is_not_stated() -> None:
    assert Ladder.of([("row", "dc/row")]).names() == ("row", "host")
    assert Ladder.of([]).top == 1


def test_the_path_of_a_node_leaves_out_what_it_does_not_say() -> None:
    assert LADDER.path({"rack": "r1", "zone": "z", "block": "", "host": "n"}) == ((4, "z"), (2, "r1"))


def test_a_level_that_few_clusters_have_makes_no_step() -> None:
    plain = Ladder.of([level for level in DEFAULT_LEVELS if level[0] != "nvlink"])
    assert [plain.steps(rank) for rank in range(plain.top + 1)] == [0, 1, 2, 3, 4]
    assert [LADDER.steps(rank) for rank in range(LADDER.top + 1)] == [0, 0, 1, 2, 3, 4]


def test_a_tier_counts_the_levels_above_the_node() -> None:
    rows = Ladder.of([("row", "dc/row"), ("cell", "dc/cell"), ("host", "kubernetes.io/hostname")])
    assert [rows.rank(f"tier-{tier}") for tier in (1, 2, 3, 9)] == [1, 2, 3, 3]  # beyond the row: the whole cluster
    assert [rows.rank(word) for word in ("tier-0", "tier-", "tier-x", "tier--1")] == [None] * 4
