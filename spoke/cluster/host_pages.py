"""Reads a page that a process of this machine serves on its loopback address."""

from __future__ import annotations

import aiohttp

from spoke.cluster.port import NotFound, Unavailable, bounded

_TIMEOUT = aiohttp.ClientTimeout(total=10.0, sock_connect=3.0)


async def get(port: int, path: str, limit: int) -> bytes:
    """Raises NotFound, Unavailable, and Refused where the answer is longer than `limit` bytes."""
    answer = b""
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(f"http://127.0.0.1:{port}/{path}", allow_redirects=False) as response,
        ):
            if response.status >= 300:
                raise NotFound(f"port {port} answers {response.status} for /{path}")
            async for chunk in response.content.iter_any():
                answer = bounded(answer + chunk, limit)
    except aiohttp.ClientConnectorError as error:
        raise NotFound(f"nothing listens on port {port}") from error
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"port {port}: {str(error) or type(error).__name__}") from error
    return answer
