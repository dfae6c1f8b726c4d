"""How many manifests of each kind are read per second: `python -m benchmarks.kinds --json`.

From YAML text, as they come in a submit, and from objects that are parsed already, which is what the reader itself
costs. Measured on the processor's clock, one thread. Every reading is the real one: all checks, references, data and
topology. `pytorchjob_3kb` is a PyTorchJob as people write them, 3 kB of YAML with claims, Secrets and tolerations;
the other rows are the manifests of the end-to-end scenarios.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from e2e import manifests
from e2e.kinds.rows import ROWS
from e2e.pods import Course
from placement.kinds import documents, reader
from placement.kinds.catalogue import Catalogue


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--json", action="store_true", help="nothing but one JSON object on stdout")
    asked = parser.parse_args()
    print(json.dumps(measure(asked.seconds), indent=None if asked.json else 2))
    return 0


def measure(seconds: float) -> dict[str, Any]:
    catalogue = Catalogue.builtin()
    rows = {name: _row(text, catalogue, seconds) for name, text in _texts().items()}
    big = rows["pytorchjob_3kb"]
    return {
        "parsed_per_s": big["parsed_per_s"],
        "text_per_s": big["text_per_s"],
        "kinds": rows,
        "slowest_parsed_per_s": min(row["parsed_per_s"] for row in rows.values()),
    }


def _row(text: bytes, catalogue: Catalogue, seconds: float) -> dict[str, Any]:
    parsed = documents.load(text)
    return {
        "bytes": len(text),
        "parsed_per_s": _rate(lambda: reader.read_documents(parsed, catalogue), seconds),
        "text_per_s": _rate(lambda: reader.read(text, catalogue), seconds),
    }


def _rate(work: Callable[[], object], seconds: float) -> float:
    work()
    done, began = 0, time.process_time()
    while (took := time.process_time() - began) < seconds:
        for _ in range(20):
            work()
        done += 20
    return round(done / took)


def _texts() -> dict[str, bytes]:
    texts = {"pytorchjob_3kb": _three_kb()}
    for row in ROWS:
        _, *objects = row.manifest("x", Course())
        texts[row.name] = manifests.text(*objects)
    texts["job-v1"] = manifests.text(manifests.indexed_job("x", pods=4, gpus=1))
    texts["volcano-job"] = manifests.text(manifests.volcano_job("x", pods=4, gpus=1))
    return texts


def _three_kb() -> bytes:
    """A master and workers that mount claims, read Secrets and want one kind of node."""
    job = manifests.pytorchjob("llama-finetune", workers=7, gpus=8, product="NVIDIA-A100-SXM4-80GB")
    for role, spec in job["spec"]["pytorchReplicaSpecs"].items():
        spec["template"] = json.loads(json.dumps(spec["template"]))
        pod = spec["template"]["spec"]
        container = pod["containers"][0]
        container["command"] = [
            "torchrun",
            "--nproc_per_node=8",
            "train.py",
            "--data=s3://datasets/corpus",
            f"--role={role}",
        ]
        container["env"] = [
            {"name": f"NCCL_{name}", "value": "1"} for name in ("DEBUG", "IB_HCA", "SOCKET_IFNAME", "ALGO")
        ]
        token = {"secretKeyRef": {"name": "hub-token", "key": "token"}}
        container["env"].append({"name": "TOKEN", "valueFrom": token})
        container["volumeMounts"] = [{"name": name, "mountPath": f"/{name}"} for name in ("data", "shm")]
        pod["volumes"] = [
            {"name": "data", "persistentVolumeClaim": {"claimName": "training-data", "readOnly": True}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}},
        ]
        pod["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return manifests.text(job)


if __name__ == "__main__":
    sys.exit(main())
