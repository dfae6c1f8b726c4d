from __future__ import annotations

from datetime import timedelta

import pytest

from hub.federation import Federation
from hub.store.changes import ClusterRecord, ClusterSaved, PricesReplaced, Released, Reserved
from hub.store.jobs import Name
from placement.fleet import Health, Reservation
from placement.money import PriceBook
from tests.hub.loops.rig import START_OF_TIME, FakeSpoke, workload
from wire.orders import JobRef

T0 = START_OF_TIME


def record(name: str = "east", **values: object) -> ClusterRecord:
    plain: dict[str, object] = {
        "name": name,
        "region": "eu",
        "labels": {},
        "cordoned": False,
        "removed_at": None,
        "serial": "1",
        "previous_serial": None,
        "certificate_expires_at": None,
        "agent_version": "",
        "last_seen": None,
    }
    return ClusterRecord(**{**plain, **values})  # type: ignore[arg-type]


@pytest.fixture
def federation() -> Federation:
    made = Federation(heartbeat_s=5, lease_s=60)
    made.load([record()], {}, [], PriceBook(), T0)
    return made


def health(federation: Federation, name: str = "east") -> Health:
    return federation.fleet().clusters[name].health


def test_health_follows_the_stream_and_the_silence(federation: Federation) -> None:
    assert health(federation) is Health.JOINING
    federation.connected("east", "s1", T0)
    assert health(federation) is Health.JOINING
    federation.summary_arrived("east", FakeSpoke("east").summary(), T0)
    assert health(federation) is Health.READY
    assert federation.tick(T0 + timedelta(seconds=15)) == ()
    assert federation.tick(T0 + timedelta(seconds=16)) == (("east", Health.DISCONNECTED),)
    federation.heartbeat("east", T0 + timedelta(seconds=17))
    assert health(federation) is Health.READY
    federation.disconnected("east", "s1", T0 + timedelta(seconds=18))
    assert health(federation) is Health.DISCONNECTED
    assert federation.tick(T0 + timedelta(seconds=78)) == (("east", Health.LOST),)
    federation.connected("east", "s2", T0 + timedelta(seconds=80))
    assert health(federation) is Health.READY


def test_the_end_of_an_older_stream_does_not_end_the_newer(federation: Federation) -> None:
    federation.summary_arrived("east", FakeSpoke("east").summary(), T0)
    federation.connected("east", "s1", T0)
    federation.connected("east", "s2", T0)
    federation.disconnected("east", "s1", T0)
    assert health(federation) is Health.READY


def test_a_restarted_hub_does_not_hold_its_own_absence_against_clusters() -> None:
    federation = Federation(heartbeat_s=5, lease_s=60)
    seen = T0 - timedelta(hours=1)
    federation.load([record(last_seen=seen)], {"east": FakeSpoke("east").summary()}, [], PriceBook(), T0)
    assert health(federation) is Health.DISCONNECTED
    assert federation.last_seen("east") == seen
    assert federation.tick(T0 + timedelta(seconds=61)) == (("east", Health.LOST),)


def test_the_fleet_is_one_value_until_something_changes(federation: Federation) -> None:
    federation.connected("east", "s1", T0)
    before = federation.fleet()
    federation.heartbeat("east", T0 + timedelta(seconds=1))
    assert federation.fleet() is before
    federation.summary_arrived("east", FakeSpoke("east").summary(), T0)
    assert federation.fleet() is not before


def test_reservations_are_followed(federation: Federation) -> None:
    held = Reservation("j", 2, "east", workload("train"))
    federation.on_change(Reserved(held), T0)
    assert federation.fleet().reservations == (held,)
    assert federation.holding("east") == (JobRef("j", 2),)
    assert federation.clusters_with(Name("Job", "default", "train")) == {"east"}
    federation.on_change(Released(JobRef("j", 1), "east"), T0)  # an older epoch's
    assert federation.holding("east") == (JobRef("j", 2),)
    federation.on_change(Released(JobRef("j", 2), "east"), T0)
    assert federation.fleet().reservations == ()
    assert federation.clusters_with(Name("Job", "default", "train")) == frozenset()


def test_what_may_let_a_waiting_job_in_is_counted_and_wakes(federation: Federation) -> None:
    summary = FakeSpoke("east").summary()
    held = Reservation("j", 1, "east", workload())
    federation.on_change(Reserved(held), T0)
    for change in (
        lambda: federation.summary_arrived("east", summary, T0),
        lambda: federation.connected("east", "s1", T0),
        lambda: federation.on_change(Released(JobRef("j", 1), "east"), T0),
        lambda: federation.on_change(ClusterSaved(record(cordoned=True)), T0),
        lambda: federation.on_change(PricesReplaced(PriceBook(usd_per_cpu_hour=1)), T0),
    ):
        before = federation.improvements
        federation.wake.clear()
        change()
        assert federation.improvements > before
        assert federation.wake.is_set()
    before = federation.improvements
    federation.summary_arrived("east", summary, T0)  # the same once more
    federation.on_change(Reserved(held), T0)
    assert federation.improvements == before


def test_a_removed_cluster_leaves_the_fleet_and_is_remembered_as_removed(federation: Federation) -> None:
    federation.on_change(ClusterSaved(record(removed_at=T0)), T0)
    assert federation.fleet().clusters == {}
    found = federation.record("east")
    assert found is not None
    assert found.removed_at == T0
    federation.summary_arrived("east", FakeSpoke("east").summary(), T0)
    assert federation.fleet().clusters == {}
    federation.on_change(ClusterSaved(record()), T0)
    assert health(federation) is Health.JOINING  # what it was before its removal is forgotten


def test_what_is_not_saved_is_handed_out_once(federation: Federation) -> None:
    federation.connected("east", "s1", T0)
    summary = FakeSpoke("east").summary()
    federation.summary_arrived("east", summary, T0)
    (sighting,) = federation.take_unsaved()
    assert (sighting.cluster, sighting.last_seen, sighting.summary) == ("east", T0, summary)
    assert federation.take_unsaved() == ()
    federation.heartbeat("east", T0 + timedelta(seconds=5))
    (sighting,) = federation.take_unsaved()
    assert sighting.summary is None
