from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from spoke.staging import copy


def test_the_command_copies_and_says_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/x").write_bytes(b"12345")
    assert copy.main(["--from", f"file://{tmp_path}/source", "--to", str(tmp_path / "target")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"done": 0, "total": 5}
    assert lines[-1] == {"done": 5, "total": 5}
    assert (tmp_path / "target/x").read_bytes() == b"12345"


def test_what_fails_is_its_last_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert copy.main(["--from", "file:///not/there", "--to", str(tmp_path)]) == copy.FAILED
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"error": "file:///not/there is not there"}


async def test_told_to_end_it_ends_at_once_and_leaves_no_part(tmp_path: Path) -> None:
    """As the first process of a container, which dies of no signal that it does not take."""
    begun = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.readline():
            while (await reader.readline()).strip():
                pass
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n")
            writer.write(b"Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n")
            if request.startswith(b"GET"):
                writer.write(b"x" * (9 << 20))  # and nothing more
                begun.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    source = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/big"
    arguments = ("-m", "spoke.staging.copy", "--from", source, "--to", str(tmp_path / "t"))
    copying = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.DEVNULL)
    async with asyncio.timeout(30):
        await begun.wait()
        copying.terminate()
        assert await copying.wait() == copy.STOPPED
    assert not list((tmp_path / "t").glob("*"))
    server.close()
