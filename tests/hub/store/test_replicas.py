"""Several replicas on one real PostgreSQL: who may write, and what becomes of a write whose connection breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from hub.store import clusters, leadership, rows
from hub.store.changes import Change, Unqueued, announce
from hub.store.dialect import open_unpooled
from hub.store.leadership import Candidate, Deposed, Term
from hub.store.store import OutcomeUnknown, Store, StoreUnavailable
from tests import postgresql
from tests.hub.loops.rig import START_OF_TIME

ME = Candidate("hub-0", "ca", 10.0)
OTHER = Candidate("hub-1", "ca", 10.0)


@pytest.fixture
def engine(postgresql_url: str) -> Engine:
    return open_unpooled(postgresql_url)


def take(engine: Engine, candidate: Candidate = ME) -> Term:
    """By force: whether it is time to is decided elsewhere."""
    seen, _ = leadership.look(engine)
    term = leadership.take(engine, seen, candidate)
    assert term is not None
    return term


def put(session: Session, name: str) -> str:
    row = {"cluster": name, "product": "x", "on_demand_usd_per_gpu_hour": 1.0, "spot_interruptions_per_hour": 0.0}
    session.connection().execute(insert(rows.prices), row)
    announce(session, Unqueued(name))
    return name


def names(session: Session) -> list[str]:
    return list(session.connection().execute(select(rows.prices.c.cluster).order_by(rows.prices.c.cluster)).scalars())


@pytest.fixture
async def leader(engine: Engine, postgresql_url: str) -> AsyncGenerator[Store, None]:
    store = Store(postgresql_url, term=take(engine), settle_s=5)
    await store.open()
    yield store
    await store.close()


def test_of_several_that_reach_for_the_row_at_once_one_gets_it(engine: Engine) -> None:
    for round_ in range(5):
        seen, _ = leadership.look(engine)
        wanted = [Candidate(f"hub-{number}", "ca", 1.0) for number in range(4)]
        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(lambda candidate, seen=seen: leadership.take(engine, seen, candidate), wanted))
        (term,) = [one for one in taken if one is not None]
        assert term.number == round_ + 1
        after, now = leadership.look(engine)
        assert (after.term, after.holder) == (term.number, wanted[taken.index(term)].name)
        assert after.since <= after.renewed <= now


def test_a_term_that_was_renewed_since_it_was_seen_is_not_taken(engine: Engine) -> None:
    term = take(engine)
    seen, _ = leadership.look(engine)
    with engine.begin() as connection:
        term.begin(connection)
    assert leadership.take(engine, seen, OTHER) is None


def test_a_term_that_was_given_back_writes_no_more(engine: Engine) -> None:
    term = take(engine)
    assert leadership.release(engine, term)
    assert leadership.look(engine)[0].holder == ""
    with pytest.raises(Deposed), engine.begin() as connection:
        term.begin(connection)


@hypothesis_settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True
)
@given(st.lists(st.tuples(st.sampled_from(["take", "write", "release"]), st.integers(0, 2)), max_size=12))
def test_only_the_replica_that_took_the_row_last_ever_writes(engine: Engine, steps: list[tuple[str, int]]) -> None:
    held: dict[int, Term] = {}
    leads: int | None = None
    numbers: list[int] = []
    for what, replica in steps:
        if what == "take":
            held[replica] = take(engine, Candidate(f"hub-{replica}", "ca", 1.0))
            numbers.append(held[replica].number)
            leads = replica
        elif replica in held and what == "write":
            try:
                with engine.begin() as connection:
                    held[replica].begin(connection)
                wrote = True
            except Deposed:
                wrote = False
            assert wrote == (leads == replica)
        elif replica in held:
            assert leadership.release(engine, held[replica]) == (
                leadership.look(engine)[0].term == held[replica].number
            )
            leads = None if leads == replica else leads
    assert numbers == sorted(set(numbers))


async def test_a_leader_that_was_replaced_writes_nothing_and_says_so(
    leader: Store, engine: Engine, postgresql_url: str
) -> None:
    heard: list[Change] = []
    leader.subscribe(heard.append)
    await leader.write(lambda session: put(session, "mine"))
    other = Store(postgresql_url, term=take(engine, OTHER))
    await other.open()
    with pytest.raises(Deposed, match="led in term 1"):
        await leader.write(lambda session: put(session, "too late"))
    assert leader.lost.is_set()
    await other.write(lambda session: put(session, "theirs"))
    assert await other.read(names) == ["mine", "theirs"]
    assert heard == [Unqueued("mine")]
    await other.close()


async def test_nobody_takes_over_within_a_transaction(leader: Store, engine: Engine) -> None:
    """A leader that stands still in a write keeps the row until the write is over or the server ends it."""
    loop = asyncio.get_running_loop()
    seen, _ = leadership.look(engine)

    def write(session: Session) -> bool:
        taking = loop.run_in_executor(None, leadership.take, engine, seen, OTHER)
        rivals.append(taking)
        return taking.done()

    rivals: list[asyncio.Future[Term | None]] = []
    await leader.write(lambda session: asyncio.run_coroutine_threadsafe(_begin(write, session), loop).result(10))
    assert await rivals[0] is None  # it waited for the commit, and then found the row renewed
    assert await leader.write(lambda session: put(session, "still leads")) == "still leads"


async def _begin(write: object, session: Session) -> None:
    write(session)  # type: ignore[operator]
    await asyncio.sleep(0.2)


async def test_a_connection_that_breaks_in_a_write_has_done_nothing(
    leader: Store, postgresql_server: postgresql.Server, postgresql_url: str
) -> None:
    def broken(session: Session) -> None:
        put(session, "half")
        postgresql_server.end_sessions(postgresql_url, "state = 'idle in transaction'")
        put(session, "other half")

    with pytest.raises(StoreUnavailable, match="nothing of this was done"):
        await leader.write(broken)
    assert await leader.write(lambda session: put(session, "next")) == "next"
    assert await leader.read(names) == ["next"]
    assert not leader.lost.is_set()


@pytest.mark.parametrize(("cut", "done"), [("before", False), ("after", True)])
async def test_a_connection_that_breaks_in_the_commit_is_found_out_about(
    engine: Engine, postgresql_server: postgresql.Server, postgresql_url: str, cut: str, done: bool
) -> None:
    with postgresql.a_proxy(postgresql_server) as proxy:
        store = Store(proxy.url(postgresql_url), term=take(engine), settle_s=5)
        await store.open()
        heard: list[Change] = []
        store.subscribe(heard.append)
        await store.write(lambda session: put(session, "before"))
        proxy.cut = cut
        asked = store.write(lambda session: put(session, "x"))
        if done:
            assert await asked == "x"
        else:
            with pytest.raises(StoreUnavailable):
                await asked
        expected = ["before", "x"] if done else ["before"]
        assert await store.read(names) == expected
        assert heard == [Unqueued(name) for name in expected]
        assert await store.write(lambda session: put(session, "y")) == "y"
        await store.close()


async def test_a_commit_that_nobody_can_be_asked_about_ends_the_leader(
    engine: Engine, postgresql_server: postgresql.Server, postgresql_url: str
) -> None:
    with postgresql.a_proxy(postgresql_server) as proxy:
        store = Store(proxy.url(postgresql_url), term=take(engine), settle_s=0.5)
        await store.open()
        proxy.cut = "after"

        def last(session: Session) -> None:
            put(session, "x")
            proxy.close()  # to new connections

        with pytest.raises(OutcomeUnknown, match="may have been done"):
            await store.write(last)
        assert store.lost.is_set()
        await store.close()


async def test_the_servers_restart_is_survived(
    leader: Store, postgresql_server: postgresql.Server, postgresql_url: str
) -> None:
    await leader.write(lambda session: put(session, "a"))
    await leader.read(names)
    postgresql_server.stop()
    with pytest.raises(StoreUnavailable):
        await leader.write(lambda session: put(session, "while it is away"))
    with pytest.raises(StoreUnavailable):
        await leader.read(names)
    postgresql_server.start()
    assert await leader.read(names) == ["a"]
    assert await leader.write(lambda session: put(session, "b")) == "b"


async def test_a_version_longer_than_its_column_stops_nothing(leader: Store) -> None:
    def connect(session: Session) -> str:
        clusters.create(session, "east", "", {}, START_OF_TIME)
        clusters.seen(session, "east", "v" * 1000, START_OF_TIME, forget_previous=False)
        found = clusters.record(session, "east")
        assert found is not None
        return found.agent_version

    assert await leader.write(connect) == "v" * 64


async def test_characters_that_postgresql_has_no_place_for_stop_nothing(leader: Store) -> None:
    await leader.write(lambda session: put(session, "a\0b"))
    assert await leader.read(names) == ["a\N{REPLACEMENT CHARACTER}b"]
