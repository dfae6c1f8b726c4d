"""Certificates that the hub is given: its CA, and the one that the REST port shows under its public names."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from hub.app import CannotStart, Hub
from hub.client import HubUnreachable, MusterClient
from hub.pki import Authority, GivenRefused
from hub.rest_tls import GivenFiles, RestTls
from hub.settings import HubSettings
from spoke.join import JoinRefused, join

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def issue(
    directory: Path,
    name: str,
    *,
    key: Key | None = None,
    issuer: Path | None = None,
    ca: bool = False,
    names: tuple[str, ...] = (),
    start: datetime = NOW,
    life: timedelta = timedelta(days=365),
    key_id: bytes | None = None,
) -> Path:
    """`directory`/`name`.crt and .key, as openssl or cert-manager would make them; by itself, or by `issuer`.crt."""
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer: Key = own
    by = subject
    if issuer is not None:
        loaded = load_pem_private_key(issuer.with_suffix(".key").read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        signer, by = loaded, x509.load_pem_x509_certificate(issuer.read_bytes()).subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + life)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
    if key_id is not None:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(key_id), False)
    path = directory / f"{name}.crt"
    path.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM))
    pem = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.with_suffix(".key").write_bytes(pem)
    return path


# ---- the CA ----


@pytest.mark.parametrize(
    "key", [lambda: rsa.generate_private_key(65537, 2048), lambda: ec.generate_private_key(ec.SECP384R1())]
)
async def test_a_hub_signs_with_the_ca_it_is_given(tmp_path: Path, key: Callable[[], Key]) -> None:
    """Its identifier of its key is another one than we would make."""
    now = datetime.now(UTC) - timedelta(minutes=1)
    issue(tmp_path, "ca", key=key(), ca=True, key_id=b"not a hash of it", start=now)
    async with Hub(HubSettings(data_dir=tmp_path / "data", rest_port=0, grpc_port=0, ca_dir=tmp_path)) as hub:
        assert hub.ca_file.read_bytes() == (tmp_path / "ca.crt").read_bytes()
        assert not (tmp_path / "data" / "pki" / "ca.pem").exists()

        def token() -> str:
            with MusterClient(hub.rest_url, hub.admin_token, ca=hub.ca_file) as muster:
                return muster.cluster_token("east")

        joined = await join(hub.rest_url, await asyncio.to_thread(token))
        assert joined.cluster == "east"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda d: (d / "ca.key").unlink(), r"ca\.key cannot be read .*No such file"),
        (lambda d: (d / "ca.crt").write_text("x"), r"ca\.crt cannot be read as a certificate"),
        (lambda d: (d / "ca.key").write_text("x"), r"ca\.key cannot be read as a private key"),
        (lambda d: issue(d, "x").with_suffix(".key").replace(d / "ca.key"), r"ca\.key is not the key of .*ca\.crt"),
        (lambda d: issue(d, "ca", start=NOW - timedelta(days=1)), r"ca\.crt is no CA"),
        (lambda d: issue(d, "ca", ca=True, start=NOW - timedelta(days=400)), "expired at 2026-01-25"),
        (lambda d: issue(d, "ca", ca=True, start=NOW + timedelta(days=1)), "is not valid before 2026-03-02"),
        (lambda d: issue(d, "ca", ca=True, key=rsa.generate_private_key(65537, 1024)), "RSA key of 1024 bits"),
        (lambda d: issue(d, "ca", ca=True, issuer=issue(d, "root", ca=True)), "signed by another CA"),
    ],
)
def test_a_ca_that_cannot_be_used_is_refused(tmp_path: Path, spoil: Callable[[Path], object], says: str) -> None:
    issue(tmp_path, "ca", ca=True)
    Authority.given(tmp_path, tmp_path / "pki", NOW)
    spoil(tmp_path)
    with pytest.raises(GivenRefused, match=says):
        Authority.given(tmp_path, tmp_path / "pki", NOW)


async def test_a_hub_with_such_a_ca_does_not_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = HubSettings(data_dir=tmp_path / "data", rest_port=0, grpc_port=0, ca_dir=tmp_path)
    with pytest.raises(CannotStart, match=r"ca\.crt"):
        await Hub(settings).start()
    issue(tmp_path, "ca", ca=True, start=datetime.now(UTC) - timedelta(minutes=1), life=timedelta(days=20))
    async with Hub(settings):
        pass
    assert "the CA is good until" in caplog.text


# ---- the REST port ----


async def shown_to(context: ssl.SSLContext, name: str | None) -> x509.Certificate:
    """The certificate that a client sees that asks for `name`."""
    incoming, outgoing, theirs_in, theirs_out = (ssl.MemoryBIO() for _ in range(4))
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    client = trusting.wrap_bio(incoming, outgoing, server_hostname=name)
    server = context.wrap_bio(theirs_in, theirs_out, server_side=True)
    for _ in range(5):
        for end in (client, server):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
            theirs_in.write(outgoing.read())
            incoming.write(theirs_out.read())
    der = client.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


def common_name(certificate: x509.Certificate) -> object:
    return certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "pki", NOW)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("hub.example.com", "public"),
        ("HUB.example.com", "public"),
        ("a.star.example.com", "public"),
        ("a.b.star.example.com", "muster hub"),
        ("star.example.com", "muster hub"),
        ("localhost", "muster hub"),
        ("hub.muster.internal", "muster hub"),
        (None, "muster hub"),
    ],
)
async def test_each_name_is_shown_its_certificate(
    tmp_path: Path, authority: Authority, asked: str | None, shown: str
) -> None:
    path = issue(tmp_path, "public", names=("hub.example.com", "*.star.example.com"))
    tls = RestTls(authority, ["localhost"], GivenFiles(path, path.with_suffix(".key")), lambda: NOW)
    assert common_name(await shown_to(tls.context, asked)) == shown


async def test_renewed_files_are_taken_and_broken_ones_are_not(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = issue(tmp_path, "public", names=("hub.example.com",))
    now = NOW
    tls = RestTls(authority, ["localhost"], GivenFiles(path, path.with_suffix(".key")), lambda: now)

    async def serial() -> int:
        return (await shown_to(tls.context, "hub.example.com")).serial_number

    first = await serial()
    tls.refresh()
    assert await serial() == first
    assert caplog.text == ""
    key = path.with_suffix(".key").read_bytes()
    path.with_suffix(".key").write_bytes(issue(tmp_path, "other").with_suffix(".key").read_bytes())
    tls.refresh()
    assert await serial() == first
    assert "is not the key of" in caplog.text
    path.with_suffix(".key").write_bytes(key)
    issue(tmp_path, "public", names=("hub.example.com",), start=NOW)
    tls.refresh()
    assert await serial() != first
    caplog.clear()
    now = NOW + timedelta(days=360)
    tls.refresh()
    tls.refresh()
    assert caplog.text.count("replace it") == 1


async def test_people_see_the_given_certificate_and_a_spoke_joins_by_the_hubs_own(tmp_path: Path) -> None:
    """`localhost` stands for the public name. The hub's CA is neither in the system's trust nor in the given chain."""
    start = datetime.now(UTC) - timedelta(minutes=1)
    path = issue(tmp_path, "public", names=("localhost",), ca=True, start=start)
    settings = HubSettings(
        data_dir=tmp_path / "data",
        rest_port=0,
        grpc_port=0,
        rest_certificate=path,
        rest_key=path.with_suffix(".key"),
    )
    async with Hub(settings) as hub:
        public = hub.rest_url.replace("127.0.0.1", "localhost")

        def token(url: str, ca: Path) -> str:
            with MusterClient(url, hub.admin_token, ca=ca, patience_s=0) as muster:
                return muster.cluster_token("east")

        spokes = await asyncio.to_thread(token, public, path)  # muster login --ca public.crt
        await asyncio.to_thread(token, hub.rest_url, hub.ca_file)  # as context.json has it
        with pytest.raises(HubUnreachable):
            await asyncio.to_thread(token, public, hub.ca_file)
        async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=path)) as http:
            assert (await http.get(f"{public}/v1/ca")).content == hub.ca_file.read_bytes()
        joined = await join(public, spokes)
        assert joined.cluster == "east"


async def test_a_server_without_a_certificate_of_the_hubs_ca_gets_no_secret(tmp_path: Path) -> None:
    """It passes /v1/ca on and has a certificate that the whole world trusts; that is not enough."""
    start = datetime.now(UTC) - timedelta(minutes=1)
    told: list[bytes] = []
    hubs = Authority.open(tmp_path / "pki", start)
    path = issue(tmp_path, "thief", names=("localhost", "hub.muster.internal"), ca=True, start=start)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, path.with_suffix(".key"))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append(await reader.read(1 << 16))
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(hubs.ca_pem))
        writer.write(hubs.ca_pem)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(JoinRefused, match="does not prove to be localhost"):
            await join(f"https://localhost:{port}", f"id.c2VjcmV0.{hubs.ca_fingerprint}", patience_s=1)
    assert not any(b"c2VjcmV0" in one for one in told)
    assert any(b"/v1/ca" in one for one in told)


@pytest.mark.parametrize("given", ["rest_certificate", "rest_key"])
def test_a_certificate_without_its_key_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=f"{given} is given"):
        HubSettings(**{given: Path("x")})  # type: ignore[arg-type]


# ---- the admin's token, mounted ----


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("", "form muster-ID.SECRET"),
        ("secret", "form muster-ID.SECRET"),
        ("muster-a.short", "32 or more"),
        ("muster-a." + "ab" * 20, "only 2 different characters"),
    ],
)
async def test_a_weak_admin_token_is_refused(tmp_path: Path, token: str, says: str) -> None:
    file = tmp_path / "token"
    file.write_text(token)
    settings = HubSettings(data_dir=tmp_path / "data", rest_port=0, grpc_port=0, admin_token_file=file)
    with pytest.raises(CannotStart, match=says):
        await Hub(settings).start()
    assert file.read_text() == token


async def test_a_given_admin_token_is_used_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    token = "muster-0123456789ab.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_abcde"
    file = tmp_path / "token"
    file.write_text(token + "\n")
    settings = HubSettings(data_dir=tmp_path / "data", rest_port=0, grpc_port=0, admin_token_file=file)
    async with Hub(settings) as hub:
        assert hub.admin_token == token
    assert file.read_text() == token + "\n"
    file.write_text(token.replace("AbCd", "dCbA"))
    async with Hub(settings) as hub:
        assert hub.admin_token == ""
    assert "is no user's" in caplog.text
