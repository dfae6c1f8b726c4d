"""How a certificate says which cluster it speaks for, read and written in one place for both ends.

The name stands in the subject's CN for people and in one URI of the alternative names for programs; a certificate of
the same CA without that URI (the hub's own) speaks for no cluster. Whether a certificate is to be trusted at all (its
chain, its dates, its purpose) is TLS's question and answered before anything here is asked.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

# The hub's own certificate has this name beside those that people use: who asks for it is shown that certificate, also
# where the hub shows one from elsewhere under its public name.
HUB_NAME = "hub.muster.internal"

_URI = "muster://cluster/"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


class BadCertificate(ValueError):
    """Not a certificate, or not one that speaks for a cluster."""


@dataclass(frozen=True, slots=True)
class ClusterCertificate:
    cluster: str
    serial: str  # hexadecimal, lower case
    not_before: datetime
    expires_at: datetime


def is_cluster_name(name: str) -> bool:
    """Lower-case letters, digits, dots and dashes, 63 at the most, a letter or digit first and last."""
    return _NAME.fullmatch(name) is not None


def cluster_uri(name: str) -> str:
    """Raises ValueError for what is not a cluster's name."""
    if not is_cluster_name(name):
        raise ValueError(
            f"cluster name {name!r}: use lower-case letters, digits, dots and dashes, at most 63, "
            "with a letter or digit first and last"
        )
    return _URI + name


def read_cluster(certificate_pem: bytes) -> ClusterCertificate:
    """Raises BadCertificate."""
    certificate = load(certificate_pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise BadCertificate(f"the certificate speaks for no cluster: {error}") from error
    uris = [uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith(_URI)]
    if len(uris) != 1 or not is_cluster_name(uris[0].removeprefix(_URI)):
        raise BadCertificate(f"the certificate must name one cluster as {_URI}NAME; it names {uris}")
    return ClusterCertificate(
        cluster=uris[0].removeprefix(_URI),
        serial=serial_text(certificate.serial_number),
        not_before=certificate.not_valid_before_utc,
        expires_at=certificate.not_valid_after_utc,
    )


def load(certificate_pem: bytes) -> x509.Certificate:
    """Raises BadCertificate."""
    try:
        return x509.load_pem_x509_certificate(certificate_pem)
    except ValueError as error:
        raise BadCertificate(f"not a certificate in PEM: {error}") from error


def first_pem(certificate_pem: bytes) -> bytes:
    """The first certificate alone, whatever else the text holds. Raises BadCertificate."""
    return load(certificate_pem).public_bytes(Encoding.PEM)


def serial_text(serial: int) -> str:
    return format(serial, "x")


def fingerprint(certificate_pem: bytes) -> str:
    """SHA-256 of the first certificate's DER, 64 hexadecimal digits. Raises BadCertificate."""
    return hashlib.sha256(load(certificate_pem).public_bytes(Encoding.DER)).hexdigest()
