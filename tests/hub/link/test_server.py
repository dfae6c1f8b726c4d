from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509

from hub.link import server as server_module
from hub.link.server import serve
from hub.pki import Authority
from placement.lifecycle import Event
from spoke import identity
from spoke.identity import Identity
from tests.hub.link.raw_spoke import HELLO, RawSpoke, acks, report, reports
from tests.wire.cutting_proxy import CuttingProxy
from tests.wire.fakes import Federation, now
from wire import link_pb2 as pb
from wire.link_pb2_grpc import LinkStub
from wire.orders import JobRef, Stop


async def refused(port: int, credentials: grpc.ChannelCredentials) -> str:
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        call = LinkStub(channel).Connect(iter([HELLO]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        return caught.value.code().name


async def test_without_a_certificate_nobody_gets_in(federation: Federation) -> None:
    port = await federation.listen()
    assert await refused(port, grpc.ssl_channel_credentials(federation.authority.ca_pem)) == "UNAVAILABLE"
    assert federation.hub.streams == []


async def test_a_certificate_of_another_ca_does_not_count(federation: Federation, tmp_path: Path) -> None:
    port = await federation.listen()
    foreign = federation.member("onprem-a", Authority.open(tmp_path / "foreign", now()))
    credentials = grpc.ssl_channel_credentials(federation.authority.ca_pem, foreign.key_pem, foreign.certificate_pem)
    assert await refused(port, credentials) == "UNAVAILABLE"
    assert federation.hub.streams == []


async def test_the_hubs_own_certificate_is_no_spokes(federation: Federation) -> None:
    port = await federation.listen()
    own = federation.authority.server_certificate(["localhost", "127.0.0.1"], now())
    credentials = grpc.ssl_channel_credentials(federation.authority.ca_pem, own.key_pem, own.certificate_pem)
    assert await refused(port, credentials) == "UNAVAILABLE"


async def test_an_expired_certificate_does_not_count(federation: Federation) -> None:
    port = await federation.listen()
    federation.clock = lambda: now() - timedelta(hours=25)
    stale = federation.member("onprem-a")
    credentials = grpc.ssl_channel_credentials(stale.ca_pem, stale.key_pem, stale.certificate_pem)
    assert await refused(port, credentials) == "UNAVAILABLE"


async def test_who_speaks_is_the_certificates_cluster_whatever_is_said(federation: Federation) -> None:
    port = await federation.listen()
    async with RawSpoke(port, federation.member("a")) as a, RawSpoke(port, federation.member("b")) as b:
        assert (await a.hello()).WhichOneof("message") == "welcome"
        assert (await b.hello()).WhichOneof("message") == "welcome"
        await federation.hub.order("b", JobRef("j-of-b", 1))
        number = (await b.hear()).commands.commands[0].id
        # a claims b's job and acknowledges b's command: the hub is told that a said so.
        await a.say(
            reports(report("j-of-b", 1, "fail")), acks([number], "j-of-b"), pb.FromSpoke(heartbeat=pb.Heartbeat())
        )
        await federation.hub.until(lambda: federation.hub.heartbeats["a"] > 0)
        assert [r.event for r in federation.hub.applied["a"]] == [Event.FAIL]
        assert "b" not in federation.hub.applied
        assert number in federation.hub.commands["b"]


@pytest.mark.parametrize(
    "first", [pb.FromSpoke(heartbeat=pb.Heartbeat()), pb.FromSpoke(hello=pb.Hello(protocol=2)), pb.FromSpoke()]
)
async def test_a_stream_begins_with_a_hello_of_this_protocol(federation: Federation, first: pb.FromSpoke) -> None:
    port = await federation.listen()
    async with RawSpoke(port, federation.member("a")) as spoke:
        await spoke.say(first)
        assert await spoke.hear_goodbye() == "protocol"
    assert federation.hub.streams == []


async def test_the_newest_stream_of_a_cluster_takes_the_place_of_the_older(federation: Federation) -> None:
    port = await federation.listen()
    own = federation.member("a")
    async with RawSpoke(port, own) as newer:
        async with RawSpoke(port, own) as older:
            await older.hello()
            assert (await newer.hello()).WhichOneof("message") == "welcome"
            assert await older.hear_goodbye() == "displaced"
        await newer.say(reports(report("j-a", 1)))
        assert (await newer.hear()).report_acks.acks[0].seq == 1
        assert federation.streams.connected("a")
        assert federation.hub.streams == [("attach", "a")] * 2  # it never looked disconnected
    await federation.hub.until(lambda: ("detach", "a") in federation.hub.streams)
    assert not federation.streams.connected("a")
    assert federation.hub.streams.count(("detach", "a")) == 1


async def test_a_stream_that_got_stuck_does_not_keep_its_cluster_from_coming_again(federation: Federation) -> None:
    proxy = CuttingProxy(await federation.listen())
    stuck_port = await proxy.listen()
    own = federation.member("a")
    async with RawSpoke(stuck_port, own) as stuck:
        await stuck.hello()
        proxy.stall()
        # More than all the buffers on the way hold: the hub's writer hangs in the middle of it.
        await federation.hub.order_all("a", [JobRef(f"j-{n}", 1) for n in range(256)], Stop(1, "x" * 100_000))
        await asyncio.sleep(0.3)
        async with RawSpoke(federation.server.port, own) as fresh:  # type: ignore[union-attr]  # it listens
            assert (await fresh.hello()).WhichOneof("message") == "welcome"
            heard = 0
            while heard < 256:
                heard += len((await fresh.hear()).commands.commands)
            await asyncio.sleep(1)  # the stuck one has been given up by now
            assert federation.hub.streams == [("attach", "a")] * 2
            await fresh.say(pb.FromSpoke(heartbeat=pb.Heartbeat()))
            await federation.hub.until(lambda: federation.hub.heartbeats["a"] == 1)
        await federation.hub.until(lambda: ("detach", "a") in federation.hub.streams)
    await proxy.close()


async def test_a_stream_that_got_stuck_is_removed_without_its_goodbye(federation: Federation) -> None:
    proxy = CuttingProxy(await federation.listen())
    async with RawSpoke(await proxy.listen(), federation.member("a")) as stuck:
        await stuck.hello()
        proxy.stall()
        await federation.hub.order_all("a", [JobRef(f"j-{n}", 1) for n in range(256)], Stop(1, "x" * 100_000))
        await asyncio.sleep(0.3)
        federation.streams.close("a", "removed", "")
        # Well before keepalive finds out.
        await federation.hub.until(lambda: ("detach", "a") in federation.hub.streams, 5)
    await proxy.close()


async def test_removal_ends_the_live_stream_at_once_and_for_good(federation: Federation) -> None:
    port = await federation.listen()
    own = federation.member("a")
    async with RawSpoke(port, own) as spoke:
        await spoke.hello()
        federation.hub.removed.add("a")
        began = time.monotonic()
        assert federation.streams.close("a", "removed", "cluster a was removed")
        assert await spoke.hear_goodbye() == "removed"
        assert time.monotonic() - began < 2  # a few milliseconds, on a machine with nothing else to do
    await federation.hub.until(lambda: ("detach", "a") in federation.hub.streams)
    async with RawSpoke(port, own) as again:
        await again.say(HELLO)
        assert await again.hear_goodbye() == "removed"
    assert federation.hub.streams.count(("attach", "a")) == 1
    assert not federation.streams.close("a", "removed", "")


async def test_who_is_not_welcome_any_more_hears_it_on_the_live_stream(federation: Federation) -> None:
    port = await federation.listen()
    async with RawSpoke(port, federation.member("a")) as spoke:
        await spoke.hello()
        federation.hub.removed.add("a")
        await spoke.say(pb.FromSpoke(heartbeat=pb.Heartbeat()))
        assert await spoke.hear_goodbye() == "removed"


async def test_a_cluster_removed_while_it_is_being_let_in_is_out_again(federation: Federation) -> None:
    port = await federation.listen()
    federation.hub.attach_gate = asyncio.Event()
    async with RawSpoke(port, federation.member("a")) as spoke:
        await spoke.say(HELLO)
        await asyncio.wait_for(federation.hub.attaching.wait(), 5)
        federation.streams.close("a", "removed", "")  # attach has looked already, and answers yes
        federation.hub.attach_gate.set()
        assert await spoke.hear_goodbye() == "removed"
    await federation.hub.until(lambda: federation.hub.streams == [("attach", "a"), ("detach", "a")])
    assert not federation.streams.connected("a")


async def test_a_refused_stream_does_not_disturb_the_live_one(federation: Federation) -> None:
    port = await federation.listen()
    own = federation.member("a")
    async with RawSpoke(port, own) as live, RawSpoke(port, own) as stranger:
        await live.hello()
        federation.hub.removed.add("a")  # stands for any reason not to let the second one in
        await stranger.say(HELLO)
        assert await stranger.hear_goodbye() == "removed"
        await live.say(reports(report("j-a", 1)))
        assert (await live.hear()).report_acks.acks[0].seq == 1


async def test_a_message_at_fault_is_dropped_and_the_rest_goes_on(
    federation: Federation, caplog: pytest.LogCaptureFixture
) -> None:
    port = await federation.listen()
    async with RawSpoke(port, federation.member("a")) as spoke:
        await spoke.hello()
        with caplog.at_level(logging.WARNING):
            await spoke.say(
                pb.FromSpoke(summary=pb.Summary(shapes=[pb.Shape(node_class=9)])),
                pb.FromSpoke(acks=pb.CommandAcks(acks=[pb.CommandAck()])),
                pb.FromSpoke(),
                HELLO,
                pb.FromSpoke(log_chunk=pb.LogChunk(id=99, data=b"nobody asked")),
                reports(report("j-a", 1, "exploded"), report("j-b", 1), report("j-c", 0)),
            )
            assert [ack.ref.job for ack in (await spoke.hear()).report_acks.acks] == ["j-b"]
        for field in ("shapes[0].node_class", "ack.id", "report.event", "report.seq", "hello"):
            assert field in caplog.text
        assert federation.hub.summaries == {}


async def test_commands_come_in_batches_and_again_on_the_next_stream(federation: Federation) -> None:
    port = await federation.listen()
    own = federation.member("a")
    ordered = await federation.hub.order_all("a", [JobRef(f"j-{n}", 1) for n in range(600)])
    async with RawSpoke(port, own) as spoke:
        await spoke.hello()
        batches = [(await spoke.hear()).commands.commands for _ in range(3)]
        assert [len(batch) for batch in batches] == [256, 256, 88]
        assert [command.id for batch in batches for command in batch] == [command.id for command in ordered]
        await spoke.say(acks([command.id for command in ordered[:500]]))
        await federation.hub.until(lambda: len(federation.hub.acks) == 500)
        (late,) = await federation.hub.order_all("a", [JobRef("late", 1)])
        assert [command.id for command in (await spoke.hear()).commands.commands] == [late.id]  # and nothing twice
    async with RawSpoke(port, own) as spoke:
        await spoke.hello()
        again = (await spoke.hear()).commands.commands
        assert [command.id for command in again] == [command.id for command in [*ordered[500:], late]]


async def test_batches_are_bounded_by_size_too(federation: Federation) -> None:
    port = await federation.listen()
    await federation.hub.order_all("a", [JobRef(f"j-{n}", 1) for n in range(6)], Stop(1, "x" * 3_000_000))
    async with RawSpoke(port, federation.member("a")) as spoke:
        await spoke.hello()
        assert [len((await spoke.hear()).commands.commands) for _ in range(3)] == [2, 2, 2]


async def test_a_command_that_no_message_can_carry_is_refused_here(federation: Federation) -> None:
    port = await federation.listen()
    await federation.hub.order("a", JobRef("j-bad", 1), Stop(1, "\ud800"))
    await federation.hub.order("a", JobRef("j-good", 1))
    async with RawSpoke(port, federation.member("a")) as spoke:
        await spoke.hello()
        assert [command.ref.job for command in (await spoke.hear()).commands.commands] == ["j-good"]
    assert [(ack.ref.job, ack.refused_code) for _, ack in federation.hub.acks] == [("j-bad", "invalid")]


async def test_reports_that_gather_during_a_commit_share_the_next_one(federation: Federation) -> None:
    port = await federation.listen()
    entered, gate = asyncio.Event(), asyncio.Event()
    commit = federation.hub.reported

    async def slow(cluster: str, batch: object) -> object:
        entered.set()
        await gate.wait()
        return await commit(cluster, batch)  # type: ignore[arg-type]

    federation.hub.reported = slow  # type: ignore[method-assign, assignment]
    async with RawSpoke(port, federation.member("a")) as spoke:
        await spoke.hello()
        await spoke.say(reports(report("j-0", 1)))
        await asyncio.wait_for(entered.wait(), 5)
        await spoke.say(*(reports(report(f"j-{n}", 1)) for n in range(1, 20)))
        # Everything else goes on meanwhile, and by the heartbeat's arrival the reports have been read too.
        await spoke.say(pb.FromSpoke(heartbeat=pb.Heartbeat()))
        await federation.hub.until(lambda: federation.hub.heartbeats["a"] == 1)
        gate.set()
        await federation.hub.until(lambda: len(federation.hub.applied.get("a", [])) == 20)
    assert federation.hub.batches == [1, 19]


async def test_a_spoke_that_reads_nothing_holds_up_nobody_else(federation: Federation) -> None:
    port = await federation.listen()
    proxy = CuttingProxy(port)
    async with (
        RawSpoke(await proxy.listen(), federation.member("slow")) as slow,
        RawSpoke(port, federation.member("quick")) as quick,
    ):
        await slow.hello()
        await quick.hello()
        proxy.stall()
        await federation.hub.order_all("slow", [JobRef(f"j-{n}", 1) for n in range(600)], Stop(1, "x" * 100_000))
        await federation.hub.order("quick", JobRef("j-q", 1))
        assert (await quick.hear()).commands.commands[0].ref.job == "j-q"
        await quick.say(reports(report("j-q", 1)))
        assert (await quick.hear()).report_acks.acks[0].ref.job == "j-q"
    await proxy.close()


async def test_a_failing_store_ends_the_stream_and_confirms_nothing(federation: Federation) -> None:
    port = await federation.listen()
    federation.hub.fail_next_reports = 1
    async with RawSpoke(port, federation.member("a")) as spoke:
        await spoke.hello()
        await spoke.say(reports(report("j-a", 1)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await spoke.call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "disk" not in (caught.value.details() or "")
    await federation.hub.until(lambda: ("detach", "a") in federation.hub.streams)


async def test_a_stream_does_not_outlive_its_certificate(federation: Federation) -> None:
    late = timedelta(0)
    federation.clock = lambda: now() + late
    port = await federation.listen()
    async with RawSpoke(port, federation.member("a")) as spoke:
        await spoke.hello()
        late = timedelta(hours=24, minutes=1)
        await spoke.say(pb.FromSpoke(heartbeat=pb.Heartbeat()))
        assert await spoke.hear_goodbye() == "expired"


async def test_renewal_signs_for_the_caller_and_nobody_else(federation: Federation) -> None:
    port = await federation.listen()
    own = federation.member("a")
    async with RawSpoke(port, own) as spoke:
        key_pem, csr_pem = identity.new_request()
        answer = await spoke.stub.Renew(pb.RenewRequest(csr_pem=csr_pem))
        fresh = identity.assemble(key_pem, answer.certificate_pem, own.ca_pem)
        assert fresh.cluster == "a"
        assert fresh.certificate.serial != own.certificate.serial
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await spoke.stub.Renew(pb.RenewRequest(csr_pem=b"nonsense"))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        federation.hub.removed.add("a")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await spoke.stub.Renew(pb.RenewRequest(csr_pem=csr_pem))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_hub_that_stops_says_goodbye(federation: Federation) -> None:
    port = await federation.listen()
    async with RawSpoke(port, federation.member("a")) as spoke:
        await spoke.hello()
        assert federation.server is not None
        stopping = asyncio.ensure_future(federation.server.stop())
        assert await spoke.hear_goodbye() == "shutdown"
        await asyncio.wait_for(stopping, 3)


async def test_a_port_that_is_taken_is_said_so(federation: Federation) -> None:
    port = await federation.listen()
    with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
        await serve(
            federation.hub, federation.authority, federation.streams, host="127.0.0.1", port=port, names=["localhost"]
        )


async def test_a_renewed_server_certificate_is_served_without_a_restart(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CERTIFICATE_CHECK", timedelta(0))
    port = await federation.listen()
    own = federation.member("a")
    first = await asyncio.to_thread(served_serial, port, own, federation.directory)
    assert await asyncio.to_thread(served_serial, port, own, federation.directory) == first
    (federation.directory / "hub" / "server.pem").unlink()
    assert await asyncio.to_thread(served_serial, port, own, federation.directory) != first
    async with RawSpoke(port, own) as spoke:
        assert (await spoke.hello()).WhichOneof("message") == "welcome"


def served_serial(port: int, own: Identity, directory: Path) -> int:
    pair = directory / "pair.pem"
    pair.write_bytes(own.key_pem + own.certificate_pem)
    context = ssl.create_default_context(cadata=own.ca_pem.decode())
    context.load_cert_chain(pair)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        der = secure.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number
