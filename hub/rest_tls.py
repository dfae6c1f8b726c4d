"""Which certificate the REST door shows to whom.

The hub's own is enough for spokes, which know its CA by the hash in their join token, and for people who are given
ca.crt. People's tools trust certificates from elsewhere, so the hub can be given one for its public names. Both are
served on one port, by the name that the client asks for (SNI): the given certificate under the names that it has, the
hub's own under every other, and to those that ask for none, as who dials an address does. A joining spoke asks for
certificates.HUB_NAME where the public name shows it a certificate of another CA, so its secret goes to the hub's own
certificate alone, whatever else the port shows.

The given files are read again when they change: whoever renews them need not tell the hub. A pair that does not fit
together, as for a moment while the files are replaced, is not taken; the one before is shown until its end and beyond.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from hub.pki import Authority, GivenRefused, read_given

log = logging.getLogger(__name__)

NEAR_ITS_END = timedelta(days=14)
_TOLD_EVERY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class GivenFiles:
    certificate: Path  # PEM: the server's certificate first, then those that lead to a trusted CA
    key: Path


@dataclass(frozen=True, slots=True)
class _Given:
    content: tuple[bytes, bytes]
    names: frozenset[str]
    expires_at: datetime
    context: ssl.SSLContext


class RestTls:
    """`context` is what the server uses; `refresh` now and then, from a thread (it reads files)."""

    def __init__(
        self, authority: Authority, names: Sequence[str], given: GivenFiles | None, clock: Callable[[], datetime]
    ) -> None:
        """Raises hub.pki.GivenRefused."""
        self._authority = authority
        self._names = names
        self._files = given
        self._clock = clock
        self._told_at: datetime | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self._own_path())
        self._given = None if given is None else _read(given)
        if given is not None:
            self.context.sni_callback = self._choose
        self._tell_of_the_end()

    def refresh(self) -> None:
        """For handshakes from now on."""
        self.context.load_cert_chain(self._own_path())
        if self._files is None or self._given is None:
            return
        try:
            if _content(self._files) != self._given.content:
                self._given = _read(self._files)
                self._told_at = None
                log.info(
                    "the REST certificate was replaced, it is good until %s", f"{self._given.expires_at:%F %T} UTC"
                )
        except GivenRefused as error:
            log.warning("%s; the certificate before it is still shown", error)
        self._tell_of_the_end()

    def _own_path(self) -> Path:
        return self._authority.server_certificate(self._names, self._clock()).path

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called within each handshake."""
        if self._given is not None and name is not None and _covers(self._given.names, name):
            connection.context = self._given.context

    def _tell_of_the_end(self) -> None:
        now = self._clock()
        if self._given is None or now < self._given.expires_at - NEAR_ITS_END:
            return
        if self._told_at is None or now >= self._told_at + _TOLD_EVERY:
            self._told_at = now
            log.warning("the REST certificate is good until %s UTC only: replace it", f"{self._given.expires_at:%F %T}")


def _content(files: GivenFiles) -> tuple[bytes, bytes]:
    try:
        return files.certificate.read_bytes(), files.key.read_bytes()
    except OSError as error:
        raise GivenRefused(f"{error.filename} cannot be read: {error.strerror}") from error


def _read(files: GivenFiles) -> _Given:
    content = _content(files)
    _, certificate = read_given(files.certificate, files.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (ssl.SSLError, OSError) as error:
        raise GivenRefused(f"{files.certificate} and {files.key} cannot be used together: {error}") from error
    names = _dns_names(certificate)
    if not names:
        raise GivenRefused(f"{files.certificate} has no host name among its alternative names (DNS): nobody can use it")
    return _Given(content, names, certificate.not_valid_after_utc, context)


def _dns_names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        said = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    return frozenset(name.lower() for name in said.get_values_for_type(x509.DNSName))


def _covers(names: frozenset[str], asked: str) -> bool:
    """A star stands for one label, the first."""
    name = asked.lower().rstrip(".")
    return name in names or "*." + name.partition(".")[2] in names
