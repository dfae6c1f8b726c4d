from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hub import pki
from hub.pki import Authority, DamagedAuthority, RequestRefused
from spoke import identity
from wire.certificates import BadCertificate

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ["hub.example.com", "localhost", "127.0.0.1", "::1"]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "pki", NOW)


def request_of(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, name: str = "x"
) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    wish = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("muster://cluster/somebody-else")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(wish, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


def test_the_ca_is_made_once_and_is_its_owners_alone(tmp_path: Path, authority: Authority) -> None:
    again = Authority.open(tmp_path / "pki", NOW + timedelta(days=900))
    assert again.ca_pem == authority.ca_pem
    assert again.ca_fingerprint == authority.ca_fingerprint
    assert stat.S_IMODE((tmp_path / "pki" / "ca.pem").stat().st_mode) == 0o600
    assert b"PRIVATE" not in authority.ca_pem
    certificate = x509.load_pem_x509_certificate(authority.ca_pem)
    assert authority.ca_fingerprint == certificate.fingerprint(hashes.SHA256()).hex()
    assert certificate.not_valid_after_utc == NOW + pki.CA_LIFE
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_ca_is_not_replaced_silently(tmp_path: Path, authority: Authority, damage: bytes | None) -> None:
    path = tmp_path / "pki" / "ca.pem"
    other = Authority.open(tmp_path / "other", NOW)
    key_part = path.read_bytes().split(b"-----BEGIN CERT")[0]
    path.write_bytes(key_part + other.ca_pem if damage is None else damage)
    before = path.read_bytes()
    with pytest.raises(DamagedAuthority, match="restore it from a backup"):
        Authority.open(tmp_path / "pki", NOW)
    assert path.read_bytes() == before


def test_a_spokes_certificate_says_what_the_hub_says(authority: Authority) -> None:
    signed = authority.sign_spoke(request_of(ec.generate_private_key(ec.SECP256R1())), "onprem-a", NOW)
    assert pki.cluster_of(signed.pem) == ("onprem-a", signed.serial)
    certificate = x509.load_pem_x509_certificate(signed.pem)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.ca_pem))
    assert certificate.subject.rfc4514_string() == "CN=onprem-a"
    assert certificate.not_valid_before_utc < NOW
    assert signed.expires_at == certificate.not_valid_after_utc == NOW + timedelta(hours=24)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == ["muster://cluster/onprem-a"]


def test_serials_differ(authority: Authority) -> None:
    csr = request_of(ec.generate_private_key(ec.SECP384R1()))
    assert authority.sign_spoke(csr, "a", NOW).serial != authority.sign_spoke(csr, "a", NOW).serial


@pytest.mark.parametrize(
    ("csr", "problem"),
    [
        (b"", "not a certificate signing request"),
        (
            b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            "not a certificate signing",
        ),
        (request_of(rsa.generate_private_key(65537, 2048)), "P-256 or P-384"),
        (request_of(ed25519.Ed25519PrivateKey.generate()), "P-256 or P-384"),
        (request_of(ec.generate_private_key(ec.SECP256K1())), "P-256 or P-384"),
    ],
)
def test_bad_requests_are_refused(authority: Authority, csr: bytes, problem: str) -> None:
    with pytest.raises(RequestRefused, match=problem):
        authority.sign_spoke(csr, "a", NOW)


def test_a_request_signed_with_another_key_is_refused(authority: Authority) -> None:
    der = bytearray(
        x509.load_pem_x509_csr(request_of(ec.generate_private_key(ec.SECP256R1()))).public_bytes(Encoding.DER)
    )
    der[-1] ^= 1  # inside the signature
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(RequestRefused, match="signature"):
        authority.sign_spoke(forged, "a", NOW)


@pytest.mark.parametrize("cluster", ["", "A", "a/b", "a b", "-a", "a" * 64, "ä"])
def test_only_cluster_names_get_into_a_certificate(authority: Authority, cluster: str) -> None:
    with pytest.raises(ValueError, match="cluster name"):
        authority.sign_spoke(request_of(ec.generate_private_key(ec.SECP256R1())), cluster, NOW)


def test_the_hubs_own_certificate_speaks_for_no_cluster(authority: Authority) -> None:
    with pytest.raises(BadCertificate):
        pki.cluster_of(authority.server_certificate(NAMES, NOW).certificate_pem)
    with pytest.raises(BadCertificate):
        pki.cluster_of(authority.ca_pem)
    with pytest.raises(BadCertificate):
        pki.cluster_of(b"nonsense")


def test_the_server_certificate_is_kept_while_it_is_good(authority: Authority) -> None:
    first = authority.server_certificate(NAMES, NOW)
    almost = NOW + pki.SERVER_LIFE * 2 / 3 - timedelta(days=1)
    assert authority.server_certificate(reversed(NAMES), almost) == first
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(first.path)  # one file for both


def test_the_server_certificate_is_renewed_when_two_thirds_are_over(authority: Authority) -> None:
    first = authority.server_certificate(NAMES, NOW)
    later = NOW + pki.SERVER_LIFE * 2 / 3 + timedelta(days=1)
    renewed = authority.server_certificate(NAMES, later)
    assert renewed.expires_at == later + pki.SERVER_LIFE > first.expires_at
    assert renewed.key_pem != first.key_pem


def test_other_names_or_another_ca_make_another_server_certificate(tmp_path: Path, authority: Authority) -> None:
    first = authority.server_certificate(NAMES, NOW)
    second = authority.server_certificate([*NAMES, "10.0.0.7"], NOW)
    assert second.certificate_pem != first.certificate_pem
    (tmp_path / "pki" / "ca.pem").unlink()
    fresh = Authority.open(tmp_path / "pki", NOW)
    third = fresh.server_certificate([*NAMES, "10.0.0.7"], NOW)
    x509.load_pem_x509_certificate(third.certificate_pem).verify_directly_issued_by(
        x509.load_pem_x509_certificate(fresh.ca_pem)
    )
    third.path.write_bytes(b"torn")
    assert authority.server_certificate(NAMES, NOW).certificate_pem


def test_nothing_outlives_the_ca(authority: Authority) -> None:
    end = NOW + pki.CA_LIFE
    assert authority.server_certificate(NAMES, end - timedelta(days=1)).expires_at == end
    assert authority.sign_spoke(identity.new_request()[1], "a", end - timedelta(hours=1)).expires_at == end
