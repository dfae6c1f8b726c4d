"""Who this spoke is: its key, the certificate the hub gave it, and the CA it trusts, in one file.

One file, because the three belong together: a crash between two writes would leave a key whose certificate is gone. The
key is made here and never leaves; each renewal makes a new one. When to renew is a function of the certificate's dates
and the time; one that expired (the spoke was off for a day) cannot be renewed: whoever holds it must join again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from pydantic import BaseModel, ConfigDict, ValidationError

from wire import certificates, private_file
from wire.certificates import ClusterCertificate

FILE = "identity.json"


class BadIdentity(Exception):
    """The key, the certificate and the CA do not fit together, or the file is damaged."""


@dataclass(frozen=True, slots=True)
class Identity:
    key_pem: bytes
    certificate_pem: bytes
    ca_pem: bytes
    certificate: ClusterCertificate  # what certificate_pem says
    grpc_address: str = ""  # host:port, as the hub told at joining; "" where it did not
    token_id: str = ""  # of the join token that began it; not the secret

    @property
    def cluster(self) -> str:
        return self.certificate.cluster


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key_pem: str
    certificate_pem: str
    ca_pem: str
    grpc_address: str = ""
    token_id: str = ""


def load(directory: Path) -> Identity | None:
    """None where this spoke never joined. Raises BadIdentity."""
    path = directory / FILE
    try:
        stored = _Stored.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise BadIdentity(f"{path} is damaged; remove it and join again with a new token: {error}") from error
    parts = (stored.key_pem.encode(), stored.certificate_pem.encode(), stored.ca_pem.encode())
    return assemble(*parts, stored.grpc_address, stored.token_id)


def save(directory: Path, identity: Identity) -> None:
    """Replaces the one that is there, whole or not at all; readable by its owner only."""
    stored = _Stored(
        key_pem=identity.key_pem.decode(),
        certificate_pem=identity.certificate_pem.decode(),
        ca_pem=identity.ca_pem.decode(),
        grpc_address=identity.grpc_address,
        token_id=identity.token_id,
    )
    private_file.write(directory / FILE, stored.model_dump_json(indent=1).encode() + b"\n")


def assemble(
    key_pem: bytes, certificate_pem: bytes, ca_pem: bytes, grpc_address: str = "", token_id: str = ""
) -> Identity:
    """Checks that the parts belong together. Raises BadIdentity."""
    try:
        key = load_pem_private_key(key_pem, password=None)
        certificate = certificates.load(certificate_pem)
        certificate.verify_directly_issued_by(certificates.load(ca_pem))
        read = certificates.read_cluster(certificate_pem)
    except Exception as error:  # the parser has many ways of saying no
        raise BadIdentity(f"the hub's certificate cannot be used: {error or type(error).__name__}") from error
    if key.public_key() != certificate.public_key():
        raise BadIdentity("the certificate is for another key than this spoke's")
    return Identity(key_pem, certificate_pem, ca_pem, read, grpc_address, token_id)


def renew_at(certificate: ClusterCertificate) -> datetime:
    """At two thirds of its life."""
    life: timedelta = certificate.expires_at - certificate.not_before
    return certificate.not_before + life * 2 / 3


def must_join_again(certificate: ClusterCertificate, now: datetime) -> bool:
    return now >= certificate.expires_at


def new_request() -> tuple[bytes, bytes]:
    """A new key and a signing request for it, both PEM. The hub decides the name; the request only proves the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "muster spoke")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key_pem, request.public_bytes(Encoding.PEM)
