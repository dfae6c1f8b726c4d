"""A throw-away certificate authority for one control plane: its own serving certificates and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Pair:
    certificate_pem: bytes
    key_pem: bytes


class Authority:
    def __init__(self, name: str, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> None:
        self.name = name
        self._certificate = certificate
        self._key = key

    @classmethod
    def make(cls, name: str) -> Self:
        key = _rsa_key()  # cert-controller parses no other kind
        # The name as a DNS name too: cert-controller checks its CA by it.
        return cls(name, _sign(name, (name,), key, _name(name), key, is_authority=True), key)

    @property
    def pair(self) -> Pair:
        return Pair(self._certificate.public_bytes(serialization.Encoding.PEM), _pem(self._key))

    def serving(self, *names: str) -> Pair:
        """A server certificate for host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(names[0], names, key, self._certificate.subject, self._key, is_authority=False)
        return Pair(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))

    def client(self, uri: str) -> Pair:
        """A client certificate that claims to be whoever the URI names."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(self.name, (uri,), key, self._certificate.subject, self._key, is_authority=False)
        return Pair(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def rsa_key_pem() -> bytes:
    """What signs service account tokens."""
    return _pem(_rsa_key())


def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _sign(
    common_name: str,
    names: tuple[str, ...],
    key: Key,
    issuer: x509.Name,
    issuer_key: Key,
    *,
    is_authority: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
    )
    if not is_authority:
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
