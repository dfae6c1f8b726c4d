"""The small HTTP client against a server that answers as it is told to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from spoke.cluster.exchange import BadAnswer, Exchange

HEAD = b"POST /here HTTP/1.1\r\nHost: x"
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Gives each request, on whatever connection, the next of its answers: pieces, sent one after the other."""

    def __init__(self) -> None:
        self.answers: list[Sequence[bytes]] = []
        self.heard: list[bytes] = []
        self.has_heard = asyncio.Event()
        self.connections: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                return
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            self.heard.append(await reader.readexactly(length))
            self.has_heard.set()
            for piece in self.answers.pop(0):
                if not piece:
                    writer.close()
                    return
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def exchange(server: Server) -> AsyncIterator[Exchange]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    exchange = Exchange("127.0.0.1", listening.sockets[0].getsockname()[1], None)
    yield exchange
    exchange.close()
    listening.close()


async def test_requests_follow_one_another_on_one_connection(exchange: Exchange, server: Server) -> None:
    server.answers = [[CREATED]] * 3
    for number in range(3):
        assert await exchange.ask(HEAD, b"%d" % number, 5) == (201, b"ok")
    assert server.heard == [b"0", b"1", b"2"]
    assert len(server.connections) == 1


async def test_requests_at_once_have_a_connection_each_which_are_kept(exchange: Exchange, server: Server) -> None:
    server.answers = [[CREATED]] * 8
    for _ in range(2):
        answers = await asyncio.gather(*(exchange.ask(HEAD, b"", 5) for _ in range(4)))
        assert answers == [(201, b"ok")] * 4
    assert len(server.connections) == 4


@pytest.mark.parametrize(
    "whole",
    [
        CREATED,
        b"HTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
        # Whoever believes the length here takes what follows for the next answer.
        b"HTTP/1.1 201 C\r\nContent-Length: 1\r\nTransfer-Encoding:chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_an_answer_may_come_in_any_pieces(exchange: Exchange, server: Server, whole: bytes, size: int) -> None:
    server.answers = [[whole[at : at + size] for at in range(0, len(whole), size)], [CREATED]]
    status, body = await exchange.ask(HEAD, b"", 5)
    assert (status, body) in [(201, b"ok"), (409, b"abc0123456789"), (204, b"")]
    assert await exchange.ask(HEAD, b"", 5) == (201, b"ok")
    assert len(server.connections) == 1


async def test_a_connection_that_the_server_closes_is_not_used_again(exchange: Exchange, server: Server) -> None:
    closing = CREATED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    server.answers = [[closing, b""], [CREATED], [CREATED]]
    assert await exchange.ask(HEAD, b"", 5) == (201, b"ok")
    assert await exchange.ask(HEAD, b"", 5) == (201, b"ok")
    server.connections[-1].close()  # while it is idle
    await server.connections[-1].wait_closed()
    await asyncio.sleep(0.01)
    assert await exchange.ask(HEAD, b"", 5) == (201, b"ok")
    assert len(server.connections) == 3


@pytest.mark.parametrize("answer", [[b""], [CREATED[:20], b""], [CREATED[:-1], b""]])
async def test_a_connection_that_breaks_is_an_os_error(
    exchange: Exchange, server: Server, answer: Sequence[bytes]
) -> None:
    server.answers = [answer, [CREATED]]
    with pytest.raises(OSError, match="closed"):
        await exchange.ask(HEAD, b"", 5)
    assert await exchange.ask(HEAD, b"", 5) == (201, b"ok")


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * (1 << 17),
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-10\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
async def test_what_is_not_an_answer_is_refused(exchange: Exchange, server: Server, answer: bytes) -> None:
    server.answers = [[answer], [CREATED]]
    with pytest.raises(BadAnswer):
        await exchange.ask(HEAD, b"", 5)
    assert await exchange.ask(HEAD, b"", 5) == (201, b"ok")


async def test_a_server_that_says_nothing_is_waited_for_so_long(exchange: Exchange, server: Server) -> None:
    server.answers = [[], [CREATED]]
    with pytest.raises(TimeoutError, match="no answer"):
        await exchange.ask(HEAD, b"", 0.01)
    assert await exchange.ask(HEAD, b"", 5) == (201, b"ok")


async def test_who_goes_away_leaves_no_answer_for_the_next(exchange: Exchange, server: Server) -> None:
    server.answers = [[], [CREATED]]
    asking = asyncio.create_task(exchange.ask(HEAD, b"mine", 5))
    await server.has_heard.wait()
    asking.cancel()
    assert await exchange.ask(HEAD, b"", 5) == (201, b"ok")
    assert len(server.connections) == 2


async def test_a_server_that_is_away(exchange: Exchange) -> None:
    with pytest.raises(OSError, match=r"refused|onnect"):
        await Exchange("127.0.0.1", 1, None).ask(HEAD, b"", 5)


@pytest.mark.parametrize(
    "pieces",
    [
        [CREATED + b"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nbad"],
        [CREATED, b"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nbad"],
        [b"HTTP/1.1 201 C\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: trailer\r\n\r\n"],
        [CREATED.replace(b"\r\n\r\n", b"\r\nConnection:close\r\n\r\n")],
    ],
)
async def test_what_comes_after_an_answer_is_nobodys(
    exchange: Exchange, server: Server, pieces: Sequence[bytes]
) -> None:
    server.answers = [pieces, [CREATED]]
    assert await exchange.ask(HEAD, b"", 5) == (201, b"ok")
    await asyncio.sleep(0.01)
    assert await exchange.ask(HEAD, b"", 5) == (201, b"ok")
    assert len(server.connections) == 2


async def test_a_connection_that_was_idle_for_long_is_not_used_again(server: Server) -> None:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    exchange = Exchange("127.0.0.1", listening.sockets[0].getsockname()[1], None, idle_s=0.0)
    server.answers = [[CREATED]] * 5
    await asyncio.gather(*(exchange.ask(HEAD, b"", 5) for _ in range(2)))
    assert await exchange.ask(HEAD, b"", 5) == (201, b"ok")
    assert len(server.connections) == 3
    exchange.close()
    listening.close()


async def test_the_server_must_have_the_name_that_is_asked_for(tmp_path: Path, server: Server) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, now - timedelta(hours=1), now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("api.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    (tmp_path / "cert").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=serving)
    port = listening.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert"))
    trusting.verify_flags &= ~ssl.VERIFY_X509_STRICT
    server.answers = [[CREATED]]
    exchange = Exchange("127.0.0.1", port, trusting, "api.test")
    assert await exchange.ask(HEAD, b"", 5) == (201, b"ok")
    exchange.close()
    for context, wanted in ((trusting, ""), (trusting, "other.test"), (ssl.create_default_context(), "api.test")):
        with pytest.raises(ssl.SSLCertVerificationError):  # an OSError
            await Exchange("127.0.0.1", port, context, wanted).ask(HEAD, b"secret", 5)
    assert server.heard == [b""]
    listening.close()
