"""The hub's own certificate authority: the root of all trust between hub and spokes.

A federation must not need a PKI team, so the hub makes a CA at its first start and signs everything with it: the
certificate of its own doors and one per cluster, each for a day. Replicas need one CA for all of them, and some have a
PKI team: they give the hub a CA, which it reads and never writes. There is no revocation list; a removed cluster is
refused by the hub's records at once, and its certificate dies within the day. What a signing request says about its
subject is ignored: the hub decides what a certificate says, the request only proves that its sender holds the key.

A key and its certificate lie in one file, so that no crash can leave a pair that does not match. Not promised: moving
to a new CA while spokes keep running, or a key that is not in a file.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wire import certificates, private_file

CA_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=365)
SPOKE_LIFE = timedelta(hours=24)
GIVEN_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
SPOKE_CURVES = (ec.SECP256R1, ec.SECP384R1)
# The peer's clock may be a little behind.
BACKDATED = timedelta(minutes=5)


class RequestRefused(Exception):
    """A signing request that is not signed; the message says what is wrong with it."""


class DamagedAuthority(Exception):
    """The directory's CA cannot be used. Making another one silently would lock every spoke out."""


class GivenRefused(Exception):
    """A CA or a certificate that the hub was given cannot be used; the message names the file and says why."""


CaKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class SignedCertificate:
    pem: bytes
    serial: str  # hexadecimal
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """`path` holds key and certificate together, for servers that read files."""

    path: Path
    key_pem: bytes
    certificate_pem: bytes
    expires_at: datetime


def cluster_of(peer_certificate_pem: bytes) -> tuple[str, str]:
    """(cluster, serial) of a certificate that TLS has verified. Raises wire.certificates.BadCertificate."""
    peer = certificates.read_cluster(peer_certificate_pem)
    return peer.cluster, peer.serial


class Authority:
    """Signs. Made by `open` or `given`."""

    def __init__(
        self,
        directory: Path,
        key: CaKey,
        certificate: x509.Certificate,
        spoke_life: timedelta = SPOKE_LIFE,
    ) -> None:
        self._directory = directory
        self._spoke_life = spoke_life
        self._key = key
        self._certificate = certificate
        self.ca_pem: bytes = certificate.public_bytes(Encoding.PEM)
        self.ca_fingerprint: str = certificates.fingerprint(self.ca_pem)  # what join tokens pin
        self.expires_at: datetime = certificate.not_valid_after_utc

    @staticmethod
    def open(directory: Path, now: datetime, *, spoke_life: timedelta = SPOKE_LIFE) -> Authority:
        """The directory's CA, made there if there is none yet. Raises DamagedAuthority."""
        path = directory / "ca.pem"
        if not path.exists():
            # Racy on purpose: of two hubs that start in one directory, one makes the CA and both read it.
            private_file.create(path, _new_ca(now))
        try:
            key, certificate = _read_pair(path)
        except ValueError as error:
            raise DamagedAuthority(
                f"{path} is no key with its certificate ({error}): restore it from a backup; "
                "to start over, move it away, and every cluster must join again"
            ) from error
        return Authority(directory, key, certificate, spoke_life)

    @staticmethod
    def given(source: Path, directory: Path, now: datetime, *, spoke_life: timedelta = SPOKE_LIFE) -> Authority:
        """The CA in `source`/ca.crt and ca.key; what is signed for the hub itself lies in `directory`.

        Raises GivenRefused.
        """
        key, certificate = read_given(source / "ca.crt", source / "ca.key")
        problem = _unfit_ca(key, certificate, now)
        if problem:
            raise GivenRefused(f"{source / 'ca.crt'} {problem}")
        return Authority(directory, key, certificate, spoke_life)

    def server_certificate(self, names: Iterable[str], now: datetime) -> ServerCertificate:
        """For the hub's doors under `names` (host names and addresses) and certificates.HUB_NAME.

        The one on disk, while it has a third of its life left and says the same names; else a new one.
        """
        path = self._directory / "server.pem"
        wanted = list(dict.fromkeys((*names, certificates.HUB_NAME)))
        if not self._still_good(path, wanted, now):
            private_file.write(path, self._new_server_pair(wanted, now))
        key, certificate = _read_pair(path)
        return ServerCertificate(
            path, _key_pem(key), certificate.public_bytes(Encoding.PEM), certificate.not_valid_after_utc
        )

    def sign_spoke(self, csr_pem: bytes, cluster: str, now: datetime) -> SignedCertificate:
        """Raises RequestRefused; ValueError where `cluster` is no cluster's name."""
        key = _key_of(csr_pem)
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(certificates.cluster_uri(cluster))])
        certificate = self._signed(key, cluster, names, ExtendedKeyUsageOID.CLIENT_AUTH, now, self._spoke_life)
        return SignedCertificate(
            pem=certificate.public_bytes(Encoding.PEM),
            serial=certificates.serial_text(certificate.serial_number),
            expires_at=certificate.not_valid_after_utc,
        )

    def _still_good(self, path: Path, names: list[str], now: datetime) -> bool:
        try:
            _, certificate = _read_pair(path)
            certificate.verify_directly_issued_by(self._certificate)
            said = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False
        life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        return set(said) == set(_server_names(names)) and certificate.not_valid_after_utc - now > life / 3

    def _new_server_pair(self, names: list[str], now: datetime) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        alternative = x509.SubjectAlternativeName(_server_names(names))
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        certificate = self._signed(key.public_key(), "muster hub", alternative, usage, now, SERVER_LIFE)
        return _key_pem(key) + certificate.public_bytes(Encoding.PEM)

    def _signed(
        self,
        key: ec.EllipticCurvePublicKey,
        common_name: str,
        names: x509.SubjectAlternativeName,
        usage: x509.ObjectIdentifier,
        now: datetime,
        life: timedelta,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - min(BACKDATED, life / 20))
            .not_valid_after(min(now + life, self._certificate.not_valid_after_utc))
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(_issuer(self._certificate), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())


def _new_ca(now: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "muster hub CA")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _key_pem(key) + certificate.public_bytes(Encoding.PEM)


def _issuer(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """As the CA's certificate says it: there is more than one way to make an identifier of a key."""
    try:
        said = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = ca.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)  # noqa: S101 - checked where it was read
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(said)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _server_names(names: list[str]) -> list[x509.GeneralName]:
    return [_server_name(name) for name in names]


def _server_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_of(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key = request.public_key()
        signed = request.is_signature_valid
    except ValueError as error:
        raise RequestRefused(f"csr_pem is not a certificate signing request in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, SPOKE_CURVES):
        raise RequestRefused("csr_pem: the key must be an elliptic curve key on P-256 or P-384")
    if not signed:
        raise RequestRefused("csr_pem: its signature does not fit its key")
    return key


def read_given(certificate_path: Path, key_path: Path) -> tuple[CaKey, x509.Certificate]:
    """The first certificate of the one file and the key of the other. Raises GivenRefused."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
    except (OSError, ValueError) as error:
        raise GivenRefused(f"{certificate_path} cannot be read as a certificate in PEM: {_why(error)}") from error
    try:
        key = load_pem_private_key(key_path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise GivenRefused(f"{key_path} cannot be read as a private key in PEM: {_why(error)}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise GivenRefused(f"{key_path} holds neither an elliptic curve key nor an RSA key")
    if key.public_key() != certificate.public_key():
        raise GivenRefused(f"{key_path} is not the key of {certificate_path}")
    return key, certificate


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _unfit_ca(key: CaKey, certificate: x509.Certificate, now: datetime) -> str:
    """Why it cannot be the root of the hub's trust; "" where it can."""
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < 2048:
        return f"has an RSA key of {key.key_size} bits: make one of 2048 or more, or an elliptic curve key"
    if isinstance(key, ec.EllipticCurvePrivateKey) and not isinstance(key.curve, GIVEN_CURVES):
        return f"has a key on the curve {key.curve.name}: make one on P-256, P-384 or P-521"
    if not _may_sign(certificate):
        return "is no CA: its basic constraints must say CA:TRUE and its key usage, if it says any, keyCertSign"
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature):
        return "is signed by another CA: give a root (self-signed) CA, which spokes can trust by itself"
    if now >= certificate.not_valid_after_utc:
        return f"expired at {certificate.not_valid_after_utc:%F %T} UTC"
    if now < certificate.not_valid_before_utc - BACKDATED:
        return f"is not valid before {certificate.not_valid_before_utc:%F %T} UTC"
    return ""


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False
    try:
        return is_ca and certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return is_ca


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_pair(path: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Raises ValueError where the file is not a key and its certificate."""
    content = path.read_bytes()
    key = load_pem_private_key(content, password=None)
    certificate = x509.load_pem_x509_certificate(content)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError("the key and the certificate do not belong together")
    return key, certificate
