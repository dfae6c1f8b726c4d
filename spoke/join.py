"""How a spoke becomes a member: a one-time token in, an identity out.

The token carries the hash of the hub's CA certificate, so that the first contact needs no other trust: the CA is
fetched over a connection that proves nothing, compared with the hash, and from then on every byte (the token's secret
above all) goes only to a server that this CA vouches for. A hub may show people a certificate from elsewhere under its
public name: it is then asked for its own, by certificates.HUB_NAME. The token is spent by the hub's answer: if that
answer is lost on the way, a new token is needed, and the error says so. Only a hub that cannot be reached, or says that
it does not serve yet, is asked again.
"""

from __future__ import annotations

import logging
import re
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import tenacity

from spoke import identity
from spoke.identity import Identity
from wire import certificates

log = logging.getLogger(__name__)

_TOKEN = re.compile(r"(?P<id>[A-Za-z0-9_-]+)\.(?P<secret>[A-Za-z0-9_-]+)\.(?P<pin>[0-9a-f]{64})")
_NEW_TOKEN = "make a new one at the hub: muster cluster token NAME"  # noqa: S105 - a sentence


class JoinRefused(Exception):
    """Trying again changes nothing: a person must mend something, and the message says what."""


class HubUnreachable(Exception):
    """No connection, or no hub that leads, within the given patience. The token is not spent."""


class _NotServing(HubUnreachable):
    """It answered 503: it is starting, or stands by for another replica."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    id: str
    text: str
    ca_fingerprint: str

    def __repr__(self) -> str:
        return "JoinToken(…)"  # the secret stays out of logs and tracebacks


def read_token(text: str) -> JoinToken:
    """Raises JoinRefused."""
    match = _TOKEN.fullmatch(text.strip())
    if match is None:
        raise JoinRefused(f"the join token is not of the form ID.SECRET.HASH (is it cut off?); {_NEW_TOKEN}")
    return JoinToken(match["id"], match.string, match["pin"])


async def identity_for(directory: Path, *, hub_url: str, token: str, now: datetime) -> Identity:
    """The directory's identity while it is good and no newer token is given; else joins and saves what it gets.

    A token stays where it was configured long after it is spent: the one that the identity began with is not used
    again. Another one is a person's wish to join anew (the hub was set up afresh, the name changed); where it does not
    lead anywhere, a good identity still serves. Raises JoinRefused, HubUnreachable, identity.BadIdentity.
    """
    known = identity.load(directory)
    good = known if known is not None and not identity.must_join_again(known.certificate, now) else None
    if good is not None and (not token or read_token(token).id == good.token_id):
        return good
    if not token:
        because = f"the certificate expired at {known.certificate.expires_at:%F %T} UTC" if known else "it never joined"
        raise JoinRefused(f"this spoke needs a join token: {because}; {_NEW_TOKEN}")
    try:
        joined = await join(hub_url, token)
    except (JoinRefused, HubUnreachable) as error:
        if good is None:
            raise
        log.warning("the new join token was not taken, this spoke goes on as cluster %s: %s", good.cluster, error)
        return good
    identity.save(directory, joined)
    return joined


async def join(hub_url: str, token: str, *, patience_s: float = 60.0, request_s: float = 20.0) -> Identity:
    """Raises JoinRefused, HubUnreachable, identity.BadIdentity. `patience_s` is for a hub that cannot be reached."""
    read = read_token(token)
    base = _base_url(hub_url)
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_may_try_again),
        wait=tenacity.wait_exponential(multiplier=0.2, max=5),
        stop=tenacity.stop_after_delay(patience_s),
        reraise=True,
    )
    key_pem, csr_pem = identity.new_request()
    try:
        ca_pem: bytes = await retrying(_fetch_ca, base, read, request_s)
        answer: dict[str, Any] = await retrying(_ask, base, read, csr_pem, ca_pem, request_s)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        if _is_certificate_error(error):
            raise JoinRefused(
                f"the server at {base} does not prove to be {urlsplit(base).hostname}: {error}; "
                "use a name that the hub's certificate has, or add this one to the hub's names"
            ) from error
        raise HubUnreachable(f"no connection to the hub at {base}: {error}") from error
    except httpx.TransportError as error:
        raise JoinRefused(
            f"the connection to {base} broke before its answer was there ({error or type(error).__name__}); "
            f"the token may be spent: try again, and if it is, {_NEW_TOKEN}"
        ) from error
    address = str(answer.get("grpc_address") or "")
    return identity.assemble(key_pem, _text(answer, "certificate_pem"), ca_pem, address, read.id)


def _base_url(hub_url: str) -> str:
    parts = urlsplit(hub_url)
    if parts.scheme != "https" or not parts.hostname:
        raise JoinRefused(f"the hub's URL {hub_url!r} must be https://HOST:PORT")
    return hub_url.rstrip("/")


async def _fetch_ca(base: str, token: JoinToken, request_s: float) -> bytes:
    # Unverified: this very answer is what everything after it is verified with, and the token's hash verifies it.
    async with httpx.AsyncClient(verify=False, timeout=request_s) as client:  # noqa: S501
        response = await client.get(f"{base}/v1/ca")
    _must_serve(base, response)
    if response.status_code != httpx.codes.OK:
        raise JoinRefused(f"{base}/v1/ca answered {response.status_code}: is this a Muster hub?")
    try:
        found = certificates.fingerprint(response.content)
    except certificates.BadCertificate as error:
        raise JoinRefused(f"{base}/v1/ca is no certificate ({error}): is this a Muster hub?") from error
    if found != token.ca_fingerprint:
        raise JoinRefused(
            f"{base} is not the hub that made this token (its CA is {found[:16]}…, the token says "
            f"{token.ca_fingerprint[:16]}…): the URL is wrong, or somebody stands between; nothing was sent to it"
        )
    # Only what the hash covers: more certificates in the answer would be trusted unseen.
    return certificates.first_pem(response.content)


async def _ask(base: str, token: JoinToken, csr_pem: bytes, ca_pem: bytes, request_s: float) -> dict[str, Any]:
    trusted = ssl.create_default_context(cadata=ca_pem.decode())
    body = {"token": token.text, "csr_pem": csr_pem.decode()}
    async with httpx.AsyncClient(verify=trusted, timeout=request_s) as client:
        try:
            response = await client.post(f"{base}/v1/join", json=body)
        except httpx.ConnectError as error:
            if not _is_of_another_ca(error):
                raise
            # Nothing was sent. The same trust, under the name that only the hub's own certificate has.
            by_name = {"sni_hostname": certificates.HUB_NAME}
            response = await client.post(f"{base}/v1/join", json=body, extensions=by_name)
    _must_serve(base, response)
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise JoinRefused(f"{base}/v1/join answered {response.status_code} and no JSON: is this a Muster hub?")
    if response.is_error:
        raise JoinRefused(_refusal(answer, response.status_code))
    return answer


def _must_serve(base: str, response: httpx.Response) -> None:
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        raise _NotServing(f"the hub at {base} does not serve yet (503)")


def _refusal(answer: dict[str, Any], status: int) -> str:
    """The hub's own words: wrong, used and expired tokens are its to tell apart."""
    error = answer.get("error")
    if not isinstance(error, dict):
        return f"the hub refused with status {status}: {answer}"
    mend = error.get("mend") or (_NEW_TOKEN if status in (401, 403, 409) else "")
    message = error.get("message") or error.get("code") or f"status {status}"
    return f"the hub refused: {message}" + (f"; {mend}" if mend else "")


def _text(answer: dict[str, Any], name: str) -> bytes:
    value = answer.get(name)
    if not isinstance(value, str):
        raise JoinRefused(f"the hub's answer has no {name}: is it older than this spoke?")
    return value.encode()


def _may_try_again(error: BaseException) -> bool:
    if isinstance(error, _NotServing):
        return True
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) and not _is_certificate_error(error)


def _is_certificate_error(error: BaseException) -> bool:
    return _certificate_error(error) is not None


# OpenSSL's codes for a certificate that is good, but for another name or address.
_OTHER_NAME = frozenset({62, 64})


def _is_of_another_ca(error: BaseException) -> bool:
    found = _certificate_error(error)
    return found is not None and found.verify_code not in _OTHER_NAME


def _certificate_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
