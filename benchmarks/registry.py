"""How fast models go in and out: `python -m benchmarks.registry --json`.

The real hub as a process of its own, on SQLite and a local directory, over TLS on loopback; the pushing and pulling
side is this process, as `muster model` does it. A second version has 1 % of its tensors changed. Beside it, in the same
run: the same files from a plain web server to the same disk, without TLS. Everything shares this machine's cores and
its disk; `--size-mib` is the size of the model.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from safetensors.numpy import save_file

from benchmarks.measure import Watched
from e2e.programs import HubProgram, HubSettings
from hub import model_pull, model_push
from hub.client import MusterClient
from hub.model_push import Did, Label
from registry.references import Revision

TENSOR_ROWS = 512  # × 1,024 numbers of 4 bytes: 2 MiB a tensor
TENSORS_A_FILE = 256
CHANGED = 0.01


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.registry", description="Models in and out of the hub.")
    parser.add_argument("--size-mib", type=int, default=1024, help="of the model")
    parser.add_argument("--directory", type=Path, default=None, help="where all files go; else a temporary one")
    parser.add_argument("--json", action="store_true", help="JSON on stdout, and nothing else there")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=options.directory) as temporary:
        found = measure(Path(temporary), options.size_mib)
    if options.json:
        json.dump(found, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        for name, value in found.items():
            print(f"{name:32} {value}")
    return 0


def measure(directory: Path, size_mib: int) -> dict[str, Any]:
    tensors = max(size_mib // 2, 100)
    model = _write(directory / "model", tensors, changed=0)
    size = sum(path.stat().st_size for path in model.iterdir())
    hub = HubProgram(directory / "hub", HubSettings())
    hub.start()
    try:
        with hub.client(hub.admin_token) as client, Watched({"hub": [hub.process.pid]}) as watched:
            first_s, first = _push(client, model)
            again_s, again = _push(client, model)
            _write(model, tensors, changed=max(round(tensors * CHANGED), 1))
            second_s, second = _push(client, model)
            pull_s = _pull(client, directory / "pulled")
            there_s = _pull(client, directory / "pulled")
        cost = watched.costs()["hub"]
    finally:
        hub.stop()
    plain_s = _plain(model, directory / "plain")
    return {
        "model_mib": round(size / 2**20),
        "push_mb_per_s": round(size / first_s / 1e6),
        "push_sent_ratio": round(first / size, 4),
        "push_again_s": round(again_s, 2),
        "push_again_sent_bytes": again,
        "second_version_changed_share": CHANGED,
        "second_version_s": round(second_s, 2),
        "second_version_sent_bytes": second,
        "second_version_sent_share": round(second / size, 4),
        "pull_mb_per_s": round(size / pull_s / 1e6),
        "pull_of_what_is_there_s": round(there_s, 2),
        "plain_http_mb_per_s": round(size / plain_s / 1e6),
        "hub_peak_rss_mib": cost.peak_rss_mib,
        "hub_cpu_s": cost.cpu_s,
    }


def _write(directory: Path, tensors: int, *, changed: int) -> Path:
    """The first `changed` of every file's share of tensors, spread evenly, are others than before."""
    directory.mkdir(exist_ok=True)
    other = set(np.linspace(0, tensors - 1, changed).astype(int).tolist()) if changed else set()
    for begin in range(0, tensors, TENSORS_A_FILE):
        weights = {
            f"layers.{at:05}.weight": np.random.default_rng([at, at in other]).random((TENSOR_ROWS, 1024), np.float32)
            for at in range(begin, min(begin + TENSORS_A_FILE, tensors))
        }
        save_file(weights, directory / f"model-{begin // TENSORS_A_FILE:05}.safetensors")
    return directory


def _push(client: MusterClient, model: Path) -> tuple[float, int]:
    """Seconds, and bytes sent."""
    sent: list[int] = []
    began = time.perf_counter()
    model_push.push(
        client,
        model_push.look(model),
        Label("measured"),
        lambda did, count: sent.append(count) if did is Did.SENT else None,
    )
    return time.perf_counter() - began, sum(sent)


def _pull(client: MusterClient, directory: Path) -> float:
    began = time.perf_counter()
    wanted = model_pull.look(client, "measured", Revision())
    model_pull.pull(client, wanted, directory, lambda count, came: None)
    return time.perf_counter() - began


def _plain(model: Path, directory: Path) -> float:
    directory.mkdir()
    began = time.perf_counter()
    with _served(model) as url, httpx.Client() as client:
        for path in sorted(model.iterdir()):
            with client.stream("GET", f"{url}/{path.name}") as answer, (directory / path.name).open("wb") as out:
                for data in answer.iter_raw(1 << 20):
                    out.write(data)
    return time.perf_counter() - began


@contextmanager
def _served(directory: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    handler = functools.partial(Handler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    raise SystemExit(main())
