"""The hub's own certificate authority: the root of all trust between hub and spokes.

A federation must not need a PKI team, so the hub makes a CA at its first start and signs everything with it: the
certificate of its own doors and one per cluster, each for a day. There is no revocation list; a removed cluster is
refused by the hub's records at once, and its certificate dies within the day. What a signing request says about its
subject is ignored: the hub decides what a certificate says, the request only proves that its sender holds the key.

A key and its certificate lie in one file, so that no crash can leave a pair that does not match. Not promised: moving
to a new CA while spokes keep running, or a key held outside the hub's directory.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
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
SPOKE_CURVES = (ec.SECP256R1, ec.SECP384R1)
# The peer's clock may be a little behind.
BACKDATED = timedelta(minutes=5)


class RequestRefused(Exception):
    """A signing request that is not signed; the message says what is wrong with it."""


class DamagedAuthority(Exception):
    """The directory's CA cannot be used. Making another one silently would lock every spoke out."""


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
    """Signs. Made by `open`."""

    def __init__(
        self,
        directory: Path,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        spoke_life: timedelta = SPOKE_LIFE,
    ) -> None:
        self._directory = directory
        self._spoke_life = spoke_life
        self._key = key
        self._certificate = certificate
        self.ca_pem: bytes = certificate.public_bytes(Encoding.PEM)
        self.ca_fingerprint: str = certificates.fingerprint(self.ca_pem)  # what join tokens pin

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

    def server_certificate(self, names: Iterable[str], now: datetime) -> ServerCertificate:
        """For the hub's doors under `names` (host names and addresses).

        The one on disk, while it has a third of its life left and says the same names; else a new one.
        """
        path = self._directory / "server.pem"
        wanted = list(dict.fromkeys(names))
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
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
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
