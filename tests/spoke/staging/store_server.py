"""A small server of two tongues: S3's LIST, HEAD and GET over a bucket in memory, and plain HTTP for single files.

It answers as much as obstore asks, counts what was read, and fails or hangs where a test wants it to.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from urllib.parse import parse_qs, unquote, urlparse
from xml.sax.saxutils import escape


@dataclass
class Bucket:
    """`objects` by key. `refuse`: status by key, once for each time it stands there."""

    objects: dict[str, bytes]
    needs_key: str = ""
    refuse: dict[str, list[int]] = field(default_factory=dict)
    hold: threading.Event | None = None  # GETs of objects wait for it
    page: int = 2  # keys in one answer of LIST
    twice: threading.Event = field(default_factory=threading.Event)  # two GETs have come
    got: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def options(self) -> dict[str, str]:
        keys = {"AWS_ACCESS_KEY_ID": self.needs_key, "AWS_SECRET_ACCESS_KEY": "s"} if self.needs_key else {}
        return {"AWS_ENDPOINT": self.url, "AWS_REGION": "us-east-1", **keys}


@contextmanager
def serving(bucket: Bucket) -> Iterator[Bucket]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlparse(self.path)
            _, name, *rest = unquote(url.path).split("/")
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            if bucket.needs_key and bucket.needs_key not in self.headers.get("Authorization", ""):
                self._answer(403, _error("AccessDenied"))
            elif "list-type" in query:
                self._answer(200, _listing(bucket, name, query))
            else:
                self._object("/".join(rest))

        do_HEAD = do_GET  # noqa: N815 - the base class asks for it

        def _object(self, key: str) -> None:
            if bucket.refuse.get(key):
                self._answer(bucket.refuse[key].pop(0), _error("SlowDown"))
                return
            body = bucket.objects.get(key)
            if body is None:
                self._answer(404, _error("NoSuchKey"))
                return
            if self.command == "GET":
                bucket.got.append(key)
                if len(bucket.got) == 2:
                    bucket.twice.set()
                if bucket.hold is not None:
                    bucket.hold.wait(20)
            self._answer(200, body, {"ETag": _etag(body), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"})

        def _answer(self, status: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    bucket.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()


def _listing(bucket: Bucket, name: str, query: dict[str, str]) -> bytes:
    keys = [key for key in sorted(bucket.objects) if key.startswith(query.get("prefix", ""))]
    after = query.get("continuation-token", "")
    left = [key for key in keys if key > after]
    shown, more = left[: bucket.page], len(left) > bucket.page
    items = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>{escape(_etag(bucket.objects[key]))}</ETag><Size>{len(bucket.objects[key])}</Size></Contents>"
        for key in shown
    )
    token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
    return (
        f'<?xml version="1.0"?><ListBucketResult><Name>{name}</Name><IsTruncated>{str(more).lower()}</IsTruncated>'
        f"{items}{token}</ListBucketResult>"
    ).encode()


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def _error(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'.encode()
