"""Which nodes are lost: only what was seen counts, and no clock but the spoke's own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoke.heartbeats import Heartbeats, Patience

SOON_S = 9.0


def lease(node: str, renewed: object, good_s: int | None = 40) -> dict[str, Any]:
    return {"metadata": {"name": node}, "spec": {"renewTime": renewed, "leaseDurationSeconds": good_s}}


class Watch:
    """Looks every three seconds at one node."""

    def __init__(self) -> None:
        self.beats = Heartbeats(Patience(unknown_s=10, unready_s=60))
        self.now = 0.0

    def look(self, renewed: object, status: str = "True", *, after_s: float = 3.0) -> str:
        self.now += after_s
        leases = [] if renewed is None else [lease("n1", renewed)]
        self.beats.looked(leases, {"n1": status}, self.now, SOON_S)
        return self.beats.lost().get("n1", "")

    def looks(self, seconds: float, renewed: object, status: str = "True") -> str:
        why = ""
        for _ in range(round(seconds / 3)):
            why = self.look(renewed, status)
        return why


def test_a_node_is_lost_when_its_lease_was_not_renewed_for_as_long_as_it_is_good() -> None:
    watch = Watch()
    watch.look("t0")
    assert watch.looks(39, "t0") == ""
    assert watch.look("t0") == "no heartbeat for 40 s"


def test_one_that_renews_is_never_lost() -> None:
    watch = Watch()
    assert [watch.looks(30, f"t{i}") for i in range(20)] == [""] * 20


def test_a_renewal_brings_it_back() -> None:
    watch = Watch()
    watch.look("t0")
    assert watch.looks(60, "t0")
    assert watch.look("t1") == ""
    assert watch.looks(39, "t1") == ""


def test_a_look_that_failed_begins_the_count_anew_and_brings_no_node_back() -> None:
    watch = Watch()
    watch.look("t0")
    watch.looks(39, "t0")
    watch.beats.missed()
    assert watch.looks(42, "t0") == ""
    assert watch.look("t0")
    watch.beats.missed()
    assert watch.look("t0")


def test_time_that_nobody_watched_does_not_count() -> None:
    watch = Watch()
    watch.look("t0")
    assert watch.look("t0", after_s=3600) == ""  # the spoke was frozen
    assert watch.looks(39, "t0") == ""


def test_a_lease_that_is_old_when_first_seen_is_counted_from_then() -> None:
    watch = Watch()
    assert watch.look("1999-01-01T00:00:00Z") == ""


def test_the_clusters_verdict_is_quicker_where_no_renewal_comes() -> None:
    watch = Watch()
    watch.look("t0", "Unknown")
    assert watch.looks(9, "t0", "Unknown") == ""
    assert watch.look("t0", "Unknown") == "the cluster has no word of it"
    assert watch.look("t1", "Unknown") == ""  # it is heard of again, whatever its condition says yet


def test_nodes_without_leases_are_judged_by_their_condition() -> None:
    watch = Watch()
    assert watch.looks(3600, None, "True") == ""
    watch.look(None, "Unknown")
    assert watch.looks(12, None, "Unknown")
    assert watch.look(None, "True") == ""


def test_a_kubelet_may_be_unready_for_a_minute() -> None:
    watch = Watch()
    renewals = iter(range(1000))
    watch.look(next(renewals), "False")
    assert [watch.look(next(renewals), "False") for _ in range(19)] == [""] * 19
    assert watch.look(next(renewals), "False") == "not ready for 60 s by its own word"
    assert watch.look(next(renewals), "False")  # its lease is renewed all the same
    assert watch.look(next(renewals), "True") == ""


def test_what_is_no_node_any_more_is_not_lost() -> None:
    watch = Watch()
    watch.look("t0")
    watch.looks(60, "t0")
    watch.beats.looked([lease("n1", "t0")], {}, watch.now + 3, SOON_S)
    assert watch.beats.lost() == {}


@pytest.mark.parametrize("good_s", [None, 0, 40])
def test_a_lease_that_does_not_say_how_long_it_is_good(good_s: int | None) -> None:
    beats = Heartbeats()
    for look in range(14):
        beats.looked([lease("n1", "t0", good_s)], {"n1": "True"}, look * 3.0, SOON_S)
        assert beats.lost() == {}
    beats.looked([lease("n1", "t0", good_s)], {"n1": "True"}, 42.0, SOON_S)
    assert beats.lost()


def test_life_is_proven_by_a_renewal_after_the_moment_only() -> None:
    watch = Watch()
    watch.look("t0")
    watch.look("t1")  # at 6 s: renewed after 3 s
    assert watch.beats.proven_since("n1", 3.0)
    assert not watch.beats.proven_since("n1", 5.0)  # it may have been renewed before that
    watch.look("t1")
    watch.look("t2")  # at 12 s: renewed after 9 s
    assert watch.beats.proven_since("n1", 5.0)
    assert watch.beats.proven_since("without-lease", 5.0)


@given(st.lists(st.tuples(st.floats(0.1, 30), st.booleans(), st.booleans()), max_size=80))
def test_no_node_is_lost_of_which_less_than_its_lease_was_seen(looks: list[tuple[float, bool, bool]]) -> None:
    """(gap, look fails, renewed): lost only after forty seconds of looks in a row, none late, without a renewal."""
    beats, now, renewals, seen_s, whole = Heartbeats(), 0.0, 0, 0.0, False
    for gap_s, fails, renewed in looks:
        now += gap_s
        renewals += renewed
        if fails:
            beats.missed()
            whole = False
            continue
        seen_s = seen_s + gap_s if whole and gap_s <= SOON_S and not renewed else 0.0
        was_lost = bool(beats.lost())
        whole = True
        beats.looked([lease("n1", renewals)], {"n1": "True"}, now, SOON_S)
        if beats.lost() and not was_lost:
            assert seen_s >= 40 - 1e-6
        if renewed:
            assert not beats.lost()
